"""A recipe as one compiled program for the shapes of a task."""

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from mmjax.data.task import Task
from mmjax.errors import UsageError
from mmjax.training.class_weights import check_balance
from mmjax.training.epochs import Carried, Lane, steps_per_epoch, trace_step, zero_metrics
from mmjax.training.feed import Feed, make_feed, streamed
from mmjax.training.functions import make_functions
from mmjax.training.mesh import place_lanes
from mmjax.training.predict import Evaluate
from mmjax.training.recipe import Recipe
from mmjax.training.sampling import order_of
from mmjax.training.sizes import Sizes, sizes
from mmjax.types import Prepared

_SMALL = 2e10  # operations of a training that is over before a better program would be compiled


class Program(NamedTuple):
    """A recipe compiled for the shapes of a task.

    Attributes:
        init: ``(recipe, Prepared) -> Lane``, as in ``Functions``.
        advance: from ``feed.make_all_advance``.
        zeros: the sum of metrics over zero steps, [seeds] of each.
        evaluate: from ``predict.make_evaluate``.
        sizes: parameters and FLOPs of the model.
        seconds: wall time of tracing, and of compiling or loading from a cache.
        step: the step of one seed and batch, traced, for cost analysis.
        batch_size: rows of a step.
        mesh: the devices it runs on, if there is more than one.
    """

    init: Callable[..., Lane]
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
        order = order_of(recipe)
        return make_feed(task.train, recipe.seeds, self.batch_size, recipe.steps, self.mesh, order)


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


def make_program(recipe: Recipe, task: Task) -> tuple[Program, Carried]:
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
    check_balance(recipe, task)
    batch_size = rows_per_step(recipe, task)
    per_epoch = steps_per_epoch(task.train.size, batch_size) if streamed(task.train) else None
    train = task.train.batch()
    model = sizes(recipe.model, task)
    seeds = len(recipe.seeds) // recipe.joined  # the same program, whatever it is joined with
    work = 3 * model.flops * batch_size * recipe.steps * seeds
    functions = make_functions(recipe, batch_size, per_epoch, "low" if work < _SMALL else "normal")
    init = partial(functions.init, rows=train)
    step, advance, evaluate, mesh = functions[1:]
    lanes = init(recipe, Prepared())
    traced = trace_step(step, lanes, train, batch_size)
    zeros = zero_metrics(traced, len(recipe.seeds))
    program = Program(init, advance, zeros, evaluate, model, 0.0, traced, batch_size, mesh)
    flags = np.zeros(len(recipe.seeds), bool)
    return program, (place_lanes(lanes, mesh), flags, zeros, *[~flags] * (recipe.joined > 1))


def rows_per_step(recipe: Recipe, task: Task) -> int:
    """The batch size, capped at the number of rows and rounded down to a multiple of the parts.

    Raises:
        UsageError: there are more parts than rows.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import make_model
        >>> task = synthetic(size=100)
        >>> rows_per_step(Recipe(make_model(task, "sum"), batch_size=64), task)  # has 60 rows
        60
    """
    rows = min(recipe.batch_size, task.train.size)
    if rows < recipe.accumulate:
        expected = f"at most {rows}, the rows per step"
        raise UsageError("accumulate", expected=expected, got=str(recipe.accumulate))
    return rows - rows % recipe.accumulate
