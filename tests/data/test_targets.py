"""Scores and losses of classes, labels and numbers, against scikit-learn and SciPy."""

import jax
import numpy as np
import pytest
from scipy.special import expit, softmax
from scipy.stats import norm
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    r2_score,
    root_mean_squared_error,
)

from mmjax.data.targets import (
    UNLABELLED,
    is_labelled,
    kind_of,
    macro_f1,
    row_nll,
    row_scores,
    scores,
)
from mmjax.errors import UsageError
from mmjax.objectives import OBJECTIVES, cross_entropy, mse
from mmjax.objectives.row_losses import row_losses
from mmjax.types import Batch, Outputs


def make_target(kind, rng, rows=50, out_dim=3):
    match kind:
        case "classes":
            return rng.integers(0, out_dim, rows)
        case "labels":
            return rng.integers(0, 2, (rows, out_dim))
    return rng.normal(size=(rows, out_dim)).astype(np.float32)


KINDS = ("classes", "labels", "numbers")


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_scores_of_classes_are_those_of_scikit_learn(classes):
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


def test_scores_of_labels_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(60, 4)), rng.integers(0, 2, (60, 4))
    got, said = scores(logits, target), (logits > 0).astype(int)
    np.testing.assert_allclose(got["accuracy"], (said == target).mean())
    np.testing.assert_allclose(got["macro_f1"], f1_score(target, said, average="macro"))
    each = [log_loss(target[:, k], expit(logits[:, k])) for k in range(4)]
    np.testing.assert_allclose(got["nll"], sum(each))


def test_a_label_that_never_occurs_does_not_count_in_macro_f1():
    logits, target = np.array([[1.0, -1.0], [-1.0, -1.0]]), np.array([[1, 0], [1, 0]])
    np.testing.assert_allclose(scores(logits, target)["macro_f1"], 2 / 3)
    assert scores(-np.ones((2, 2)), np.zeros((2, 2), int))["macro_f1"] == 1


def test_scores_of_numbers_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    target = (5 * rng.normal(size=(60, 3)) + 2).astype(np.float32)
    prediction = (target + rng.normal(size=(60, 3))).astype(np.float32)
    target[:, 2] = 1.5  # a number that does not vary
    got = scores(prediction, target)
    np.testing.assert_allclose(got["r2"], r2_score(target, prediction), rtol=1e-6)
    rmse = lambda *units: root_mean_squared_error(*(x.astype(np.float64) for x in units))
    np.testing.assert_allclose(got["rmse"], rmse(target, prediction), rtol=1e-6)
    deviation = np.array([1.0, 30.0, 0.1])
    in_units = scores(prediction, target, deviation)
    np.testing.assert_allclose(in_units["rmse"], rmse(target * deviation, prediction * deviation))
    assert in_units == {**got, "rmse": in_units["rmse"]}
    exact = prediction[:, 2:] * 0 + 1.5
    assert scores(exact, target[:, 2:])["r2"] == r2_score(target[:, 2:], exact) == 1


def test_the_loss_of_numbers_is_that_of_a_normal_distribution():
    rng = np.random.default_rng(0)
    prediction, target = rng.normal(size=(2, 9, 4)).astype(np.float32)
    constant = 4 * np.log(2 * np.pi) / 2
    want = -norm.logpdf(target, prediction).sum(axis=1) - constant
    np.testing.assert_allclose(row_nll(prediction, target), want, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_in_training_is_that_of_the_score(kind):
    rng = np.random.default_rng(1)
    prediction, target = rng.normal(size=(50, 3)).astype(np.float32), make_target(kind, rng)
    assert kind_of(target) == kind
    batch = Batch({}, {}, target)
    np.testing.assert_allclose(
        row_losses(prediction, batch), row_nll(prediction, target), rtol=1e-5, atol=1e-6
    )
    loss, metrics = cross_entropy(Outputs(prediction), batch)
    np.testing.assert_allclose(loss, scores(prediction, target)["nll"], rtol=1e-5)
    if kind != "numbers":
        accuracy = scores(prediction, target)["accuracy"]
        np.testing.assert_allclose(metrics["accuracy"], accuracy, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_are_scored_each_for_itself(kind):
    rng = np.random.default_rng(2)
    prediction, target = rng.normal(size=(2, 50, 3)), make_target(kind, rng)
    for whole in (row_scores, row_nll):
        each = [whole(one, target) for one in prediction]
        np.testing.assert_array_equal(whole(prediction, target), each)


def test_mse_of_labels_and_numbers():
    rng = np.random.default_rng(3)
    prediction = rng.normal(size=(50, 3)).astype(np.float32)
    labels, numbers = make_target("labels", rng), make_target("numbers", rng)
    loss = lambda target: mse(Outputs(prediction), Batch({}, {}, target))[0]
    np.testing.assert_allclose(loss(labels), np.mean((expit(prediction) - labels) ** 2), rtol=1e-5)
    np.testing.assert_allclose(loss(numbers), np.mean((prediction - numbers) ** 2), rtol=1e-5)


@pytest.mark.parametrize("kind", ["labels", "numbers"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_take_a_kind_of_target_or_refuse_it(name, kind):
    rng = np.random.default_rng(4)
    prediction, target = rng.normal(size=(8, 3)).astype(np.float32), make_target(kind, rng, rows=8)
    follow = jax.value_and_grad(lambda p: OBJECTIVES[name](Outputs(p), Batch({}, {}, target))[0])
    about_classes = {"label_smoothing", "focal", "supervised_contrastive", "evidential"}
    if name in about_classes:
        with pytest.raises(UsageError, match=f"expected classes.*got {kind}"):
            follow(prediction)
    else:
        loss, gradient = follow(prediction)
        assert np.isfinite(loss)
        assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_targets(kind):
    target = make_target(kind, np.random.default_rng(5))
    assert is_labelled(target)
    target[:] = np.nan if kind == "numbers" else UNLABELLED
    assert not is_labelled(target)
