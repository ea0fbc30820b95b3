"""The train step.

Everything random in training is a function of (seed, step): the initial parameters, the order of
the batches, their augmentation and the dropout masks. A run therefore resumes exactly from its
TrainState alone.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from mmjax.layers.blocks import blocks_computed_again
from mmjax.layers.dropout import dropout_at
from mmjax.methods import Joint
from mmjax.model import MultimodalModel, only_params, read_input
from mmjax.objectives.row_losses import over_targets
from mmjax.types import Batch, Forward, Gradient, Method, Objective, Skipped, TrainState

INIT, ORDER, DROPOUT, VARY = range(4)  # what fold_in derives from a run's key

MAX_SKIPPED = 20
"""Consecutive steps without a finite loss and gradient after which a seed has diverged."""

"""Types of the computation in training."""

Metrics = dict[str, jax.Array]
Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def init_params(model: nn.Module, rows: Batch, seed: int | jax.Array) -> chex.ArrayTree:
    """The model's initial parameters for a seed; only the shapes of the rows matter.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import make_model
        >>> task = synthetic(size=100)
        >>> sorted(init_params(make_model(task, "sum"), task.valid.batch(), seed=0))
        ['encoders_a', 'encoders_b', 'fusion']
    """
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((2, *x.shape[1:]), x.dtype), rows)
    key = jax.random.fold_in(jax.random.key(seed), INIT)
    variables = model.lazy_init(key, shapes.inputs, shapes.present, train=False)
    return only_params("model", variables)


def outline_params(model: nn.Module, rows: Batch) -> chex.ArrayTree:
    """The shapes and dtypes of the model's parameters; nothing is computed.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import make_model
        >>> task = synthetic(size=100)
        >>> outline = outline_params(make_model(task, "sum"), task.valid.batch())
        >>> outline["fusion"]["readout"]["kernel"].shape
        (64, 2)
    """
    return jax.eval_shape(lambda: init_params(model, rows, 0))


def init_state(
    params: chex.ArrayTree,
    tx: optax.GradientTransformation,
    seed: int | jax.Array,
    memory: chex.ArrayTree = (),
    dropout: float | jax.Array | None = None,
) -> TrainState:
    """The state before the first step."""
    rate = None if dropout is None else jnp.float32(dropout)
    return TrainState(jnp.int32(0), params, tx.init(params), jax.random.key(seed), memory, rate)


def make_forward(
    model: MultimodalModel,
    dropout: jax.Array | None = None,
    *,
    dtype: str = "float32",
    remat: bool = False,
) -> Forward:
    """Makes the forward pass in training, ``(params, batch, key) -> Outputs``, a pure function.

    Args:
        model: the model.
        dropout: [] rate that overrides that of every dropout layer.
        dtype: key of ``DTYPES``; parameters are cast to it, and outputs back.
        remat: as ``Recipe.remat``.
    """

    def forward(params, batch, key):
        inputs = batch.inputs
        if dtype != "float32":
            read = {name: read_input(model.encoders[name], inputs[name]) for name in model.encoders}
            params, inputs = _cast((params, read), jnp.dtype(dtype))
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
    """The tree with its floats cast to another type."""
    is_float = lambda x: jnp.issubdtype(x.dtype, jnp.floating)
    return jax.tree.map(lambda x: x.astype(dtype) if is_float(x) else x, tree)


def make_step(
    model: MultimodalModel,
    objective: Objective,
    tx: optax.GradientTransformation,
    method: Method = Joint(),
    *,
    vary: Callable[[jax.Array, Batch], Batch] | None = None,
    accumulate: int = 1,
    dtype: str = "float32",
    remat: bool = False,
) -> Step:
    """Makes the train step ``(state, batch) -> (state, metrics)``, a pure function.

    ``vary`` is from ``augment.make_vary``; ``accumulate``, ``dtype`` and ``remat`` are those of a
    ``Recipe``. If the loss or the gradient
    is not finite, the step changes no parameter, and its metrics are 0, except for ``skipped``,
    which is 1. After ``MAX_SKIPPED`` such steps in a row, all further steps are skipped.

    Example:
        >>> from mmjax.objectives import cross_entropy
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import make_model
        >>> task, tx = synthetic(size=100), optax.sgd(0.1)
        >>> model, rows = make_model(task, "late_mean"), task.train.batch()
        >>> state = init_state(init_params(model, rows, seed=0), tx, seed=0)
        >>> state, metrics = jax.jit(make_step(model, cross_entropy, tx))(state, rows)
        >>> int(state.step), int(metrics["skipped"])
        (1, 0)
    """

    def over_both(outputs, batch):
        return over_targets(lambda rows: objective(outputs, rows), batch)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        if vary is not None:
            own = jax.random.fold_in(jax.random.fold_in(state.key, VARY), state.step)
            batch = vary(own, batch)
        forward = make_forward(model, state.dropout, dtype=dtype, remat=remat)
        gradient = _in_parts(method.gradient(forward, over_both), accumulate)
        key = jax.random.fold_in(jax.random.fold_in(state.key, DROPOUT), state.step)
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
    """The mean of the gradients and metrics over equal parts of a batch, computed in sequence."""
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
