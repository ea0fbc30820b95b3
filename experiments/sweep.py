"""What the sweeps over the whole zoo share: rows that are appended, and the two-stage protocol."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from mmjax.analysis.summary import summarise
from mmjax.comparison.arm import Arm, default_objective, make_arm
from mmjax.comparison.encoded_arms import fit_each, make_encoded_arms
from mmjax.comparison.encodings import encode
from mmjax.comparison.loop import compare_arms
from mmjax.comparison.outcomes import unfailing
from mmjax.comparison.scores import Row, score
from mmjax.data.task import Task
from mmjax.fusion import FUSIONS
from mmjax.report.progress import ComparisonProgress, time_left
from mmjax.report.score_table import format_score
from mmjax.storage.jsonl import append_rows, read_rows
from mmjax.training.fit import Fit
from mmjax.training.program import Program

PLAIN = tuple(
    f"{name}:cross_entropy" for name in FUSIONS if default_objective(name) != "cross_entropy"
)
"""Fusions that bring a loss of their own, trained with the cross-entropy instead."""


class Sweep:
    """A file of rows that grows arm by arm; what it has is not trained again.

    Args:
        path: rows.jsonl, made if it is not there.
        console: where progress goes.
    """

    def __init__(self, path: Path, console: Console) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self.path, self.console = path, console
        self._programs: dict[str, Program] = {}

    @property
    def rows(self) -> list[Row]:
        """All rows so far."""
        return read_rows(self.path)

    def missing(self, task: str, strategies: Sequence[str]) -> list[str]:
        """Those of the strategies that have no rows for the task of that name."""
        done = {(row["task"], row["strategy"]) for row in self.rows}
        return [name for name in strategies if (task, name) not in done]

    def compare(self, arms: Sequence[Arm]) -> list[tuple[Arm, Fit]]:
        """Trains arms end to end, all seeds of an arm in one program."""
        trained = []
        with ComparisonProgress(arms, self.console) as progress:
            for result in unfailing(compare_arms(arms, progress=progress.on_steps)):
                trained.append((result.arm, result.trained))
                self._append(result.rows)
                progress.on_arm(result.arm, result.rows, result.predictions)
        return trained

    def compare_encoded(
        self, task: Task, strategies: Sequence[str], seeds: Sequence[int], **recipe: Any
    ) -> None:
        """Trains unimodal models, then each strategy on the cached encodings of their encoders."""
        missing = self.missing(f"{task.name}/encoded", strategies)
        if not missing:
            return
        alone = [f"{name}_only" for name in task.modalities]
        arms = [make_arm(task, name, seeds=tuple(seeds), **recipe) for name in alone]
        fits = dict(zip(task.modalities, (fit for _, fit in self.compare(arms)), strict=True))
        tasks = encode(task, fits)
        start = time.monotonic()
        for index, name in enumerate(missing):
            trained = self._fit_each(make_encoded_arms(tasks, name, seeds, **recipe))
            rows = [row for arm, fit in trained for row in score(arm, fit).rows]
            seconds = sum({row["seed"]: row["seconds"] for row in rows}.values())
            self._append([{**row, "seconds": round(seconds, 3)} for row in rows])
            self._show(rows, seconds, (index + 1, len(missing)), start)

    def compare_each(
        self, tasks: Sequence[Task], names: Sequence[str], make: Callable[[Task, str], Arm]
    ) -> None:
        """Trains what is missing on tasks of the same shapes, with one program for each name.

        Args:
            tasks: the data.
            names: of the arms.
            make: the arm of a task and a name.
        """
        todo = [n for n in names if any(self.missing(task.name, [n]) for task in tasks)]
        start = time.monotonic()
        for done, name in enumerate(todo, start=1):
            shown = []
            for arm, fit in self._fit_each([make(task, name) for task in tasks]):
                rows = score(arm, fit).rows
                self._append(rows)
                (summary,) = summarise(rows)
                label = arm.task.name.rpartition("/")[2]
                shown.append(f"{label} {100 * summary.score.mean():.1f}")
            left = time_left(start, done, len(todo))
            self.console.print(f"{name:<34}{', '.join(shown)}   {left} left", soft_wrap=True)

    def _fit_each(self, arms: Sequence[Arm]) -> list[tuple[Arm, Fit]]:
        """Keeps the program for other tasks of the same shapes; seeds are no part of it."""
        key = repr(replace(arms[0].recipe, seeds=(0,)))
        trained, self._programs[key] = fit_each(arms, self._programs.get(key))
        return trained

    def _append(self, rows: Sequence[Row]) -> None:
        done = {(row["task"], row["strategy"]) for row in self.rows}
        append_rows(self.path, [r for r in rows if (r["task"], r["strategy"]) not in done])

    def _show(self, rows: list[Row], seconds: float, done: tuple[int, int], start: float) -> None:
        (summary,) = summarise(rows)
        self.console.print(
            f"{summary.strategy:<22}{format_score(summary):>18}{seconds:8.1f} s"
            f"   {done[0]} of {done[1]}, {time_left(start, *done)} left",
            highlight=False,
            soft_wrap=True,
        )
