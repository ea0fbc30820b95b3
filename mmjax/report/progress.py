"""Progress of a running comparison."""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mmjax.analysis.answers import estimate_arm
from mmjax.analysis.summary import Rows, summarise
from mmjax.comparison.arm import Arm


class ComparisonProgress:
    """A live bar with the remaining time, and a line for each completed arm.

    The remaining time is the mean time per train step so far, times the steps to come. If the
    output is not a terminal, there is no bar and the lines carry the remaining time.
    """

    def __init__(self, arms: Sequence[Arm], console: Console) -> None:
        self._to_come = {arm.strategy: arm.planned_steps for arm in arms}
        self._arms, self._planned = len(arms), sum(self._to_come.values())
        self._width = max(20, *(len(arm.strategy) + 1 for arm in arms))
        self._ahead = 0  # steps of arms that are not complete
        self._has_head = False
        self._start = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(arms[0].strategy, total=self._planned, left="")

    def __enter__(self) -> "ComparisonProgress":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def on_steps(self, steps: int) -> None:
        """Call after each round of training."""
        self._ahead += steps
        self._show()

    def on_arm(self, arm: Arm, rows: Rows, predictions: Mapping[str, np.ndarray]) -> None:
        """Call when an arm is complete, with its scores and predictions."""
        self._end(arm)
        (summary,) = summarise(rows)
        if not self._has_head:
            head = f"{summary.metric.label} [95 % interval]"
            self._print("strategy", head, "seconds", "")
            self._has_head = True
        found = estimate_arm(arm.task, rows, predictions)
        ends = found and " [{}, {}]".format(*map(summary.metric.format, found[2:]))
        score = summary.metric.show(summary.score.mean()) + (ends or "")
        done = f"{self._arms - len(self._to_come)} of {self._arms}, {self._left()} left"
        self._print(arm.strategy, score, f"{summary.seconds:.1f}", done)
        self._show()

    def _print(self, strategy: str, score: str, seconds: str, done: str) -> None:
        self.note(strategy, f"{score:>28}{seconds:>9}   {done}")

    def note(self, strategy: str, text: str) -> None:
        """Prints a line about an arm."""
        self._bar.console.print(f"{strategy:<{self._width}}{text}", soft_wrap=True)

    def on_error(self, arm: Arm, error: str) -> None:
        """Call when an arm has failed."""
        self._end(arm)
        self.note(arm.strategy, f"failed: {error}")
        self._show()

    def _end(self, arm: Arm) -> None:
        planned = self._to_come.pop(arm.strategy, 0)  # a complete arm may still fail when timed
        self._ahead = max(0, self._ahead - planned)  # the rest is of arms that train along with it

    def _steps(self) -> int:
        return self._planned - sum(self._to_come.values()) + self._ahead

    def _left(self) -> str:
        return time_left(self._start, self._steps(), self._planned)

    def _show(self) -> None:
        name = next(iter(self._to_come), "")
        left = f"{self._left()} left"
        self._bar.update(self._task, completed=self._steps(), description=name, left=left)


def time_left(start: float, done: int, total: int) -> str:
    """The remaining time as H:MM:SS, if all pieces take equally long.

    Args:
        start: ``time.monotonic()`` at the start.
        done: number of pieces so far.
        total: number of all pieces.

    Example:
        >>> time_left(time.monotonic() - 60, done=1, total=3)
        '0:02:00'
    """
    seconds = (time.monotonic() - start) / max(done, 1) * (total - done)
    return str(timedelta(seconds=round(seconds)))
