"""Trains several trials as one program."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from mmjax.comparison.arm import Arm
from mmjax.comparison.tuning import best_scores
from mmjax.runs.search.params import without_numbers
from mmjax.runs.search.shared_study import SharedStudy
from mmjax.training.fit import Progress, fit
from mmjax.training.program import rows_per_step
from mmjax.training.recipe import join_lanes

if TYPE_CHECKING:
    from optuna import Trial


def make_batches(trials: "Sequence[Trial]") -> "list[list[Trial]]":
    """Groups trials that differ only in ``NUMBERS``."""
    key = lambda trial: repr(sorted(without_numbers(trial.params).items()))
    return [list(alike) for _, alike in groupby(sorted(trials, key=key), key)]


def train_batch(
    study: SharedStudy,
    trials: "Sequence[Trial]",
    make_arm: "Callable[[Trial], Arm]",
    progress: Progress,
    on_trial: "Callable[[Trial], None]",
) -> None:
    """Trains trials in parallel, a lane for each, and reports their results to the study.

    Training stops once all are pruned. An error fails all trials that are still running.

    Args:
        study: the study that they belong to.
        trials: a group of ``make_batches``.
        make_arm: builds the arm of a trial, with one seed; the test split is not used.
        progress: called after each round with its number of steps.
        on_trial: called with each trial that has ended.
    """
    running = dict(enumerate(trials))
    best = np.full(len(trials), -np.inf)

    def on_round(entry: dict[str, Any]) -> bool:
        np.fmax(best, metric.sign * entry[f"valid_{metric.name}"], out=best)
        last = entry["step"] == recipe.steps
        rows = entry["step"] * rows_per_step(recipe, arms[0].task)
        # The best first: pruning compares a trial with those that reported before it.
        for lane in sorted(running, key=lambda lane: -best[lane]):
            if not study.report(running[lane], float(best[lane]), rows, last=last):
                on_trial(running.pop(lane))
        return not running

    try:
        arms = [make_arm(trial) for trial in trials]
        recipe, metric = join_lanes([arm.recipe for arm in arms]), arms[0].task.metric
        trained = fit(recipe, arms[0].task, progress=progress, on_round=on_round)
    except study.broken:  # not an error of the trials
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        for trial in running.values():
            study.fail(trial, reason)
            on_trial(trial)
        return
    scores = best_scores(trained, metric)
    for lane, trial in running.items():
        if step := int(trained.best_step[lane]):
            score, minus_nll = scores[lane]
            study.complete(trial, score, nll=-minus_nll, best_step=step)
        else:
            study.fail(trial, "no validation score was finite")
        on_trial(trial)
