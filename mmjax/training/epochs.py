"""Repeats the train step over epochs, on the device, in an order determined by the seed."""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh

from mmjax.layers import kernels
from mmjax.training.mesh import deal_rows
from mmjax.training.step import ORDER, Metrics, Step
from mmjax.types import Batch, TrainState


class Lane(NamedTuple):
    """The training state of a seed, and its best parameters on validation."""

    state: TrainState
    best: chex.ArrayTree


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Number of full batches in the training rows."""
    return rows // batch_size


def make_advance(
    step: Step, batch_size: int, mesh: Mesh | None = None
) -> Callable[..., tuple[Lane, jax.Array, Metrics]]:
    """Makes ``((lane, improved, total), train, first, last) -> (lane, improved, total)``, pure.

    If ``improved``, which is returned as false, the lane first stores its parameters as the best so
    far; then it takes the steps ``first`` to ``last - 1``, all of one epoch. An epoch is a
    permutation of the training rows cut into batches; the leftover rows differ between epochs.
    ``total`` is the sum of the metrics over the epoch so far, so that an epoch may be taken in any
    number of calls. On a mesh, the rows of a batch are sharded over its devices.
    """

    def advance(carried, train: Batch, first: jax.Array, last: jax.Array):
        per_epoch = steps_per_epoch(len(train.target), batch_size)
        order = epoch_order(carried[0].state.key, first // per_epoch, len(train.target))

        def batch_at(i):
            rows = lax.dynamic_slice(order, (i % per_epoch * batch_size,), (batch_size,))
            return deal_rows(take_rows(train, rows), mesh)

        return take_steps(step, carried, batch_at, per_epoch, first, last)

    return advance


def take_steps(
    step: Step,
    carried: tuple[Lane, jax.Array, Metrics],
    batch_at: Callable[[jax.Array], Batch],
    per_epoch: int,
    first: jax.Array,
    last: jax.Array,
) -> tuple[Lane, jax.Array, Metrics]:
    """As ``make_advance``, with batches from anywhere: ``batch_at(step) -> Batch``."""
    (state, best), improved, total = carried
    best = jax.tree.map(lambda new, old: jnp.where(improved, new, old), state.params, best)
    total = jax.tree.map(lambda x: jnp.where(first % per_epoch == 0, 0, x), total)

    def take_step(i, carry):
        state, total = carry
        state, metrics = step(state, batch_at(i))
        return state, jax.tree.map(jnp.add, total, metrics)

    # Unlike a scan, its length is an argument: a partial epoch needs no second program.
    state, total = lax.fori_loop(first, last, take_step, (state, total))
    return Lane(state, best), jnp.zeros_like(improved), total


def trace_step(step: Step, lanes: Lane, train: Batch, batch_size: int) -> jax.stages.Traced:
    """The step of one seed and batch, traced without kernels, whose operations XLA does not see.

    Only the shapes of ``lanes`` and rows matter.
    """
    shape = lambda x, *first: jax.ShapeDtypeStruct((*first, *x.shape[1:]), x.dtype)
    batch = jax.tree.map(lambda x: shape(x, batch_size), train)
    with kernels.without():
        return jax.jit(step).trace(jax.tree.map(shape, lanes.state), batch)


def zero_metrics(step: jax.stages.Traced, num_lanes: int) -> dict[str, np.ndarray]:
    """The sum of metrics over zero steps: [seeds] of each."""
    return {name: np.zeros(num_lanes, x.dtype) for name, x in step.out_info[1].items()}


def batch_rows(key: jax.Array, step: int, size: int, batch_size: int) -> np.ndarray:
    """Which of ``size`` training rows a step uses: [batch_size].

    Example:
        >>> epoch = [batch_rows(jax.random.key(0), step, size=10, batch_size=5) for step in (0, 1)]
        >>> sorted(np.concatenate(epoch).tolist())
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    epoch, place = divmod(step, steps_per_epoch(size, batch_size))
    return np.asarray(epoch_order(key, epoch, size))[place * batch_size :][:batch_size]


def epoch_order(key: jax.Array, epoch: jax.Array | int, size: int) -> jax.Array:
    """The order of ``size`` training rows in an epoch: [size]."""
    key = jax.random.fold_in(jax.random.fold_in(key, ORDER), epoch)
    return jnp.argsort(jax.random.bits(key, (size,)))  # half the time of random.permutation


def take_rows(rows: Batch, index: jax.Array) -> Batch:
    """The rows at the given positions."""
    return jax.tree.map(lambda x: x[index], rows)
