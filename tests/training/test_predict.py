"""Embeddings, hiding, and what has no score."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from small import make_split, make_task

from mmjax.comparison.arm import make_arm
from mmjax.comparison.scores import score
from mmjax.errors import DivergenceError, UnknownNameError
from mmjax.fusion import FUSIONS
from mmjax.layers import masked_mean
from mmjax.model import MultimodalModel
from mmjax.training.predict import make_evaluate
from mmjax.training.recipe import make_model
from mmjax.training.step import init_params


def test_hide_makes_modalities_absent_and_leaves_the_rows_alone():
    rows = make_split(4, 0).batch()
    hidden = rows.hide(["vector"])
    assert not hidden.present["vector"].any()
    assert hidden.present["image"].all()
    assert rows.present["vector"].all()
    with pytest.raises(UnknownNameError, match="Did you mean 'vector'"):
        rows.hide(["vectro"])


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


def test_predictions_that_are_not_finite_have_no_score():
    """Their accuracy would be that of class 0."""
    task = make_task()
    arm = make_arm(task, "sum", seeds=(0, 1))
    said = np.zeros((2, task.test.size, 3), np.float32)
    said[1, 5], said[0, 7, 1] = np.nan, np.inf
    give = lambda params, rows: said[:, : len(rows.target)]
    with pytest.raises(DivergenceError, match=r"sum, valid: .* NaN or infinity for 2 of 30 rows"):
        score(arm, SimpleNamespace(params=None, predict=give))
