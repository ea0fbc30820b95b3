"""Helpers shared by several objectives."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import optax

from mmjax.data.targets import kind_of
from mmjax.errors import UsageError
from mmjax.layers import mean_where
from mmjax.types import Array, Batch, Outputs

T = TypeVar("T")

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
    """``surprise``, times the weights of the rows: [batch]."""
    return weigh(surprise(prediction, batch), batch)


def surprise(prediction: jax.Array, batch: Batch) -> jax.Array:
    """Negative log-likelihood of the target under predictions [batch, out_dim], in nats: [batch].

    As in ``targets.row_nll``, labels are independent, and for numbers it is half the squared error.
    """
    match kind_of(batch.target):
        case "classes":
            return optax.softmax_cross_entropy_with_integer_labels(prediction, batch.target)
        case "labels":
            return optax.sigmoid_binary_cross_entropy(prediction, batch.target).sum(axis=-1)
    return jnp.square(prediction - batch.target).sum(axis=-1) / 2


def weigh(losses: jax.Array, batch: Batch) -> jax.Array:
    """Losses [batch, ...] times the weights of their rows, if these have any."""
    if batch.weight is None:
        return losses
    return losses * batch.weight.reshape(-1, *[1] * (losses.ndim - 1))


def weigh_classes(batch: Batch, weights: Sequence[float] | None) -> Batch:
    """The batch with each row weighted by its class, if classes have weights."""
    if weights is None:
        return batch
    return batch._replace(weight=jnp.asarray(weights, jnp.float32)[classes_of(batch)])


def over_targets(loss: Callable[[Batch], T], batch: Batch) -> T:
    """``loss(batch)``; of mixed rows, the mean of both targets' values, weighted by their shares.

    Reference: Zhang et al., mixup: Beyond Empirical Risk Minimization (arXiv:1710.09412).

    Example:
        >>> from mmjax.types import Mixed
        >>> mixed = Mixed(target=jnp.array([5.0]), weight=None, share=jnp.array([0.75]))
        >>> over_targets(lambda rows: rows.target.mean(), Batch({}, {}, jnp.ones(1), mixed=mixed))
        Array(2., dtype=float32)
    """
    if batch.mixed is None:
        return loss(batch)
    target, weight, share = batch.mixed
    plain = batch._replace(mixed=None)
    both = loss(plain), loss(plain._replace(target=target, weight=weight))
    return jax.tree.map(lambda own, other: share[0] * own + (1 - share[0]) * other, *both)


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
