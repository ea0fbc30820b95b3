"""A recipe as one compiled program for the shapes of a task."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

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
from mmjax.training.mesh import make_mesh, place_lanes
from mmjax.training.optimiser import per_seed
from mmjax.training.predict import Evaluate, make_evaluate
from mmjax.training.recipe import Recipe
from mmjax.training.sizes import Sizes, sizes
from mmjax.training.step import init_params, init_state, make_forward, make_step
from mmjax.types import Batch, Prepared


class Program(NamedTuple):
    """A recipe compiled for the shapes of a task.

    Attributes:
        advance: from ``feed.compile_advance``.
        zeros: the sum of metrics over zero steps, [seeds] of each.
        evaluate: from ``predict.make_evaluate``.
        sizes: parameters and FLOPs of the model.
        seconds: wall time of tracing, and of compiling or loading from a cache.
        step: the step of one seed and batch, traced, for cost analysis.
        batch_size: rows of a step.
        mesh: the devices it runs on, if there is more than one.
    """

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
    program, (lanes, *rest) = make_program(recipe, task)
    # Calls with no steps and a single row compile everything that is needed later.
    for call in program.feed(recipe, task)(0, 0):
        lanes, *_ = program.advance((lanes, *rest), *call)
    program.evaluate.predict(lanes.best, jax.tree.map(lambda x: x[:1], task.train.batch()))
    return program._replace(seconds=time.perf_counter() - start)


def make_program(recipe: Recipe, task: Task) -> tuple[Program, tuple[Lane, np.ndarray, Any]]:
    """The program, of which nothing is compiled yet, and what it carries, in its shapes.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import Recipe, make_model
        >>> task = synthetic(size=100)
        >>> program, carried = make_program(Recipe(make_model(task, "gmu")), task)
        >>> lowered = program.advance.lower(carried, task.train.batch(), 0, 1)
        >>> "stablehlo" in lowered.as_text()
        True
    """
    step = make_step(
        recipe.model,
        recipe.objective,
        _optimiser(recipe),
        recipe.method,
        accumulate=recipe.accumulate,
        dtype=recipe.dtype,
        remat=recipe.remat,
    )
    batch_size = rows_per_step(recipe, task)
    mesh = make_mesh(recipe.mesh) if recipe.mesh else None
    advance = compile_advance(step, task.train, batch_size, mesh)
    evaluate = make_evaluate(recipe.model, mesh=mesh)
    train = task.train.batch()
    lanes = _blank_lanes(recipe, train)
    traced = trace_step(step, lanes, train, batch_size)
    zeros = zero_metrics(traced, len(recipe.seeds))
    model = sizes(recipe.model, task)
    program = Program(advance, zeros, evaluate, model, 0.0, traced, batch_size, mesh)
    return program, (place_lanes(lanes, mesh), np.zeros(len(recipe.seeds), bool), zeros)


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


def init_lanes(recipe: Recipe, rows: Batch, prepared: Prepared = Prepared()) -> Lane:
    """The initial lanes of all seeds, [seeds, ...], with prepared parts instead of fresh ones.

    Only the shapes of the rows matter.
    """
    lanes = [_init_lane(recipe, rows, prepared, index) for index in range(len(recipe.seeds))]
    return jax.tree.map(_stack, *lanes)


def _init_lane(recipe: Recipe, rows: Batch, prepared: Prepared, index: int) -> Lane:
    given, memory = jax.tree.map(lambda x: x[index], prepared)
    seed, rates = recipe.seeds[index], per_seed(recipe.dropout)
    params = {**init_params(recipe.model, rows, seed), **given}
    if memory is None:
        memory = recipe.method.init(make_forward(recipe.model), params, rows)
    tx = _optimiser(recipe, index)
    return Lane(init_state(params, tx, seed, memory, rates[index % len(rates)]), params)


def _blank_lanes(recipe: Recipe, rows: Batch) -> Lane:
    """Lanes in the shapes of ``init_lanes``, of zeros: enough to compile for, and sooner made."""
    lane = jax.eval_shape(lambda: _init_lane(recipe, rows, Prepared(), 0))
    size = len(recipe.seeds)

    def blank(x: jax.ShapeDtypeStruct) -> jax.Array | np.ndarray:
        if is_key(x):
            return jax.random.split(jax.random.key(0), size)
        return np.zeros((size, *x.shape), x.dtype)

    return jax.tree.map(blank, lane)


def _stack(*leaves: jax.Array) -> jax.Array | np.ndarray:
    if is_key(leaves[0]):
        return jnp.stack(leaves)
    return np.stack(leaves)  # in NumPy, to avoid compiling a program for every shape


def _optimiser(recipe: Recipe, lane: int = 0) -> optax.GradientTransformation:
    return recipe.method.transform(recipe.tx.build(recipe.steps, lane))
