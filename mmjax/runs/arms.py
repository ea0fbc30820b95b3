"""The arms of a comparison, run in this process; what comes of each goes to a sink."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from mmjax.comparison.arm import Arm
from mmjax.comparison.loop import compare_arms
from mmjax.comparison.outcomes import ArmFailure, ArmResult
from mmjax.data.task import Task
from mmjax.errors import FailedArmsError, look_up
from mmjax.report.progress import ComparisonProgress
from mmjax.runs.damage import begin_changes
from mmjax.runs.folder import arm_folder, finished_arms, make_checkpoints, put_outcome
from mmjax.runs.from_settings import make_arms, make_task
from mmjax.runs.interrupt import held_signals
from mmjax.runs.run_file import read_run_file
from mmjax.storage.locks import locked
from mmjax.training.checkpoint import Checkpoints

Sink = Callable[[ArmResult | ArmFailure], None]
"""Keeps what came of an arm: in memory (``list.append``), or in a folder (``put_outcome``)."""


def run_arms(
    task: Task,
    arms: Sequence[Arm],
    console: Console,
    *,
    sink: Sink,
    examine: Collection[str],
    checkpoints: Callable[[Arm], Checkpoints | None] = lambda arm: None,
) -> dict[str, str]:
    """Runs arms one after another, and returns {strategy: why} of those that fail.

    Args:
        task: the data, with all modalities.
        arms: what to run.
        console: where progress goes.
        sink: gets what came of each arm as soon as it is known.
        examine: what is measured of each arm, of ``EXAMINATIONS``.
        checkpoints: where the training of an arm is kept, and goes on from.
    """
    from mmjax.analysis.examine import make_examine  # its scikit-learn takes a second

    failed: dict[str, str] = {}
    with (
        ComparisonProgress(arms, console) as progress,
        held_signals(progress.on_steps) as on_steps,
    ):
        examination = make_examine(task, examine, on_steps)
        for outcome in compare_arms(
            arms, examine=examination, progress=on_steps, checkpoints=checkpoints
        ):
            sink(outcome)
            if isinstance(outcome, ArmFailure):
                failed[outcome.arm.strategy] = outcome.reason
                progress.on_error(outcome.arm, outcome.reason)
            else:
                progress.on_arm(outcome.arm, outcome.rows)
        on_steps(0)  # a signal may have come after the last prediction
    return failed


def run_arms_in(
    out: Path,
    task: Task,
    arms: Sequence[Arm],
    console: Console,
    *,
    examine: Collection[str],
    also: Sink = lambda outcome: None,
) -> dict[str, str]:
    """``run_arms`` with a folder as its sink, and one more."""

    def sink(outcome: ArmResult | ArmFailure) -> None:
        put_outcome(out, outcome)
        also(outcome)

    kept = partial(make_checkpoints, out)
    return run_arms(task, arms, console, sink=sink, examine=examine, checkpoints=kept)


def run_arm(out: Path, strategy: str, console: Console) -> None:
    """Runs one arm of the comparison in a folder, in a folder of its own below.

    It goes on where a process before it was stopped, and does nothing if the arm is done. Two
    processes with the same arm take turns.

    Args:
        out: folder of the comparison, which holds its settings.
        strategy: one of the comparison's.
        console: where progress goes.

    Raises:
        MmjaxError: there is no such comparison or strategy, or its data are not usable.
        FailedArmsError: the arm has failed, which its arms.jsonl says.
        Interrupted: a signal has come; what has been done is there to be gone on with.
    """
    run, own = read_run_file(out), arm_folder(out, strategy)
    look_up("strategy", strategy, dict.fromkeys(run.strategies))
    with locked(own, wait=True):
        begin_changes(own, {}, console)
        if strategy in finished_arms(own):
            console.print(f"Done already: {own}", soft_wrap=True)
            return
        task = make_task(run.settings)
        arms = make_arms(run.settings, task, [strategy])
        failed = run_arms_in(own, task, arms, console, examine=run.examine)
    if failed:
        raise FailedArmsError(f"{strategy} failed: {failed[strategy]}")
