"""The training loop: rounds on the device, validation after each, model selection per seed.

A round is an epoch, or as many epochs as have ``epochs.MIN_STEPS`` steps.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import chex
import jax
import numpy as np

from mmjax.data.targets import row_nll
from mmjax.data.task import Task
from mmjax.errors import DivergenceError
from mmjax.training.checkpoint import Checkpoints
from mmjax.training.early_stopping import Validation
from mmjax.training.epochs import Lane, batch_rows, steps_per_epoch, steps_per_round
from mmjax.training.feed import place
from mmjax.training.loss_curve import LossCurve
from mmjax.training.mesh import agreed, place_lanes, to_host
from mmjax.training.predict import CHUNK, Chunks, Predict, View
from mmjax.training.program import Program, compile_recipe
from mmjax.training.recipe import Recipe
from mmjax.training.sampling import order_of
from mmjax.training.step import MAX_SKIPPED
from mmjax.types import Array, Batch, FitLoop, Prepared, TrainState

Progress = Callable[[int], None]
"""Called after each round, or part of one, with the number of steps taken."""
OnRound = Callable[[dict[str, Any]], bool]
"""Called after each round with its entry of the history; training ends if it returns true."""

_FIRST_CALL, _CALL_SECONDS = 64, 5.0  # steps of the first call, seconds of later ones
_SHOWN_ROWS = 16


@dataclass(frozen=True, eq=False)
class Fit:
    """What ``fit`` returns.

    Attributes:
        recipe: as given.
        program: the compiled recipe.
        params: the best parameters on validation, [seeds, ...].
        state: the TrainState after the last step, [seeds, ...].
        history: one mapping per round: the step at its end, [seeds] of each metric, averaged over
            the steps that were not skipped, and the number of skipped steps.
        losses: the training loss in between: steps, and [seeds] the mean since the step before.
        best_step: [seeds] the step of the best parameters.
        seconds: wall time of compilation (or loading), training and validation, over all seeds.
    """

    recipe: Recipe
    program: Program
    params: chex.ArrayTree
    state: TrainState
    history: list[dict[str, Any]]
    losses: list[dict[str, Any]]
    best_step: np.ndarray
    seconds: float

    @property
    def diverged(self) -> np.ndarray:
        """[seeds] bool, which seeds diverged: nothing was finite any more."""
        return np.asarray(self.state.skipped.in_row) >= MAX_SKIPPED

    @property
    def start(self) -> chex.ArrayTree:
        """The fresh parameters of the recipe's seeds, [seeds, ...]."""
        return self.program.init(self.recipe, Prepared()).state.params

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
    on_round: OnRound = lambda entry: False,
    checkpoints: Checkpoints | None = None,
) -> Fit:
    """Trains a recipe on a task, all seeds in one program.

    A step whose loss or gradient is not finite is skipped; a seed with ``MAX_SKIPPED`` such steps
    in a row has diverged and is abandoned, without affecting the other seeds.

    Args:
        recipe: what to train, and how.
        task: the data; its test split is not used.
        params: {submodule: parameters [seeds, ...]} to start from instead of fresh ones; the
            method's preliminary runs are skipped.
        program: the recipe compiled for the task, if it is already.
        progress: called after each round or part of one. If it raises KeyboardInterrupt, training
            ends after a last checkpoint.
        on_round: called after each round with its entry of the history; training ends if it
            returns true.
        checkpoints: where training is saved, and resumed from; the results are bit-identical to
            those of an uninterrupted run.

    Raises:
        DivergenceError: all seeds diverged.
        OSError: a checkpoint cannot be written; earlier ones are intact.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import make_model
        >>> task = synthetic(size=200)
        >>> recipe = Recipe(make_model(task, "concat"), steps=20, seeds=(0, 1))
        >>> program = compile_recipe(recipe, task)  # serves any task of the same shapes
        >>> trained = fit(recipe, task, program=program)
        >>> trained.predict(trained.params, task.test.batch()).shape  # [seeds, rows, out_dim]
        (2, 40, 2)
    """
    program = program or compile_recipe(recipe, task)
    start = time.perf_counter()
    valid = task.valid.batch() if program.mesh else place(task.valid, CHUNK)
    run = _Run(recipe, task, program)
    if checkpoints and checkpoints.exist:
        run.resume(checkpoints)
    else:
        run.begin(params, partial(fit, progress=progress))
    ended = False
    while run.first < recipe.steps and not (run.watch.settled or ended):
        taken = run.advance()
        if run.ends_round:
            run.validate(valid)
            ended = on_round(run.history[-1])
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
    curves = run.history, list(run.curve.means())
    return Fit(recipe, program, lanes.best, lanes.state, *curves, run.watch.best_step, seconds)


