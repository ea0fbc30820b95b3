"""Objectives against NumPy and scikit-learn."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from mmjax.objectives import OBJECTIVES, cross_entropy, mse
from mmjax.testing import check_objective
from mmjax.types import Batch, Outputs

LOGITS = np.random.default_rng(0).normal(size=(6, 3))
TARGET = np.array([0, 1, 2, 2, 1, 0])
BATCH = Batch({}, {}, jnp.asarray(TARGET))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_contract(name):
    check_objective(OBJECTIVES[name])


def test_cross_entropy_is_the_log_loss():
    loss, metrics = cross_entropy(Outputs(jnp.asarray(LOGITS)), BATCH)
    np.testing.assert_allclose(loss, log_loss(TARGET, softmax(LOGITS, axis=1)), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], (LOGITS.argmax(1) == TARGET).mean())


def test_mse_is_the_mean_squared_error_of_the_probabilities():
    loss, _ = mse(Outputs(jnp.asarray(LOGITS)), BATCH)
    want = ((softmax(LOGITS, axis=1) - np.eye(3)[TARGET]) ** 2).mean()
    np.testing.assert_allclose(loss, want, rtol=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_extra_terms_of_the_model_are_added(name):
    outputs = Outputs(jnp.asarray(LOGITS))
    plain, _ = OBJECTIVES[name](outputs, BATCH)
    extra = {"a": jnp.float32(0.5), "b": jnp.float32(0.25)}
    more, _ = OBJECTIVES[name](outputs._replace(aux=extra), BATCH)
    np.testing.assert_allclose(more - plain, 0.75, rtol=1e-5)
