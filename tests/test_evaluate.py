"""Scores against scikit-learn, and hiding."""

import jax
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, f1_score, log_loss
from small import make_split, make_task

from mmjax.errors import UnknownNameError
from mmjax.evaluate import hide, macro_f1, make_evaluate, scores
from mmjax.fusion import FUSIONS
from mmjax.layers import masked_mean
from mmjax.model import MultimodalModel
from mmjax.recipe import make_model
from mmjax.train import init_params


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_scores_are_those_of_scikit_learn(classes):
    rng = np.random.default_rng(classes)
    logits, target = rng.normal(size=(50, classes)), rng.integers(0, classes, 50)
    got, chosen = scores(logits, target), logits.argmax(1)
    np.testing.assert_allclose(got["accuracy"], accuracy_score(target, chosen))
    np.testing.assert_allclose(got["macro_f1"], f1_score(target, chosen, average="macro"))
    loss = log_loss(target, softmax(logits, axis=1), labels=range(classes))
    np.testing.assert_allclose(got["nll"], loss)


def test_macro_f1_counts_a_class_that_is_only_predicted():
    predicted, target = np.array([0, 1, 2]), np.array([0, 0, 0])
    want = f1_score(target, predicted, average="macro", zero_division=0)
    np.testing.assert_allclose(macro_f1(predicted, target), want)


def test_large_logits_have_a_finite_loss():
    got = scores(np.array([[1000.0, -1000.0]], np.float32), np.array([1]))
    np.testing.assert_allclose(got["nll"], 2000)


def test_hide_makes_modalities_absent_and_leaves_the_rows_alone():
    rows = make_split(4, 0).batch()
    hidden = hide(rows, ["vector"])
    assert not hidden.present["vector"].any()
    assert hidden.present["image"].all()
    assert rows.present["vector"].all()
    with pytest.raises(UnknownNameError, match="Did you mean 'vector'"):
        hide(rows, ["vectro"])


def test_embeddings_are_mean_tokens_and_what_the_readout_sees():
    task = make_task().only("vector", "sequence")
    encoders = {"sequence": "mlp"}
    model = make_model(task, "concat", encoders)
    rows = task.valid.batch()
    params = init_params(model, rows, 0)
    lanes = {name: _with_axis(tree) for name, tree in params.items()}
    got = make_evaluate(model).view(lanes, rows).embeddings
    out = model.apply({"params": params}, *rows[:2], train=False)
    readout = params["fusion"]["readout"]
    fused = got["fused"][0] @ np.asarray(readout["kernel"]) + np.asarray(readout["bias"])
    np.testing.assert_allclose(fused, out.prediction, atol=1e-5)
    for name in task.modalities:
        np.testing.assert_allclose(got[name][0], masked_mean(out.tokens[name]), atol=1e-6)


def test_the_fused_embedding_of_a_decision_fusion_is_its_prediction():
    task = make_task().only("vector")
    model = MultimodalModel(make_model(task, "concat").encoders, FUSIONS["late_mean"](3))
    rows = task.valid.batch()
    params = init_params(model, rows, 0)
    got = make_evaluate(model).view(_with_axis(params), rows).embeddings
    want = model.apply({"params": params}, *rows[:2], train=False).prediction
    np.testing.assert_allclose(got["fused"][0], want, atol=1e-6)


def _with_axis(tree):
    return jax.tree.map(lambda x: x[None], tree)
