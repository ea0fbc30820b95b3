"""The training loop: epochs on the device, validation after each, the best state of each seed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import chex
import jax
import numpy as np

from mmjax.data.task import Task
from mmjax.errors import DivergenceError
from mmjax.training.checkpoint import Checkpoints
from mmjax.training.early_stopping import Validation
from mmjax.training.epochs import Lane, batch_rows, steps_per_epoch
from mmjax.training.feed import place
from mmjax.training.mesh import agreed, place_lanes, to_host
from mmjax.training.predict import Predict, View
from mmjax.training.program import Program, compile_recipe, feed_rows, init_lanes, rows_per_step
from mmjax.training.recipe import Recipe
from mmjax.training.step import MAX_SKIPPED, Metrics
from mmjax.types import Batch, Prepared, TrainState

Progress = Callable[[int], None]
"""Called after each epoch, or part of one, with the number of steps that it took."""
OnEpoch = Callable[[dict[str, Any]], bool]
"""Called after each epoch with its entry of the history; whether training ends there."""

_FIRST_CALL, _CALL_SECONDS = 64, 5.0  # steps of the first call; what later ones take
_SHOWN_ROWS = 16


@dataclass(frozen=True, eq=False)
class Fit:
    """What ``fit`` returns.

    Attributes:
        recipe: as given.
        program: what it ran, compiled.
        params: the best parameters on validation, [seeds, ...].
        state: the TrainState after the last step, [seeds, ...].
        history: a mapping for each epoch: the step after it, [seeds] of each metric, a mean over
            the steps that were not skipped, and the number of those that were.
        best_step: [seeds] the step at which the best parameters were reached.
        seconds: wall time of compilation (or loading), training and validation, all seeds together.
    """

    recipe: Recipe
    program: Program
    params: chex.ArrayTree
    state: TrainState
    history: list[dict[str, Any]]
    best_step: np.ndarray
    seconds: float

    @property
    def diverged(self) -> np.ndarray:
        """[seeds] bool, which were given up because nothing was finite any more."""
        return np.asarray(self.state.skipped.in_row) >= MAX_SKIPPED

    @property
    def predict(self) -> Predict:
        """``(params, rows) -> predictions [seeds, rows, out_dim]``."""
        return self.program.evaluate.predict

    @property
    def view(self) -> Callable[[chex.ArrayTree, Batch], View]:
        """``(params, rows) -> View``: predictions, embeddings, weights."""
        return self.program.evaluate.view


def fit(
    recipe: Recipe,
    task: Task,
    *,
    params: chex.ArrayTree | None = None,
    program: Program | None = None,
    progress: Progress = lambda steps: None,
    on_epoch: OnEpoch = lambda epoch: False,
    checkpoints: Checkpoints | None = None,
) -> Fit:
    """Trains a recipe on a task, all seeds in one program.

    A step whose loss or gradient is not finite is skipped; a seed with ``MAX_SKIPPED`` of them in a
    row is given up, which does not touch the other seeds.

    Args:
        recipe: what to train, and how.
        task: the data; its test split is not touched.
        params: {submodule: parameters [seeds, ...]} to start from in place of fresh ones; the
            method's preliminary runs are left out.
        program: the recipe compiled for the task, if that has been done.
        progress: called after each epoch or part of one. A KeyboardInterrupt that it raises ends
            training, once the checkpoints have all that was done.
        on_epoch: called after each epoch with its entry of the history; training ends there if it
            returns true.
        checkpoints: where training is kept, and goes on from: what follows is bit by bit what it
            would have been without the interruption.

    Raises:
        DivergenceError: all seeds were given up.
        OSError: a checkpoint cannot be written; those before it are intact.
    """
    program = program or compile_recipe(recipe, task)
    start = time.perf_counter()
    valid = task.valid.batch() if program.mesh else place(task.valid)
    run = _Run(recipe, task, program)
    if checkpoints and checkpoints.exist:
        run.resume(checkpoints)
    else:
        run.begin(params, partial(fit, progress=progress))
    ended = False
    while run.first < recipe.steps and not (run.watch.settled or ended):
        taken = run.advance()
        if run.ends_epoch:
            run.validate(valid)
            ended = on_epoch(run.history[-1])
        try:
            progress(taken)
        except KeyboardInterrupt:
            if checkpoints:
                checkpoints.save(run.first, run.tree(), run.facts())
                checkpoints.close()
            raise
        if checkpoints:
            checkpoints.offer(run.first, run.tree, run.facts)
    if checkpoints:
        checkpoints.close()
    lanes = run.finish()
    seconds = program.seconds + run.seconds + time.perf_counter() - start
    return Fit(recipe, program, lanes.best, lanes.state, run.history, run.watch.best_step, seconds)


class _Run:
    """Where training is: lanes on the device, and beside them what the host knows."""

    def __init__(self, recipe: Recipe, task: Task, program: Program) -> None:
        self.recipe, self.task, self.program = recipe, task, program
        self.feed = feed_rows(recipe, task, program.mesh)
        self.watch = Validation(len(recipe.seeds), recipe.patience)
        self.history: list[dict[str, Any]] = []
        self.first = 0  # the next step
        self.total = program.zeros
        self.seconds = 0.0  # that earlier processes took
        self._started = time.perf_counter()
        self._per_epoch = steps_per_epoch(task.train.size, rows_per_step(recipe, task))
        self._per_call = _FIRST_CALL

    def begin(self, params: chex.ArrayTree | None, fit: Callable[..., Fit]) -> None:
        """Draws the parameters, or takes those that are given or prepared."""
        prepared = Prepared(params or {})
        if not params:
            prepared = self.recipe.method.prepare(fit, self.recipe, self.task)
        lanes = init_lanes(self.recipe, self.task.train.batch(), prepared)
        self.lanes = place_lanes(lanes, self.program.mesh)

    def resume(self, checkpoints: Checkpoints) -> None:
        """Takes over what the last checkpoint has."""
        fresh = init_lanes(self.recipe, self.task.train.batch())
        (lanes, self.total), facts = checkpoints.latest((fresh, self.total))
        self.lanes = place_lanes(lanes, self.program.mesh)
        self.first, self.seconds = facts["first"], facts["seconds"]
        self.watch.load(facts["watch"])
        arrays = lambda epoch: {name: np.array(value) for name, value in epoch.items()}
        self.history = [{**arrays(epoch), "step": epoch["step"]} for epoch in facts["history"]]

    def tree(self) -> tuple[Lane, Metrics]:
        """The arrays of a checkpoint."""
        return to_host((self.lanes, self.total))

    def facts(self) -> dict[str, Any]:
        """The rest of a checkpoint."""
        lists = lambda epoch: {name: np.asarray(value).tolist() for name, value in epoch.items()}
        return {
            "first": self.first,
            "seconds": self.seconds + time.perf_counter() - self._started,
            "watch": self.watch.dump(),
            "history": [lists(epoch) for epoch in self.history],
        }

    @property
    def ends_epoch(self) -> bool:
        """Whether the last step was the last of an epoch, or of all."""
        return self.first % self._per_epoch == 0 or self.first == self.recipe.steps

    def advance(self) -> int:
        """Takes some steps, at most to the end of the epoch, and returns their number.

        A call takes some seconds: what comes between calls, such as a signal, is not to wait long.
        """
        end = min((self.first // self._per_epoch + 1) * self._per_epoch, self.recipe.steps)
        last = min(self.first + self._per_call, end)
        begins = self.first % self._per_epoch == 0
        improved = self.watch.improved & begins  # else kept already
        start = time.perf_counter()
        self._take_steps(improved, last)
        in_row = np.asarray(to_host(self.lanes.state.skipped.in_row))
        taken, self.first = last - self.first, last
        seconds = time.perf_counter() - start
        self._per_call = agreed(max(1, round(_CALL_SECONDS * taken / seconds)))
        if (in_row >= MAX_SKIPPED).all():
            raise self._diverged(in_row)
        return taken

    def validate(self, valid: Batch) -> None:
        """Ends an epoch: its metrics, and whether validation has improved."""
        total = {name: np.asarray(value) for name, value in to_host(self.total).items()}
        steps = (self.first - 1) % self._per_epoch + 1
        taken = np.where(total["skipped"] < steps, steps - total["skipped"], np.nan)
        mean = lambda x: (x / taken.astype(np.float32)).astype(np.float64)
        metrics = {name: mean(x) for name, x in total.items() if name != "skipped"}
        metrics["skipped"] = total["skipped"].astype(np.int64)
        self.watch.given_up = np.asarray(to_host(self.lanes.state.skipped.in_row)) >= MAX_SKIPPED
        prediction = self.program.evaluate.predict(self.lanes.state.params, valid)
        scored = self.watch.update(self.first, prediction, self.task.valid.target)
        self.history.append({"step": self.first, **metrics, **scored})

    def finish(self) -> Lane:
        """The lanes, with the last parameters as the best where they are."""
        self._take_steps(self.watch.improved, self.first)
        return to_host(self.lanes)

    def _take_steps(self, improved: np.ndarray, last: int) -> None:
        carried = (self.lanes, improved, self.total)
        for call in self.feed(self.first, last):
            jax.block_until_ready(carried)  # else the host would read far ahead of the device
            carried = self.program.advance(carried, *call)
        self.lanes, _, self.total = carried

    def _diverged(self, in_row):
        recipe, size = self.recipe, self.task.train.size
        step = self.first - int(in_row[0])
        key = self.lanes.state.key[0]
        rows = batch_rows(key, step, size, rows_per_step(recipe, self.task))
        shown = ", ".join(map(str, rows[:_SHOWN_ROWS].tolist()))
        more = ", ..." if len(rows) > _SHOWN_ROWS else ""
        return DivergenceError(
            f"step {step}, seed {recipe.seeds[0]}, training rows {shown}{more}",
            expected="a finite loss and gradient",
            got=f"none in {in_row[0]} steps since, nor in those of any other seed",
            fix="Try a lower learning rate, and look at these rows.",
        )
