"""Arms that train on cached encodings, one task per seed, with one compiled program."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mmjax.comparison.arm import Arm, make_arm
from mmjax.comparison.cell_search import is_open
from mmjax.comparison.loop import settle
from mmjax.data.task import Task
from mmjax.training.fit import Fit, Progress, fit
from mmjax.training.program import Program, compile_recipe


def make_encoded_arms(
    tasks: Sequence[Task], strategy: str, seeds: Sequence[int], **recipe: Any
) -> list[Arm]:
    """A strategy on encoded tasks: one arm per seed, because each seed has its own encodings."""
    raw = dict.fromkeys(tasks[0].modalities, "raw")
    return [
        make_arm(task, strategy, raw, seeds=(seed,), **recipe)
        for task, seed in zip(tasks, seeds, strict=True)
    ]


def fit_each(
    arms: Sequence[Arm], program: Program | None = None, progress: Progress = lambda steps: None
) -> tuple[list[tuple[Arm, Fit]], Program]:
    """Trains arms that differ in seeds and data but not in shapes, with one compiled program.

    Args:
        arms: as from ``make_encoded_arms``; a search for cells uses the first.
        program: the program that an earlier call returned for the same shapes.
        progress: called after each epoch with the number of steps that it took.

    Returns:
        each arm with its training, and the program. The time of search and compilation is counted
        in the first training.
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
