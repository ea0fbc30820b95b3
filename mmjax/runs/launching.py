"""Comparisons whose arms run as separate commands, on this machine or on a cluster."""

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from rich.console import Console

from mmjax.comparison.arm import Arm
from mmjax.data.task import Task
from mmjax.errors import printable
from mmjax.report.progress import ComparisonProgress
from mmjax.runs.arms import run_arms_in
from mmjax.runs.columns import read_table
from mmjax.runs.folder import arm_folder, end_arm, finished_arms, read_predictions
from mmjax.runs.interrupt import held_signals
from mmjax.runs.launchers import open_launcher
from mmjax.runs.launchers.jobs import TRIES, Job, Start, is_lost, run_all
from mmjax.runs.settings import Launch


class RunArms(Protocol):
    """Runs arms, and writes their results to the folder or to ``arm_folder`` below it."""

    def __call__(
        self,
        out: Path,
        task: Task,
        arms: Sequence[Arm],
        console: Console,
        *,
        examine: Collection[str],
    ) -> dict[str, str]:
        """Returns {strategy: reason} of the arms that failed."""


@contextmanager
def open_runner(launch: Launch) -> Iterator[RunArms]:
    """Context manager that yields ``run_arms_in``, or ``launch_arms`` if there is a launcher.

    Raises:
        UsageError: the launcher is not installed, or rejects the request.
    """
    if launch.launcher is None:
        yield run_arms_in
        return
    with open_launcher(launch) as start:
        yield partial(launch_arms, start, launch.workers)


def launch_arms(
    start: Start,
    workers: int,
    out: Path,
    task: Task,
    arms: Sequence[Arm],
    console: Console,
    *,
    examine: Collection[str],
) -> dict[str, str]:
    """Runs each arm as ``mmjax arm``, and returns {strategy: reason} of those that failed.

    The commands read the task and the examinations from run.json. An arm writes its results to
    ``arm_folder``, and its output to log.txt there.
    """
    by_name, started, failed = {arm.strategy: arm for arm in arms}, set(), {}
    with (
        ComparisonProgress(arms, console) as progress,
        held_signals(progress.on_steps) as on_steps,
    ):

        def start_arm(strategy: str) -> Job:
            own = arm_folder(out, strategy).absolute()
            own.mkdir(parents=True, exist_ok=True)
            if strategy in started:
                progress.note(strategy, "restarted: its worker was lost")
            started.add(strategy)
            # Without -P, files in the current folder would shadow modules.
            command = [sys.executable, "-P", "-m", "mmjax", "arm", str(out.absolute()), strategy]
            return start(command, own / "log.txt")

        def on_end(strategy: str, code: int) -> None:
            own = arm_folder(out, strategy)
            if strategy in finished_arms(own):
                results = read_table(own, "rows"), read_predictions(own, strategy)
                progress.on_arm(by_name[strategy], *results)
                return
            failed[strategy] = _error(own, code)
            end_arm(out, strategy, failed[strategy])
            progress.on_error(by_name[strategy], failed[strategy])

        run_all(list(by_name), start_arm, workers=workers, on_end=on_end, heed=lambda: on_steps(0))
    return failed


def _error(own: Path, code: int) -> str:
    """Why an arm did not complete."""
    if noted := read_table(own, "arms"):
        return noted[-1]["error"]
    ended = f"{TRIES} workers were lost, the last" if is_lost(code) else "its worker ended"
    return f"{ended} with exit code {code}: {_last_line(own / 'log.txt')}; see {own / 'log.txt'}"


def _last_line(log: Path) -> str:
    """The last line of output, usually the error of a traceback."""
    said = log.read_bytes()[-4096:] if log.exists() else b""
    lines = said.decode(errors="replace").splitlines()
    return printable(next((line.strip() for line in reversed(lines) if line.strip()), "no output"))
