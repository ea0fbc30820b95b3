"""The comparison loop: each arm is compiled, trained, scored and examined."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from mmjax.comparison.arm import Arm
from mmjax.comparison.cell_search import is_open, search
from mmjax.comparison.folding import join_folds
from mmjax.comparison.outcomes import ArmFailure, ArmResult, Examination
from mmjax.comparison.scores import history_rows, score
from mmjax.comparison.tuning import apply_trial, tune
from mmjax.data.task import Task
from mmjax.errors import DivergenceError
from mmjax.metrics import goodness
from mmjax.training.checkpoint import Checkpoints
from mmjax.training.fit import Fit, Progress, fit
from mmjax.training.program import compile_recipe
from mmjax.training.recipe import Recipe

Examine = Callable[[Arm, Fit, Callable[[], object]], Examination]
"""``(arm, training, idle) -> Examination``; ``idle()`` returns once nothing compiles."""


def compare_arms(
    arms: Sequence[Arm],
    *,
    make_examine: Callable[[], Examine] = lambda: lambda arm, trained, idle: Examination(),
    progress: Progress = lambda steps: None,
    checkpoints: Callable[[Arm], Checkpoints | None] = lambda arm: None,
) -> Iterator[ArmResult | ArmFailure]:
    """Trains, scores and examines each arm; yields its result. The next one compiles meanwhile.

    Args:
        arms: what to compare, at least one, all on the same rows.
        make_examine: prepares further measurements of trained arms, while the first one compiles.
        progress: called after each epoch, or part of one, with the number of steps that it took.
        checkpoints: where the training state of an arm is saved and resumed from; None for nowhere.

    Example:
        >>> from mmjax.comparison.arm import make_arm
        >>> from mmjax.tasks import load_task
        >>> task = load_task("synthetic", options={"size": "60"})
        >>> arms = [make_arm(task, name, steps=2, seeds=(0, 1)) for name in ("a_only", "sum")]
        >>> for result in compare_arms(arms):
        ...     print(result.arm.strategy, result.predictions["test"].shape[0], "seeds")
        a_only 2 seeds
        sum 2 seeds
    """
    each = [part for arm in arms for part in arm.parts or (arm,)]
    examined = _compare_each(each, make_examine, progress, checkpoints)
    yield from join_folds(arms, examined)


def _compare_each(
    arms: Sequence[Arm],
    make_examine: Callable[[], Examine],
    progress: Progress,
    checkpoints: Callable[[Arm], Checkpoints | None],
) -> Iterator[ArmResult | ArmFailure]:
    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = _start(arms[0], pool, progress)
        examine = make_examine()
        for following in [*arms[1:], None]:
            arm, compiling = ahead
            wait([compiling])
            if following:
                ahead = _start(following, pool, progress)
            idle = partial(wait, [ahead.compiling])
            try:
                program, kept = compiling.result(), checkpoints(arm)
                trained = fit(
                    arm.recipe, arm.task, program=program, progress=progress, checkpoints=kept
                )
                scored, found = score(arm, trained), examine(arm, trained, idle)
            except Exception as error:
                yield ArmFailure(arm, error)
                continue
            rows = [*scored.rows, *found.scores]
            history = history_rows(arm, trained)
            measured = (scored.predictions, found.tables, found.embedded)
            yield ArmResult(arm, trained, rows, *measured, history)


class _Started(NamedTuple):
    arm: Arm
    compiling: Future


def _start(arm: Arm, pool: ThreadPoolExecutor, progress: Progress) -> _Started:
    """Settles an arm and starts to compile it; the future's result raises any error."""
    try:
        arm = settle(arm, progress)
        return _Started(arm, pool.submit(compile_recipe, arm.recipe, arm.task))
    except Exception as error:
        failed: Future = Future()
        failed.set_exception(error)
        return _Started(arm, failed)


def settle(arm: Arm, progress: Progress = lambda steps: None) -> Arm:
    """The arm after the search for its cells and hyperparameters, if it asks for one."""
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
        outcomes = compare_arms(proxies, progress=progress)
        return [_valid_score(outcome) for outcome in outcomes]

    return search(arm.recipe, arm.task, judge, progress)


def _valid_score(outcome: ArmResult | ArmFailure) -> float:
    """How good it is on validation, mean over seeds; -inf for an arm that diverged."""
    if isinstance(outcome, ArmFailure):
        if isinstance(outcome.error, DivergenceError):
            return -math.inf
        raise outcome.error
    scores = [goodness(row) for row in outcome.rows if row["split"] == "valid"]
    return float(np.mean(scores))
