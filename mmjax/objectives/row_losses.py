"""Helpers shared by several objectives."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from mmjax.data.targets import kind_of
from mmjax.errors import UsageError
from mmjax.layers import mean_where
from mmjax.types import Array, Batch, Outputs

Result = tuple[jax.Array, Mapping[str, jax.Array]]


def finish(loss: jax.Array, outputs: Outputs, batch: Batch) -> Result:
    """Adds the model's auxiliary terms to the loss [], and computes the metrics."""
    return loss + sum(outputs.aux.values()), _quality(outputs.prediction, batch.target)


def _quality(prediction: jax.Array, target: Array) -> dict[str, jax.Array]:
    match kind_of(target):
        case "classes":
            return {"accuracy": (prediction.argmax(axis=-1) == target).mean()}
        case "labels":
            return {"accuracy": ((prediction > 0) == target).mean()}
    return {"mse": jnp.square(prediction - target).mean()}


def row_losses(prediction: jax.Array, batch: Batch) -> jax.Array:
    """Negative log-likelihood of the target under predictions [batch, out_dim], in nats: [batch].

    As in ``targets.row_nll``, labels are independent, and for numbers it is half the squared error.
    """
    match kind_of(batch.target):
        case "classes":
            return optax.softmax_cross_entropy_with_integer_labels(prediction, batch.target)
        case "labels":
            return optax.sigmoid_binary_cross_entropy(prediction, batch.target).sum(axis=-1)
    return jnp.square(prediction - batch.target).sum(axis=-1) / 2


def classes_of(batch: Batch) -> Array:
    """The target, [batch], for what is defined on classes only.

    Raises:
        UsageError: the target is labels or numbers.
    """
    kind = kind_of(batch.target)
    if kind != "classes":
        raise UsageError(
            "target",
            expected="classes, for this objective or method",
            got=kind,
            fix="Choose another, such as the objective cross_entropy or the method joint.",
        )
    return batch.target


def branch_rows(outputs: Outputs, batch: Batch) -> list[tuple[jax.Array, Array]]:
    """Each branch's logits [batch, out_dim], sorted by name, and the rows [batch] that have it.

    The other rows are set to zero: a NaN there would reach the gradient.
    """
    rows = [(outputs.branches[n], batch.present[n]) for n in sorted(outputs.branches)]
    return [(jnp.where(here[:, None], logits, 0), here) for logits, here in rows]


def branch_losses(outputs: Outputs, batch: Batch) -> jax.Array | float:
    """Cross-entropy of each branch over the rows that have it, in nats, summed: []."""
    rows = branch_rows(outputs, batch)
    return sum(mean_where(here, row_losses(logits, batch)) for logits, here in rows)