class _Run:
    """The state of training: lanes on the device, and bookkeeping on the host."""

    def __init__(self, recipe: Recipe, task: Task, program: Program) -> None:
        self.recipe, self.task, self.program = recipe, task, program
        self.feed = program.feed(recipe, task)
        self.watch = Validation(len(recipe.seeds), recipe.patience)
        self.history: list[dict[str, Any]] = []
        self.first = 0  # the next step
        self.total: Mapping[str, Array] = program.zeros
        self.seconds = 0.0  # taken by earlier processes
        self._started = time.perf_counter()
        per_epoch = steps_per_epoch(task.train.size, program.batch_size)
        self._per_round = steps_per_round(per_epoch)
        self.curve = LossCurve(recipe.steps, self._per_round)
        self._per_call = _FIRST_CALL

    def begin(self, params: chex.ArrayTree | None, fit: FitLoop) -> None:
        """Initialises the parameters, or uses those that are given or prepared."""
        prepared = Prepared(params or {})
        if not params:
            prepared = self.recipe.method.prepare(fit, self.recipe, self.task)
        lanes = self.program.init(self.recipe, prepared)
        self.lanes = place_lanes(lanes, self.program.mesh)

    def resume(self, checkpoints: Checkpoints) -> None:
        """Restores the last checkpoint."""
        fresh = self.program.init(self.recipe, Prepared())
        (lanes, self.total), facts = checkpoints.latest((fresh, self.total))
        self.lanes = place_lanes(lanes, self.program.mesh)
        self.first, self.seconds = facts["first"], facts["seconds"]
        self.watch.load(facts["watch"])
        arrays = lambda entry: {name: np.array(value) for name, value in entry.items()}
        self.history = [{**arrays(entry), "step": entry["step"]} for entry in facts["history"]]
        self.curve.sums = [tuple(sums) for sums in facts["losses"]]

    def tree(self) -> tuple[Lane, Mapping[str, Array]]:
        """The arrays of a checkpoint."""
        return to_host((self.lanes, self.total))

    def facts(self) -> dict[str, Any]:
        """The rest of a checkpoint."""
        lists = lambda entry: {name: np.asarray(value).tolist() for name, value in entry.items()}
        return {
            "first": self.first,
            "seconds": self.seconds + time.perf_counter() - self._started,
            "watch": self.watch.dump(),
            "history": [lists(entry) for entry in self.history],
            "losses": [*self.curve.sums],  # it is written while training goes on
        }

    @property
    def ends_round(self) -> bool:
        """Whether the last step was the last of a round or of the run."""
        return self.first % self._per_round == 0 or self.first == self.recipe.steps

    def advance(self) -> int:
        """Takes some steps, at most to the end of the round, and returns their number.

        A call takes a few seconds, so that whatever happens between calls, such as a signal, does
        not wait long.
        """
        end = min((self.first // self._per_round + 1) * self._per_round, self.recipe.steps)
        last = min(self.first + self._per_call, end, self.curve.end(self.first))
        begins = self.first % self._per_round == 0
        improved = self.watch.improved & begins  # otherwise stored already
        start = time.perf_counter()
        self._take_steps(improved, last)
        in_row = np.asarray(to_host(self.lanes.state.skipped.in_row))
        taken, self.first = last - self.first, last
        if self.curve.is_end(self.first):
            self.curve.note(self.first, to_host(self.total))
        seconds = time.perf_counter() - start
        self._per_call = agreed(max(1, round(_CALL_SECONDS * taken / seconds)))
        if (in_row >= MAX_SKIPPED).all():
            raise self._diverged(in_row)
        return taken

    def validate(self, valid: Batch | Chunks) -> None:
        """Ends a round: computes its metrics, and whether validation has improved."""
        total = {name: np.asarray(value) for name, value in to_host(self.total).items()}
        steps = (self.first - 1) % self._per_round + 1
        taken = np.where(total["skipped"] < steps, steps - total["skipped"], np.nan)
        mean = lambda x: (x / taken.astype(np.float32)).astype(np.float64)
        metrics = {name: mean(x) for name, x in total.items() if name != "skipped"}
        metrics["skipped"] = total["skipped"].astype(np.int64)
        self.watch.given_up = np.asarray(to_host(self.lanes.state.skipped.in_row)) >= MAX_SKIPPED
        prediction = self.program.evaluate.predict(self.lanes.state.params, valid)
        metric, target = self.task.metric, self.task.valid.target
        read = [self.task.restore(x) for x in prediction]
        score = np.array([metric.score(x, self.task.restore(target)) for x in read])
        nll = row_nll(prediction, target).mean(axis=1)
        self.watch.update(self.first, metric.sign * score, nll)
        scored = {f"valid_{metric.name}": score, "valid_nll": nll}
        self.history.append({"step": self.first, **metrics, **scored})

    def finish(self) -> Lane:
        """The lanes, with the last parameters stored as the best where they are."""
        self._take_steps(self.watch.improved, self.first)
        return to_host(self.lanes)

    def _take_steps(self, improved: np.ndarray, last: int) -> None:
        carried = (self.lanes, improved, self.total, *self._goes_on())
        for call in self.feed(self.first, last):
            jax.block_until_ready(carried)  # or the host would read far ahead of the device
            carried = self.program.advance(carried, *call)
        self.lanes, _, self.total, *_ = carried

    def _goes_on(self) -> list[np.ndarray]:
        """Which lanes take further steps, [seeds], if recipes are joined that stop one by one."""
        joined = self.recipe.joined
        running = ~self.watch.stopped.reshape(joined, -1).all(axis=1)
        return [np.repeat(running, len(self.recipe.seeds) // joined)] if joined > 1 else []

    def _diverged(self, in_row):
        recipe, target = self.recipe, self.task.train.target
        step, order = self.first - int(in_row[0]), order_of(recipe)
        key = self.lanes.state.key[0]
        rows = batch_rows(key, step, target, self.program.batch_size, order)
        shown = ", ".join(map(str, rows[:_SHOWN_ROWS].tolist()))
        more = ", ..." if len(rows) > _SHOWN_ROWS else ""
        return DivergenceError(
            f"step {step}, seed {recipe.seeds[0]}, training rows {shown}{more}",
            expected="a finite loss and gradient",
            got=f"none in the last {in_row[0]} steps: all seeds diverged",
            fix="Try a lower learning rate, and inspect these rows.",
        )
