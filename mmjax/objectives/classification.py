"""Losses on class probabilities; each adds the extra terms of ``outputs.aux``."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from mmjax.types import Batch, Outputs


def cross_entropy(outputs: Outputs, batch: Batch) -> tuple[jax.Array, Mapping[str, jax.Array]]:
    """Mean negative log-likelihood of the target, in nats.

    Reference: Good, Rational Decisions (JRSS B 1952).
    """
    loss = optax.softmax_cross_entropy_with_integer_labels(outputs.prediction, batch.target)
    return loss.mean() + _extra(outputs), _metrics(outputs, batch)


def mse(outputs: Outputs, batch: Batch) -> tuple[jax.Array, Mapping[str, jax.Array]]:
    """Mean over samples and classes of (probability - one-hot target) squared.

    Reference: Brier, Verification of forecasts expressed in terms of probability (1950), whose
    score is this times the number of classes.
    """
    probabilities = jax.nn.softmax(outputs.prediction)
    one_hot = jax.nn.one_hot(batch.target, probabilities.shape[-1], dtype=probabilities.dtype)
    return jnp.square(probabilities - one_hot).mean() + _extra(outputs), _metrics(outputs, batch)


def _extra(outputs: Outputs) -> jax.Array | float:
    return sum(outputs.aux.values())


def _metrics(outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
    return {"accuracy": (outputs.prediction.argmax(axis=-1) == batch.target).mean()}
