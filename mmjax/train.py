"""The one train step, and what repeats it.

Everything random in training is a function of (seed, step): the parameters, the order of the
batches and the dropout masks. So a run continues exactly from its TrainState alone.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh

from mmjax.errors import UsageError
from mmjax.layers import as_float, blocks_computed_again, dropout_at
from mmjax.mesh import deal_rows
from mmjax.methods import Joint
from mmjax.types import Batch, Forward, Gradient, Method, Objective, Skipped, TrainState

T = TypeVar("T")

_INIT, _ORDER, _DROPOUT = range(3)  # what fold_in derives from a run's key

MAX_SKIPPED = 20
"""Steps in a row without a finite loss and gradient after which a seed is given up."""

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
"""What training may compute in."""

Metrics = dict[str, jax.Array]
Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


@dataclass(frozen=True)
class Adam:
    """AdamW on clipped gradients, with a linear warm-up and a cosine decay to zero.

    Learning rate and weight decay are one number, or one for each seed in turn.

    Reference: Kingma and Ba, Adam (arXiv:1412.6980); Loshchilov and Hutter, SGDR
    (arXiv:1608.03983) and Decoupled Weight Decay Regularization (arXiv:1711.05101).

    Attributes:
        learning_rate: at the end of the warm-up.
        weight_decay: in units of the learning rate; with 0 it is Adam.
        warmup: fraction of the steps over which the rate rises from zero.
        clip: largest global norm of a gradient.
    """

    learning_rate: float | tuple[float, ...] = 3e-3
    weight_decay: float | tuple[float, ...] = 0.0
    warmup: float = 0.1
    clip: float = 1.0

    def __post_init__(self) -> None:
        if not all(0 < rate < math.inf for rate in per_seed(self.learning_rate)):
            got = str(self.learning_rate)
            raise UsageError("learning_rate", expected="a positive number", got=got)
        if not all(0 <= decay < math.inf for decay in per_seed(self.weight_decay)):
            got = str(self.weight_decay)
            raise UsageError("weight_decay", expected="no negative number", got=got)

    def build(self, steps: int, lane: int = 0) -> optax.GradientTransformation:
        """The optimiser for a run of so many steps; ``lane`` is the place among the seeds.

        Lanes differ in their initial state alone: one optimiser updates all of them.
        """
        warmup_steps = min(math.ceil(self.warmup * steps), steps - 1)

        def adamw(rate, decay):
            rise = optax.linear_schedule(0.0, rate, warmup_steps)
            fall = optax.cosine_decay_schedule(rate, steps - warmup_steps)
            schedule = optax.join_schedules([rise, fall], [warmup_steps])
            return optax.adamw(schedule, weight_decay=decay)

        rates, decays = per_seed(self.learning_rate), per_seed(self.weight_decay)
        if isinstance(self.learning_rate, tuple) or isinstance(self.weight_decay, tuple):
            adamw = optax.inject_hyperparams(adamw)  # one program, whatever the numbers
        optimiser = adamw(rates[lane % len(rates)], decays[lane % len(decays)])
        return optax.chain(optax.clip_by_global_norm(self.clip), optimiser)


def per_seed(value: T | tuple[T, ...]) -> tuple[T, ...]:
    """A number for all seeds, or one for each in turn, as those that take turns."""
    return value if isinstance(value, tuple) else (value,)


def init_params(model: nn.Module, rows: Batch, seed: int) -> chex.ArrayTree:
    """The model's parameters for a seed; of the rows only the shapes matter."""
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((2, *x.shape[1:]), x.dtype), rows)
    key = jax.random.fold_in(jax.random.key(seed), _INIT)
    # Initialisers run one by one, not as one program: those of equal shape compile once for all
    # seeds and all models of a comparison.
    return model.lazy_init(key, shapes.inputs, shapes.present, train=False)["params"]


def init_state(
    params: chex.ArrayTree,
    tx: optax.GradientTransformation,
    seed: int,
    memory: chex.ArrayTree = (),
    dropout: float | None = None,
) -> TrainState:
    """The state before the first step."""
    rate = None if dropout is None else jnp.float32(dropout)
    return TrainState(jnp.int32(0), params, tx.init(params), jax.random.key(seed), memory, rate)


def make_forward(
    model: nn.Module,
    dropout: jax.Array | None = None,
    *,
    dtype: str = "float32",
    remat: bool = False,
) -> Forward:
    """Makes the model in training, ``(params, batch, key) -> Outputs``, a pure function.

    Args:
        model: what is trained.
        dropout: [] rate in place of that of each layer which has one.
        dtype: key of ``DTYPES``; parameters are cast to it, and outputs back.
        remat: as ``Recipe.remat``.
    """

    def forward(params, batch, key):
        inputs = batch.inputs
        if dtype != "float32":
            params, inputs = _cast((params, jax.tree.map(as_float, inputs)), DTYPES[dtype])
        with (
            nullcontext() if dropout is None else dropout_at(dropout),
            blocks_computed_again() if remat else nullcontext(),
        ):
            outputs = model.apply(
                {"params": params}, inputs, batch.present, train=True, rngs={"dropout": key}
            )
        return outputs if dtype == "float32" else _cast(outputs, jnp.float32)

    return forward


def _cast(tree: chex.ArrayTree, dtype: jnp.dtype) -> chex.ArrayTree:
    """The tree with its floats in another type."""
    is_float = lambda x: jnp.issubdtype(x.dtype, jnp.floating)
    return jax.tree.map(lambda x: x.astype(dtype) if is_float(x) else x, tree)


