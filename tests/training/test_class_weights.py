"""Weights of classes, against scikit-learn and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from mmjax.data.task import Task
from mmjax.errors import UnknownNameError, UsageError
from mmjax.methods import METHODS
from mmjax.objectives import OBJECTIVES, cross_entropy, evidential, focal, label_smoothing, mse
from mmjax.objectives.row_losses import weigh_classes
from mmjax.training.class_weights import check_balance, make_class_weights, name_class_weights
from mmjax.training.fit import fit
from mmjax.training.recipe import Recipe, make_model
from mmjax.types import Batch, Outputs

RNG = np.random.default_rng(0)
LOGITS, TARGET = RNG.normal(size=(8, 3)), np.array([0, 1, 2, 2, 1, 0, 0, 0])
WEIGHTS = (1.0, 2.0, 5.0)
EACH = np.array(WEIGHTS)[TARGET]
BATCH = weigh_classes(Batch({}, {}, jnp.asarray(TARGET)), WEIGHTS)


def make_task(kind="classes"):
    """Two vectors, and 4, 12 and 44 rows of the classes, of which the first two are rare."""
    target = np.repeat(["cat", "dog", "emu"], [4, 12, 44])
    if kind == "labels":
        target = (RNG.random((60, 3)) < 0.5).astype(int)
    if kind == "numbers":
        target = RNG.normal(size=60)
    inputs = {name: RNG.normal(size=(60, 4)) for name in ("a", "b")}
    split = np.tile(["train", "train", "train", "valid"], 15)
    split[-8:] = "test"
    return Task.from_arrays(inputs, target, kind=kind, split=split)


@pytest.fixture(scope="module")
def task():
    return make_task()


def test_balanced_weights_are_those_of_scikit_learn(task):
    target = task.train.target
    want = compute_class_weight("balanced", classes=np.arange(3), y=target)
    got = make_class_weights(task, name_class_weights(task, "balanced"))
    np.testing.assert_allclose(got, want)
    np.testing.assert_allclose(np.mean(np.array(got)[target]), 1)


def test_weights_have_names_or_come_in_the_order_of_the_classes(task):
    parse = lambda given: make_class_weights(task, name_class_weights(task, given))
    assert parse({"emu": 0.5, "cat": np.float32(3)}) == (3.0, 1.0, 0.5)
    assert parse([1, 2, 3.5]) == parse(np.array([1, 2, 3.5])) == (1.0, 2.0, 3.5)
    assert parse({"dog": 1 / 3}) == (1.0, 1 / 3, 1.0)
    assert parse(None) is None


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"cow": 2}, UnknownNameError, "class of class_weights.*cat, dog, emu"),
        ({"cat": 0}, UsageError, "a positive number, got cat=0"),
        ({"cat": float("nan")}, UsageError, "cat=nan"),
        ({"cat": "heavy"}, UsageError, "cat=heavy"),
        ("balancd", UsageError, "balanced alone, or CLASS=WEIGHT, got balancd"),
        ([1, 2], UsageError, "a weight for each of 3 classes"),
        (2.0, UsageError, "a weight for each of 3 classes"),
    ],
)
def test_what_are_no_weights_is_refused(task, given, error, said):
    with pytest.raises(error, match=said):
        make_class_weights(task, name_class_weights(task, given))


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_only_classes_can_be_weighed_or_balanced(kind):
    other = make_task(kind)
    with pytest.raises(UsageError, match=f"class_weights: expected a task of classes.*{kind}"):
        make_class_weights(other, ["balanced"])
    model = make_model(other, "concat")
    for fields in ({"sampling": "balanced"}, {"class_weights": (1.0,) * other.out_dim}):
        with pytest.raises(UsageError, match=f"{next(iter(fields))}: expected a task of classes"):
            fit(Recipe(model, **fields), other)


def test_a_recipe_has_a_weight_for_each_class(task):
    with pytest.raises(UsageError, match="3 weights, one for each class, got 2"):
        check_balance(Recipe(make_model(task, "concat"), class_weights=(1.0, 2.0)), task)


def nll():
    return -log_softmax(LOGITS, axis=1)[np.arange(8), TARGET]


def weighted(objective, **options):
    return float(objective(Outputs(jnp.asarray(LOGITS)), BATCH, **options)[0])


def test_losses_of_rows_are_weighted_by_their_class():
    one_hot, p = np.eye(3)[TARGET], softmax(LOGITS, axis=1)
    want = log_loss(TARGET, p, sample_weight=EACH) * EACH.mean()
    np.testing.assert_allclose(weighted(cross_entropy), want, rtol=1e-5)
    want = (EACH[:, None] * (p - one_hot) ** 2).mean()
    np.testing.assert_allclose(weighted(mse), want, rtol=1e-5)
    want = (EACH * (1 - np.exp(-nll())) ** 2 * nll()).mean()
    np.testing.assert_allclose(weighted(focal), want, rtol=1e-5)
    smooth = 0.9 * one_hot + 0.1 / 3
    want = (EACH * -(smooth * log_softmax(LOGITS, axis=1)).sum(axis=1)).mean()
    np.testing.assert_allclose(weighted(label_smoothing), want, rtol=1e-5)


def test_evidential_losses_are_weighted_in_every_opinion():
    outputs = Outputs(jnp.asarray(LOGITS), branches={"a": jnp.asarray(LOGITS)})
    rows = [
        float(
            evidential(Outputs(jnp.asarray(LOGITS[[i]])), Batch({}, {}, jnp.asarray(TARGET[[i]])))[
                0
            ]
        )
        for i in range(8)
    ]
    present = {"a": jnp.asarray(TARGET > 0)}
    got = float(evidential(outputs, BATCH._replace(present=present))[0])
    want = (EACH * rows).mean() + (EACH * rows)[TARGET > 0].mean()
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_all_objectives_weigh_rows(name):
    """Twice the weight is twice the loss of the prediction and the branches."""
    outputs = Outputs(jnp.asarray(LOGITS))
    lose = jax.jit(lambda weight: OBJECTIVES[name](outputs, BATCH._replace(weight=weight))[0])
    one, two = (float(lose(jnp.full(8, weight))) for weight in (1.0, 2.0))
    np.testing.assert_allclose(two, 2 * one, rtol=1e-5)
    plain = OBJECTIVES[name](outputs, BATCH._replace(weight=None))[0]
    np.testing.assert_allclose(one, plain, rtol=1e-6)


def test_a_weighted_classifier_is_that_of_scikit_learn():
    """Full batches of one linear readout, against a logistic regression with class weights."""
    import flax.linen as nn
    import optax

    from mmjax.training.optimiser import make_optimiser

    class Linear(nn.Module):
        out_dim: int

        @nn.compact
        def __call__(self, tokens, *, train):
            return nn.Dense(self.out_dim, name="readout")(tokens["a"].values[:, 0])

    rng = np.random.default_rng(1)
    x = rng.normal(size=(90, 2)).astype(np.float32)
    target = (x[:, 0] + rng.normal(size=90) > 1).astype(int)
    split = np.array(["train"] * 60 + ["valid"] * 15 + ["test"] * 15)
    task = Task.from_arrays({"a": x}, target, split=split, standardise=False, kind="classes")
    model = make_model(task, Linear, {"a": "raw"})
    tx = make_optimiser(optax.sgd(1.0), 600)
    weights = make_class_weights(task, ["balanced"])
    recipe = Recipe(model, tx=tx, steps=600, batch_size=60, seeds=(0,), class_weights=weights)
    trained = fit(recipe, task)
    kernel = np.asarray(trained.state.params["fusion"]["readout"]["kernel"])[0]
    oracle = LogisticRegression(C=np.inf, class_weight="balanced", tol=1e-8)
    oracle.fit(task.train.inputs["a"], task.train.target)
    np.testing.assert_allclose(kernel[:, 1] - kernel[:, 0], oracle.coef_[0], rtol=0.02)
    assert 0.4 < expit(oracle.predict_proba(x)[:, 1] - 0.5).mean() < 0.6


@pytest.mark.slow
def test_the_meta_classifier_of_stacking_is_weighted_too(task):
    method = METHODS["stacking"](folds=2)
    model = make_model(task, "stacking")
    metas = [
        fit(Recipe(model, method=method, steps=20, class_weights=weights), task).params["fusion"]
        for weights in (None, (10.0, 1.0, 1.0))
    ]
    bias = [np.asarray(found["meta"]["bias"])[:, 0] for found in metas]
    assert (bias[1] > bias[0]).all()
