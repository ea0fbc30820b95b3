"""The training loop: epochs on the device, validation after each, the best state of each seed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmjax.evaluate import Evaluate, Predict, View, make_evaluate, scores
from mmjax.lanes import over_seeds
from mmjax.recipe import Recipe
from mmjax.sizes import Sizes, sizes
from mmjax.task import Task
from mmjax.train import (
    Lane,
    init_params,
    init_state,
    make_advance,
    make_forward,
    make_step,
    per_seed,
    steps_per_epoch,
)
from mmjax.types import Batch, Prepared, TrainState

Progress = Callable[[int], None]
"""Called after each epoch with the number of steps that it took."""


@dataclass(frozen=True, eq=False)
class Fit:
    """What ``fit`` returns.

    Attributes:
        recipe: as given.
        program: what it ran, compiled.
        params: the best parameters on validation, [seeds, ...].
        state: the TrainState after the last step, [seeds, ...].
        history: a mapping for each epoch: the step after it, and [seeds] of each metric.
        best_step: [seeds] the step at which the best parameters were reached.
        seconds: wall time of compilation (or loading), training and validation, all seeds together.
    """

    recipe: Recipe
    program: "Program"
    params: chex.ArrayTree
    state: TrainState
    history: list[dict[str, Any]]
    best_step: np.ndarray
    seconds: float

    @property
    def predict(self) -> Predict:
        """``(params, rows) -> predictions [seeds, rows, out_dim]``."""
        return self.program.evaluate.predict

    @property
    def view(self) -> Callable[[chex.ArrayTree, Batch], View]:
        """``(params, rows) -> View``: predictions, embeddings, weights."""
        return self.program.evaluate.view


class Program(NamedTuple):
    """A recipe compiled for the shapes of a task.

    Attributes:
        advance: as ``train.make_advance`` makes it, for all seeds.
        evaluate: as ``evaluate.make_evaluate`` makes it.
        sizes: what the model costs.
        seconds: wall time of tracing, and of compilation or of loading from a cache.
    """

    advance: Callable
    evaluate: Evaluate
    sizes: Sizes
    seconds: float


def compile_recipe(recipe: Recipe, task: Task) -> Program:
    """Compiles what ``fit`` runs; safe in a thread of its own, while another recipe trains."""
    start = time.perf_counter()
    step = make_step(recipe.model, recipe.objective, _optimiser(recipe), recipe.method)
    advance = over_seeds(make_advance(step, _batch_size(recipe, task)), donate_argnums=0)
    evaluate = make_evaluate(recipe.model)
    train = task.train.batch()
    lanes = init_lanes(recipe, train)
    # Calls that take no step and predict one row compile all that comes later.
    lanes, _ = advance((lanes, np.zeros(len(recipe.seeds), bool)), train, 0, 0)
    evaluate.predict(lanes.best, jax.tree.map(lambda x: x[:1], train))
    seconds = time.perf_counter() - start
    return Program(advance, evaluate, sizes(recipe.model, task), seconds)


def fit(
    recipe: Recipe,
    task: Task,
    *,
    params: chex.ArrayTree | None = None,
    program: Program | None = None,
    progress: Progress = lambda steps: None,
) -> Fit:
    """Trains a recipe on a task, all seeds in one program.

    Args:
        recipe: what to train, and how.
        task: the data; its test split is not touched.
        params: {submodule: parameters [seeds, ...]} to start from in place of fresh ones; the
            method's preliminary runs are left out.
        program: the recipe compiled for the task, if that has been done.
        progress: called after each epoch.
    """
    program = program or compile_recipe(recipe, task)
    advance, predict = program.advance, program.evaluate.predict
    start = time.perf_counter()
    prepared = Prepared(params or {})
    if not params:
        prepared = recipe.method.prepare(partial(fit, progress=progress), recipe, task)
    train, valid = jax.device_put((task.train.batch(), task.valid.batch()))
    lanes = init_lanes(recipe, train, prepared)

    watch = _Validation(len(recipe.seeds), recipe.patience)
    history, first = [], 0
    per_epoch = steps_per_epoch(task.train.size, _batch_size(recipe, task))
    while first < recipe.steps and not watch.settled:
        last = min(first + per_epoch, recipe.steps)
        lanes, metrics = advance((lanes, watch.improved), train, first, last)
        scored = watch.update(last, predict(lanes.state.params, valid), task.valid.target)
        history.append({"step": last, **jax.device_get(metrics), **scored})
        progress(last - first)
        first = last
    lanes, _ = advance((lanes, watch.improved), train, first, first)
    seconds = program.seconds + time.perf_counter() - start
    return Fit(recipe, program, lanes.best, lanes.state, history, watch.best_step, seconds)


def _optimiser(recipe: Recipe, lane: int = 0) -> optax.GradientTransformation:
    return recipe.method.transform(recipe.tx.build(recipe.steps, lane))


def _batch_size(recipe: Recipe, task: Task) -> int:
    return min(recipe.batch_size, task.train.size)


def init_lanes(recipe: Recipe, rows: Batch, prepared: Prepared = Prepared()) -> Lane:
    """The lanes of all seeds, [seeds, ...], with what is prepared in place of fresh parts.

    Of the rows only the shapes matter.
    """
    forward = make_forward(recipe.model)

    def init_lane(index: int, seed: int) -> Lane:
        given, memory = jax.tree.map(lambda x: x[index], prepared)
        params = {**init_params(recipe.model, rows, seed), **given}
        if memory is None:
            memory = recipe.method.init(forward, params, rows)
        tx, rates = _optimiser(recipe, index), per_seed(recipe.dropout)
        return Lane(init_state(params, tx, seed, memory, rates[index % len(rates)]), params)

    lanes = [init_lane(index, seed) for index, seed in enumerate(recipe.seeds)]
    return jax.tree.map(_stack, *lanes)


def _stack(*leaves: jax.Array) -> jax.Array | np.ndarray:
    if jnp.issubdtype(leaves[0].dtype, jax.dtypes.prng_key):
        return jnp.stack(leaves)
    return np.stack(leaves)  # without a program to compile for every shape


class _Validation:
    """Which seeds have just improved on validation: more accurate, or equally so with less loss."""

    def __init__(self, seeds: int, patience: int) -> None:
        self.patience = patience
        self.improved = np.zeros(seeds, bool)
        self.best_step = np.zeros(seeds, int)
        self._best_accuracy = np.full(seeds, -1.0)
        self._best_nll = np.full(seeds, np.inf)
        self._waited = np.zeros(seeds, int)

    @property
    def settled(self) -> bool:
        return bool((self._waited >= self.patience).all())

    def update(self, step: int, prediction: np.ndarray, target: np.ndarray) -> dict[str, Any]:
        each = [scores(p, target) for p in prediction]
        accuracy, nll = (np.array([s[name] for s in each]) for name in ("accuracy", "nll"))
        better = (accuracy > self._best_accuracy) | (
            (accuracy == self._best_accuracy) & (nll < self._best_nll)
        )
        # A seed that has settled stays so: its result must not depend on the seeds beside it.
        self.improved = better & np.isfinite(nll) & (self._waited < self.patience)
        self._waited = np.where(self.improved, 0, self._waited + 1)
        self.best_step = np.where(self.improved, step, self.best_step)
        self._best_accuracy = np.where(self.improved, accuracy, self._best_accuracy)
        self._best_nll = np.where(self.improved, nll, self._best_nll)
        return {"valid_accuracy": accuracy, "valid_nll": nll}
