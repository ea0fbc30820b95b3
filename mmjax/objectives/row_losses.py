"""What two or more objectives share."""

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
    """The loss [] plus the extra terms of the model; how good the prediction is."""
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

    As ``targets.row_nll`` has it: labels are independent, and of numbers it is half the squared
    error.
    """
    match kind_of(batch.target):
        case "classes":
            return optax.softmax_cross_entropy_with_integer_labels(prediction, batch.target)
        case "labels":
            return optax.sigmoid_binary_cross_entropy(prediction, batch.target).sum(axis=-1)
    return jnp.square(prediction - batch.target).sum(axis=-1) / 2


def classes_of(batch: Batch) -> Array:
    """The target, [batch], of what is about classes.

    Raises:
        UsageError: it is labels or numbers.
    """
    kind = kind_of(batch.target)
    if kind != "classes":
        raise UsageError(
            "target",
            expected="classes, which this objective or method is about",
            got=kind,
            fix="Choose another, such as the objective cross_entropy and the method joint.",
        )
    return batch.target


def branch_rows(outputs: Outputs, batch: Batch) -> list[tuple[jax.Array, Array]]:
    """Each branch's logits [batch, out_dim], names sorted, and which rows [batch] have it.

    The other rows are zero, whatever stood there: a NaN would reach the gradient.
    """
    rows = [(outputs.branches[n], batch.present[n]) for n in sorted(outputs.branches)]
    return [(jnp.where(here[:, None], logits, 0), here) for logits, here in rows]


def branch_losses(outputs: Outputs, batch: Batch) -> jax.Array | float:
    """Cross-entropy of each branch over the rows that have it, in nats, added up: []."""
    rows = branch_rows(outputs, batch)
    return sum(mean_where(here, row_losses(logits, batch)) for logits, here in rows)