def make_step(
    model: nn.Module,
    objective: Objective,
    tx: optax.GradientTransformation,
    method: Method = Joint(),
    *,
    accumulate: int = 1,
    dtype: str = "float32",
    remat: bool = False,
) -> Step:
    """Makes the train step ``(state, batch) -> (state, metrics)``, a pure function.

    ``accumulate``, ``dtype`` and ``remat`` are those of a ``Recipe``. Where the loss or the
    gradient is not finite, the step changes no parameter; its metrics are 0, but for ``skipped``,
    which is 1. After ``MAX_SKIPPED`` such steps in a row all are skipped.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        forward = make_forward(model, state.dropout, dtype=dtype, remat=remat)
        gradient = _in_parts(method.gradient(forward, objective), accumulate)
        key = jax.random.fold_in(jax.random.fold_in(state.key, _DROPOUT), state.step)
        grads, memory, metrics = gradient(state.params, state.memory, batch, key)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        finite = jnp.isfinite(metrics["loss"] + optax.tree.norm(grads))
        finite &= state.skipped.in_row < MAX_SKIPPED
        if_finite = lambda new, old: jax.tree.map(partial(jnp.where, finite), new, old)
        bad = 1 - finite.astype(jnp.int32)
        after = state._replace(
            step=state.step + 1,
            params=if_finite(params, state.params),
            opt_state=if_finite(opt_state, state.opt_state),
            memory=if_finite(memory, state.memory),
            skipped=Skipped(state.skipped.total + bad, bad * (state.skipped.in_row + 1)),
        )
        metrics = {name: jnp.where(finite, value, 0) for name, value in metrics.items()}
        return after, {**metrics, "skipped": bad}

    return step


def _in_parts(gradient: Gradient, count: int) -> Gradient:
    """The mean of the gradients, and of the metrics, of equal parts of a batch, one by one."""
    if count == 1:
        return gradient

    def in_parts(params, memory, batch, key):
        parts = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)
        keys = jax.random.split(key, count)

        def take_part(carry, part):
            memory, total = carry
            grads, memory, metrics = gradient(params, memory, *part)
            return (memory, jax.tree.map(jnp.add, total, (grads, metrics))), None

        one = jax.tree.map(lambda x: x[0], (parts, keys))
        shapes = jax.eval_shape(gradient, params, memory, *one)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (shapes[0], shapes[2]))
        (memory, total), _ = lax.scan(take_part, (memory, zeros), (parts, keys))
        grads, metrics = jax.tree.map(lambda x: x / count, total)
        return grads, memory, metrics

    return in_parts


class Lane(NamedTuple):
    """What training keeps for a seed: where it is, and its best parameters on validation."""

    state: TrainState
    best: chex.ArrayTree


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Number of whole batches in the training rows."""
    return rows // batch_size


def make_advance(
    step: Step, batch_size: int, mesh: Mesh | None = None
) -> Callable[..., tuple[Lane, jax.Array, Metrics]]:
    """Makes ``((lane, improved, total), train, first, last) -> (lane, improved, total)``, pure.

    The lane keeps its parameters as the best so far where ``improved``, which comes back as false,
    then takes the steps ``first`` to ``last - 1``, which belong to one epoch. An epoch is a
    permutation of the training rows cut into batches; the rows left over are others in each epoch.
    ``total`` is the sum of the metrics over the epoch so far: in how many calls an epoch is taken
    makes no difference. The devices of a mesh deal out the rows of a batch.
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
    """What ``make_advance`` makes, with batches from anywhere: ``batch_at(step) -> Batch``."""
    (state, best), improved, total = carried
    best = jax.tree.map(lambda new, old: jnp.where(improved, new, old), state.params, best)
    total = jax.tree.map(lambda x: jnp.where(first % per_epoch == 0, 0, x), total)

    def take_step(i, carry):
        state, total = carry
        state, metrics = step(state, batch_at(i))
        return state, jax.tree.map(jnp.add, total, metrics)

    # A scan whose length is an argument: an epoch cut short needs no second program.
    state, total = lax.fori_loop(first, last, take_step, (state, total))
    return Lane(state, best), jnp.zeros_like(improved), total


def trace_step(step: Step, lanes: Lane, train: Batch, batch_size: int) -> jax.stages.Traced:
    """The step of one seed and batch, traced; of ``lanes`` and rows only the shapes matter."""
    shape = lambda x, *first: jax.ShapeDtypeStruct((*first, *x.shape[1:]), x.dtype)
    batch = jax.tree.map(lambda x: shape(x, batch_size), train)
    return jax.jit(step).trace(jax.tree.map(shape, lanes.state), batch)


def zero_metrics(step: jax.stages.Traced, num_lanes: int) -> dict[str, np.ndarray]:
    """The sum of metrics over no steps: [seeds] of each."""
    return {name: np.zeros(num_lanes, x.dtype) for name, x in step.out_info[1].items()}


def batch_rows(key: jax.Array, step: int, size: int, batch_size: int) -> np.ndarray:
    """Which of so many training rows a step takes: [batch_size]."""
    epoch, place = divmod(step, steps_per_epoch(size, batch_size))
    return np.asarray(epoch_order(key, epoch, size))[place * batch_size :][:batch_size]


def epoch_order(key: jax.Array, epoch: jax.Array, size: int) -> jax.Array:
    """The order of so many training rows in an epoch: [size]."""
    key = jax.random.fold_in(jax.random.fold_in(key, _ORDER), epoch)
    return jnp.argsort(jax.random.bits(key, (size,)))  # half the time of random.permutation


def take_rows(rows: Batch, index: jax.Array) -> Batch:
    """The rows at the given positions."""
    return jax.tree.map(lambda x: x[index], rows)
