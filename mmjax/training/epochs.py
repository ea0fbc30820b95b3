"""Repeats the train step over epochs, on the device, in an order determined by the seed."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh

from mmjax.layers import kernels
from mmjax.training.mesh import deal_rows
from mmjax.training.sampling import Order, shuffled
from mmjax.training.step import Metrics, Step
from mmjax.types import Array, Batch, TrainState

MIN_STEPS = 8
"""The fewest steps between validations, unless training ends."""


class Lane(NamedTuple):
    """The training state of a seed, and its best parameters on validation."""

    state: TrainState
    best: chex.ArrayTree


Carried = tuple[Any, ...]
"""``(lane, improved, total)``, see ``make_advance``."""


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Number of full batches in the training rows.

    Example:
        >>> steps_per_epoch(rows=100, batch_size=32)
        3
    """
    return rows // batch_size


def steps_per_round(per_epoch: int) -> int:
    """Steps between validations: those of an epoch, or of as many as have ``MIN_STEPS``.

    Example:
        >>> steps_per_round(100), steps_per_round(3)
        (100, 9)
    """
    return per_epoch * math.ceil(MIN_STEPS / per_epoch)


def make_advance(
    step: Step, batch_size: int, mesh: Mesh | None = None, order: Order = shuffled
) -> Callable[..., Carried]:
    """Makes ``((lane, improved, total), train, first, last) -> (lane, improved, total)``, pure.

    If ``improved``, which is returned as false, the lane first stores its parameters as the best so
    far; then it takes the steps ``first`` to ``last - 1``, all of one round. An epoch is the
    training rows in some order, cut into batches; the leftover rows differ between epochs.
    ``total`` is the sum of the metrics over the round so far, so that a round may be taken in any
    number of calls. On a mesh, the rows of a batch are sharded over its devices.

    A fourth entry of what is carried, if there is one, is whether the lane still takes steps.
    """

    def advance(carried, train: Batch, first: jax.Array, last: jax.Array):
        size = len(train.target)
        per_epoch, key = steps_per_epoch(size, batch_size), carried[0].state.key

        def take_epoch(epoch, carry):
            places, start = order(key, epoch, train.target), epoch * per_epoch

            def batch_at(i):
                rows = lax.dynamic_slice(places, ((i - start) * batch_size,), (batch_size,))
                return deal_rows(take_rows(train, rows), mesh)

            begin, end = jnp.maximum(first, start), jnp.minimum(last, start + per_epoch)
            return take_steps(step, carry, batch_at, begin, end)

        # At least one epoch, so that a call without steps takes the time to shuffle the rows.
        epoch, end = first // per_epoch, (last + per_epoch - 1) // per_epoch
        take = lambda carry: lax.fori_loop(epoch, jnp.maximum(end, epoch + 1), take_epoch, carry)
        return take_round(take, carried, per_epoch, first)

    return advance


def take_round(
    take: Callable[[tuple[TrainState, Metrics]], tuple[TrainState, Metrics]],
    carried: Carried,
    per_epoch: int,
    first: jax.Array,
) -> Carried:
    """As ``make_advance``, with ``take``, from ``take_steps``, for the steps from ``first`` on."""
    (state, best), improved, total, *goes_on = carried
    best = lax.cond(improved, lambda new, old: new, lambda new, old: old, state.params, best)
    begins = first % steps_per_round(per_epoch) == 0
    total = jax.tree.map(lambda x: jnp.where(begins, 0, x), total)
    if goes_on:
        state, total = lax.cond(goes_on[0], take, lambda kept: kept, (state, total))
    else:
        state, total = take((state, total))
    return Lane(state, best), jnp.zeros_like(improved), total, *goes_on


def take_steps(
    step: Step,
    carry: tuple[TrainState, Metrics],
    batch_at: Callable[[jax.Array], Batch],
    first: jax.Array,
    last: jax.Array,
) -> tuple[TrainState, Metrics]:
    """Takes the steps ``first`` to ``last - 1`` on ``batch_at(step)``, and adds up the metrics."""

    def take_step(i, carry):
        state, total = carry
        state, metrics = step(state, batch_at(i))
        return state, jax.tree.map(jnp.add, total, metrics)

    # Unlike a scan, its length is an argument: a partial epoch needs no second program.
    return lax.fori_loop(first, last, take_step, carry)


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


def batch_rows(
    key: jax.Array, step: int, target: Array, batch_size: int, order: Order = shuffled
) -> np.ndarray:
    """Which of the training rows, by their ``target``, a step uses: [batch_size].

    Example:
        >>> target = np.zeros(10, int)
        >>> epoch = [batch_rows(jax.random.key(0), step, target, batch_size=5) for step in (0, 1)]
        >>> sorted(np.concatenate(epoch).tolist())
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    epoch, place = divmod(step, steps_per_epoch(len(target), batch_size))
    return np.asarray(order(key, epoch, target))[place * batch_size :][:batch_size]


def take_rows(rows: Batch, index: jax.Array) -> Batch:
    """The rows at the given positions.

    Example:
        >>> rows = Batch({}, {}, target=jnp.array([3, 4, 5]))
        >>> take_rows(rows, jnp.array([2, 0])).target.tolist()
        [5, 3]
    """
    return jax.tree.map(lambda x: x[index], rows)
