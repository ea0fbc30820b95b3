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
from mmjax.comparison.joining import group_arms, join_arms, train_together
from mmjax.comparison.outcomes import ArmFailure, ArmResult, Examination
from mmjax.comparison.scores import history_rows, score
from mmjax.comparison.tuning import apply_trial, tune
from mmjax.data.task import Task
from mmjax.errors import DivergenceError
from mmjax.metrics import goodness
from mmjax.training.checkpoint import Checkpoints
from mmjax.training.fit import Fit, Progress, fit
from mmjax.training.program import Program, compile_recipe
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

    Arms that differ in numbers alone train together; see ``joining.group_arms``.

    Args:
        arms: what to compare, at least one, all on the same rows.
        make_examine: prepares further measurements of trained arms, while the first one compiles.
        progress: called after each epoch, or part of one, with the number of steps that it took.
        checkpoints: where the training state of an arm, or of the arm that trains several, is saved
            and resumed from; None for nowhere.

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
    groups, turn = group_arms(arms), 0
    waiting: dict[int, _Turn] = {}  # by place: those of a group are ready at once
    with ThreadPoolExecutor(max_workers=1) as pool:
        start = lambda places: _start([arms[place] for place in places], pool, progress)
        ahead = start(groups[0])
        examine = make_examine()
        for places, following in zip(groups, [*groups[1:], None], strict=True):
            started = ahead
            wait([started.compiling])
            if following:
                ahead = start(following)
            idle = partial(wait, [ahead.compiling])
            waiting |= zip(places, _train(started, progress, checkpoints), strict=True)
            while turn in waiting:
                arm, make_fit = waiting.pop(turn)
                turn += 1
                try:
                    trained = make_fit()
                    scored, found = score(arm, trained), examine(arm, trained, idle)
                except Exception as error:
                    yield ArmFailure(arm, error)
                    continue
                rows = [*scored.rows, *found.scores]
                history = history_rows(arm, trained)
                measured = (scored.predictions, found.tables, found.embedded)
                yield ArmResult(arm, trained, rows, *measured, history)


class _Started(NamedTuple):
    arms: Sequence[Arm]  # which train together
    compiling: Future


class _Turn(NamedTuple):
    arm: Arm
    make_fit: Callable[[], Fit]  # returns its training, or raises its error


def _start(arms: Sequence[Arm], pool: ThreadPoolExecutor, progress: Progress) -> _Started:
    """Settles arms and starts to compile them; the future's result raises any error."""
    try:
        arms = [settle(arm, progress) for arm in arms]
        joint = join_arms(arms)
        return _Started(arms, pool.submit(compile_recipe, joint.recipe, joint.task))
    except Exception as error:
        failed: Future = Future()
        failed.set_exception(error)
        return _Started(arms, failed)


def _train(
    started: _Started, progress: Progress, checkpoints: Callable[[Arm], Checkpoints | None]
) -> list[_Turn]:
    """Trains arms that train together, now; an arm by itself trains when its turn comes."""
    arms, compiling = started

    def alone(arm: Arm, program: Callable[[], Program | None] = lambda: None) -> Fit:
        compiled, kept = program(), checkpoints(arm)
        return fit(arm.recipe, arm.task, program=compiled, progress=progress, checkpoints=kept)

    if len(arms) == 1:
        return [_Turn(arms[0], partial(alone, arms[0], compiling.result))]
    fits = train_together(arms, compiling.result, progress, checkpoints)
    done = lambda own: lambda: own
    return [
        _Turn(arm, partial(alone, arm) if own is None else done(own))
        for arm, own in zip(arms, fits, strict=True)
    ]


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
