"""The main job: many fusions and every unimodal baseline, trained and scored on one task."""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mmjax.comparison.arm import Arm, make_arm
from mmjax.comparison.cell_search import is_open, search
from mmjax.comparison.scores import Row, Scored, labels, score
from mmjax.comparison.tuning import apply_trial, tune
from mmjax.data.targets import find_score
from mmjax.data.task import Task
from mmjax.errors import DivergenceError
from mmjax.training.checkpoint import Checkpoints
from mmjax.training.fit import Fit, Progress, fit
from mmjax.training.program import Program, compile_recipe
from mmjax.training.recipe import Recipe


class Comparison(NamedTuple):
    """What came of all arms.

    Attributes:
        rows: flat rows of scores.
        predictions: {strategy: {"seeds": [seeds], "valid" and "test": [seeds, rows, out_dim]}}.
        labels: {"valid_target", "valid_group", "test_target", "test_group": [rows]}.
    """

    rows: list[Row]
    predictions: dict[str, dict[str, np.ndarray]]
    labels: dict[str, np.ndarray]


def compare_arms(
    arms: Sequence[Arm],
    *,
    on_arm: Callable[[Arm, Fit, Scored], None] = lambda arm, trained, scored: None,
    on_idle: Callable[[Arm, Fit], None] = lambda arm, trained: None,
    on_error: Callable[[Arm, Exception], None] | None = None,
    progress: Progress = lambda steps: None,
    checkpoints: Callable[[Arm], Checkpoints | None] = lambda arm: None,
) -> Comparison:
    """Trains every arm and scores it on validation and test.

    Args:
        arms: what to compare, at least one, on the same rows.
        on_arm: called with each arm, its training and its answers once they are known.
        on_idle: called next, when no other arm compiles beside it: for what is timed.
        on_error: called with an arm that fails, and why; the others go on. Without it they do not.
        progress: called after each epoch, or part of one, with the number of steps that it took.
        checkpoints: where the training of an arm is kept, and goes on from.
    """
    rows, predictions = [], {}
    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = _start(arms[0], pool, progress)
        for following in [*arms[1:], None]:
            arm, compiling = ahead
            wait([compiling])
            if following:
                ahead = _start(following, pool, progress)  # compiles while this one trains
            try:
                program, kept = compiling.result(), checkpoints(arm)
                trained = fit(
                    arm.recipe, arm.task, program=program, progress=progress, checkpoints=kept
                )
                scored = score(arm, trained)
                on_arm(arm, trained, scored)
                wait([ahead.compiling])
                on_idle(arm, trained)
            except Exception as error:
                if on_error is None:
                    raise
                on_error(arm, error)
                continue
            rows += scored.rows
            predictions[arm.strategy] = scored.predictions
    return Comparison(rows, predictions, labels(arms[0].task))


class _Started(NamedTuple):
    arm: Arm
    compiling: Future


def _start(arm: Arm, pool: ThreadPoolExecutor, progress: Progress) -> _Started:
    """Settles an arm and begins to compile it; what fails is raised by the future's result."""
    try:
        arm = settle(arm, progress)
        return _Started(arm, pool.submit(compile_recipe, arm.recipe, arm.task))
    except Exception as error:
        failed = Future()
        failed.set_exception(error)
        return _Started(arm, failed)


def settle(arm: Arm, progress: Progress = lambda steps: None) -> Arm:
    """The arm with its cells and its hyperparameters found, if they are to be searched."""
    start = time.perf_counter()
    if is_open(arm.recipe):
        arm = replace(arm, recipe=_find_cells(arm, progress))
    if arm.trials:
        best, _ = tune(arm.recipe, arm.task, arm.trials, progress)
        arm = replace(arm, recipe=apply_trial(arm.recipe, best))
    return replace(arm, search_seconds=time.perf_counter() - start)


def _find_cells(arm: Arm, progress: Progress) -> Recipe:
    def judge(recipes: Sequence[Recipe], task: Task) -> list[float]:
        proxies = [Arm(str(index), recipe, task) for index, recipe in enumerate(recipes)]
        rows = compare_arms(proxies, on_error=_pass_over_divergence, progress=progress).rows
        scores = {row["strategy"]: row[find_score(row)] for row in rows if row["split"] == "valid"}
        return [scores.get(proxy.strategy, -math.inf) for proxy in proxies]

    return search(arm.recipe, arm.task, judge, progress)


def _pass_over_divergence(arm: Arm, error: Exception) -> None:
    if not isinstance(error, DivergenceError):
        raise error


def make_encoded_arms(
    tasks: Sequence[Task], strategy: str, seeds: Sequence[int], **recipe
) -> list[Arm]:
    """A strategy on encoded tasks: an arm for each seed, because each has its own encodings."""
    raw = dict.fromkeys(tasks[0].modalities, "raw")
    return [
        make_arm(task, strategy, raw, seeds=(seed,), **recipe)
        for task, seed in zip(tasks, seeds, strict=True)
    ]


def fit_each(
    arms: Sequence[Arm], program: Program | None = None, progress: Progress = lambda steps: None
) -> tuple[list[tuple[Arm, Fit]], Program]:
    """Trains arms that differ in seeds and data but not in shapes, with one program.

    Args:
        arms: such as ``make_encoded_arms`` makes; cells are searched with the first.
        program: what an earlier call returned for the same shapes.
        progress: called after each epoch with the number of steps that it took.

    Returns:
        each arm with its training, the first of which bears what search and compilation took; and
        the program.
    """
    first = settle(arms[0], progress)
    if program is None or is_open(arms[0].recipe):
        program = compile_recipe(first.recipe, first.task)
    done = []
    for arm in arms:
        arm = replace(first, recipe=replace(first.recipe, seeds=arm.recipe.seeds), task=arm.task)
        done.append((arm, fit(arm.recipe, arm.task, program=program, progress=progress)))
        first, program = replace(first, search_seconds=0.0), program._replace(seconds=0.0)
    return done, program
