"""Losses of classes, labels and numbers, against scikit-learn and SciPy."""

import jax
import numpy as np
import pytest
from scipy.special import expit, softmax
from scipy.stats import norm
from sklearn.metrics import log_loss

from mmjax.data.targets import UNLABELLED, is_labelled, kind_of, row_nll
from mmjax.errors import UsageError
from mmjax.metrics import METRICS
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


def test_the_loss_of_classes_and_labels_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    logits, classes = rng.normal(size=(60, 4)), rng.integers(0, 4, 60)
    want = log_loss(classes, softmax(logits, axis=1), labels=range(4))
    np.testing.assert_allclose(row_nll(logits, classes).mean(), want)
    labels = make_target("labels", rng, 60, 4)
    each = [log_loss(labels[:, k], expit(logits[:, k])) for k in range(4)]
    np.testing.assert_allclose(row_nll(logits, labels).mean(), sum(each))


def test_large_logits_have_a_finite_loss():
    got = row_nll(np.array([[1000.0, -1000.0]], np.float32), np.array([1]))
    np.testing.assert_allclose(got, 2000)


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
    np.testing.assert_allclose(loss, row_nll(prediction, target).mean(), rtol=1e-5)
    if kind != "numbers":
        accuracy = METRICS["accuracy"].score(prediction, target)
        np.testing.assert_allclose(metrics["accuracy"], accuracy, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_each_seed_has_its_own_losses(kind):
    rng = np.random.default_rng(2)
    prediction, target = rng.normal(size=(2, 50, 3)), make_target(kind, rng)
    each = [row_nll(one, target) for one in prediction]
    np.testing.assert_array_equal(row_nll(prediction, target), each)


def test_mse_of_labels_and_numbers():
    rng = np.random.default_rng(3)
    prediction = rng.normal(size=(50, 3)).astype(np.float32)
    labels, numbers = make_target("labels", rng), make_target("numbers", rng)
    loss = lambda target: mse(Outputs(prediction), Batch({}, {}, target))[0]
    np.testing.assert_allclose(loss(labels), np.mean((expit(prediction) - labels) ** 2), rtol=1e-5)
    np.testing.assert_allclose(loss(numbers), np.mean((prediction - numbers) ** 2), rtol=1e-5)


ABOUT_CLASSES = {
    "confidence_ranking",
    "evidential",
    "focal",
    "label_smoothing",
    "supervised_contrastive",
}


@pytest.mark.parametrize("kind", ["labels", "numbers"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_take_a_kind_of_target_or_refuse_it(name, kind):
    rng = np.random.default_rng(4)
    prediction, target = rng.normal(size=(8, 3)).astype(np.float32), make_target(kind, rng, rows=8)
    follow = jax.value_and_grad(lambda p: OBJECTIVES[name](Outputs(p), Batch({}, {}, target))[0])
    if name in ABOUT_CLASSES:
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
