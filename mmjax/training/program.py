"""A recipe as one compiled program for the shapes of a task."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from mmjax.data.task import Task
from mmjax.errors import UsageError
from mmjax.storage.trees import is_key
from mmjax.training.epochs import Lane, trace_step, zero_metrics
from mmjax.training.feed import Feed, compile_advance, make_feed
from mmjax.training.lanes import compile_soon
from mmjax.training.mesh import make_mesh, place_lanes
from mmjax.training.optimiser import at_lane, per_seed
from mmjax.training.predict import Evaluate, make_evaluate
from mmjax.training.recipe import Recipe
from mmjax.training.sizes import Sizes, sizes
from mmjax.training.step import init_params, init_state, make_forward, make_step
from mmjax.types import Batch, Prepared


class Program(NamedTuple):
    """A recipe compiled for the shapes of a task.

    Attributes:
        init: ``(seeds, Prepared) -> Lane``, [seeds, ...]; parts that are prepared replace fresh
            ones.
        advance: from ``feed.compile_advance``.
        zeros: the sum of metrics over zero steps, [seeds] of each.
        evaluate: from ``predict.make_evaluate``.
        sizes: parameters and FLOPs of the model.
        seconds: wall time of tracing, and of compiling or loading from a cache.
        step: the step of one seed and batch, traced, for cost analysis.
        batch_size: rows of a step.
        mesh: the devices it runs on, if there is more than one.
    """

    init: Callable[[Sequence[int], Prepared], Lane]
    advance: Callable
    zeros: dict[str, np.ndarray]
    evaluate: Evaluate
    sizes: Sizes
    seconds: float
    step: jax.stages.Traced
    batch_size: int
    mesh: Mesh | None = None

    def feed(self, recipe: Recipe, task: Task) -> Feed:
        """The feed that supplies the training rows of a task of the same shapes."""
        return make_feed(task.train, recipe.seeds, self.batch_size, recipe.steps, self.mesh)


def compile_recipe(recipe: Recipe, task: Task) -> Program:
    """Compiles what ``fit`` runs; may be called in a thread while another recipe trains.

    See ``fit`` for an example.
    """
    start = time.perf_counter()
    step = jax.jit(  # its trace serves the analysis of costs, too
        make_step(
            recipe.model,
            recipe.objective,
            _optimiser(recipe),
            recipe.method,
            accumulate=recipe.accumulate,
            dtype=recipe.dtype,
            remat=recipe.remat,
        ),
        inline=True,
    )
    batch_size = rows_per_step(recipe, task)
    mesh = make_mesh(recipe.mesh) if recipe.mesh else None
    train = task.train.batch()
    init = _compile_init(recipe, train)
    advance = compile_advance(step, task.train, batch_size, mesh)
    evaluate = make_evaluate(recipe.model, mesh=mesh)
    lanes = init(recipe.seeds, Prepared())
    traced = trace_step(step, lanes, train, batch_size)
    zeros = zero_metrics(traced, len(recipe.seeds))
    model = sizes(recipe.model, task)
    program = Program(init, advance, zeros, evaluate, model, 0.0, traced, batch_size, mesh)
    # Calls with no steps and a single row compile everything that is needed later.
    carried = (place_lanes(lanes, mesh), np.zeros(len(recipe.seeds), bool), zeros)
    for call in program.feed(recipe, task)(0, 0):
        lanes, *_ = advance(carried, *call)
    evaluate.predict(lanes.best, jax.tree.map(lambda x: x[:1], train))
    return program._replace(seconds=time.perf_counter() - start)


def rows_per_step(recipe: Recipe, task: Task) -> int:
    """The batch size, capped at the number of rows and rounded down to a multiple of the parts.

    Raises:
        UsageError: there are more parts than rows.
    """
    rows = min(recipe.batch_size, task.train.size)
    if rows < recipe.accumulate:
        expected = f"at most {rows}, the rows per step"
        raise UsageError("accumulate", expected=expected, got=str(recipe.accumulate))
    return rows - rows % recipe.accumulate


def _compile_init(recipe: Recipe, rows: Batch) -> Callable[[Sequence[int], Prepared], Lane]:
    """Makes ``Program.init``."""
    dropout = per_seed(recipe.dropout)

    def init_lane(seed: jax.Array, lane: jax.Array, prepared: Prepared) -> Lane:
        given, memory = prepared
        params = {**init_params(recipe.model, rows, seed), **given}
        if memory is None:
            memory = recipe.method.init(make_forward(recipe.model), params, rows)
        tx, rate = _optimiser(recipe, lane), at_lane(dropout, lane)
        return Lane(init_state(params, tx, seed, memory, rate), params)

    # For one seed, so that the seeds beside it change nothing.
    compiled = jax.jit(init_lane, compiler_options=compile_soon())

    def init(seeds: Sequence[int], prepared: Prepared) -> Lane:
        own = [jax.tree.map(lambda x, i=lane: x[i], prepared) for lane in range(len(seeds))]
        low_bits = np.array(seeds).astype(np.uint32)  # which are all that a key depends on
        lanes = [compiled(seed, lane, own[lane]) for lane, seed in enumerate(low_bits)]
        return jax.tree.map(_stack, *lanes)

    return init


def _stack(*leaves: jax.Array) -> jax.Array | np.ndarray:
    if is_key(leaves[0]):
        return jnp.stack(leaves)
    return np.stack(leaves)  # in NumPy, to avoid compiling a program for every shape


def _optimiser(recipe: Recipe, lane: int | jax.Array = 0) -> optax.GradientTransformation:
    return recipe.method.transform(recipe.tx.build(recipe.steps, lane))
