"""Runs the arms of a comparison in this process; a sink receives their outcomes."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from mmjax.comparison.arm import Arm
from mmjax.comparison.loop import Examine, compare_arms
from mmjax.comparison.outcomes import ArmFailure, ArmResult
from mmjax.data.task import Task
from mmjax.errors import FailedArmsError, look_up
from mmjax.report.live_page import write_live_page
from mmjax.report.progress import ComparisonProgress
from mmjax.runs.columns import read_table
from mmjax.runs.damage import begin_changes
from mmjax.runs.folder import arm_folder, finished_arms, make_checkpoints, put_outcome
from mmjax.runs.from_settings import make_arms, make_task
from mmjax.runs.interrupt import held_signals
from mmjax.runs.run_file import read_run_file
from mmjax.storage.locks import locked
from mmjax.training.checkpoint import Checkpoints

Sink = Callable[[ArmResult | ArmFailure], None]
"""Stores the outcome of an arm: in memory (``list.append``) or in a folder (``put_outcome``)."""


def run_arms(
    task: Task,
    arms: Sequence[Arm],
    console: Console,
    *,
    sink: Sink,
    examine: Collection[str],
    checkpoints: Callable[[Arm], Checkpoints | None] = lambda arm: None,
) -> dict[str, str]:
    """Runs arms one after another, and returns {strategy: reason} of those that failed.

    Args:
        task: the data, with all modalities.
        arms: the arms to run.
        console: for progress.
        sink: called with the outcome of each arm as soon as it is known.
        examine: measurements of each arm, from ``EXAMINATIONS``.
        checkpoints: gives the checkpoints that an arm's training saves, and resumes from.
    """

    def prepare() -> Examine:
        from mmjax.analysis.examine import make_examine  # scikit-learn takes a second to import

        return make_examine(task.folds[0].task if task.folds else task, examine, on_steps)

    failed: dict[str, str] = {}
    with (
        ComparisonProgress(arms, console) as progress,
        held_signals(progress.on_steps) as on_steps,
    ):
        for outcome in compare_arms(
            arms, make_examine=prepare, progress=on_steps, checkpoints=checkpoints
        ):
            sink(outcome)
            if isinstance(outcome, ArmFailure):
                failed[outcome.arm.strategy] = outcome.reason
                progress.on_error(outcome.arm, outcome.reason)
            else:
                progress.on_arm(outcome.arm, outcome.rows, outcome.predictions)
        on_steps(0)  # a signal may have arrived after the last prediction
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
    """``run_arms`` into a folder, which also keeps the checkpoints; ``also`` is a second sink.

    Until all of several arms are complete, report.html has the scores so far.
    """
    waiting = [arm.strategy for arm in arms]

    def sink(outcome: ArmResult | ArmFailure) -> None:
        put_outcome(out, outcome)
        also(outcome)
        waiting.remove(outcome.arm.strategy)
        if len(arms) > 1 and (rows := read_table(out, "rows")):
            write_live_page(rows, waiting, out / "report.html")

    kept = partial(make_checkpoints, out)
    return run_arms(task, arms, console, sink=sink, examine=examine, checkpoints=kept)


def run_arm(out: Path, strategy: str, console: Console) -> None:
    """Runs one arm of a comparison in a folder of its own, ``arm_folder``.

    It resumes from the arm's checkpoint, and does nothing if the arm is complete. A second process
    with the same arm waits for the first.

    Args:
        out: folder of the comparison, with its run.json.
        strategy: one of the comparison's strategies.
        console: for progress.

    Raises:
        MmjaxError: there is no such comparison or strategy, or its data are invalid.
        FailedArmsError: the arm failed, as arms.jsonl in its folder says.
        Interrupted: a signal arrived; the arm can be resumed.
    """
    run, own = read_run_file(out), arm_folder(out, strategy)
    look_up("strategy", strategy, dict.fromkeys(run.strategies))
    with locked(own, wait=True):
        begin_changes(own, {}, console)
        if strategy in finished_arms(own):
            console.print(f"Already complete: {own}", soft_wrap=True)
            return
        task = make_task(run.settings)
        arms = make_arms(run.settings, task, [strategy])
        failed = run_arms_in(own, task, arms, console, examine=run.examine)
    if failed:
        raise FailedArmsError(f"{strategy} failed: {failed[strategy]}")
