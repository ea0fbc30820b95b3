"""The arms of a comparison: trained, examined and written to a folder."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from mmjax.analysis.cost import cost_row
from mmjax.comparison.arm import Arm
from mmjax.comparison.loop import compare_arms
from mmjax.comparison.scores import Scored
from mmjax.data.task import Task
from mmjax.errors import FailedArmsError, look_up
from mmjax.report.progress import ComparisonProgress
from mmjax.runs.columns import put_rows
from mmjax.runs.damage import begin_changes
from mmjax.runs.folder import (
    CHECKPOINTS,
    arm_folder,
    end_arm,
    finished_arms,
    make_checkpoints,
    put_examination,
    put_results,
    write_embedded,
    write_predictions,
)
from mmjax.runs.from_settings import make_arms, make_task
from mmjax.runs.interrupt import held_signals
from mmjax.runs.run_file import read_run_file
from mmjax.storage.locks import locked
from mmjax.training.fit import Fit


def run_arms(out: Path, task: Task, arms: Sequence[Arm], console: Console) -> dict[str, str]:
    """Runs arms one after another in this process, and returns the errors of those that fail."""
    from mmjax.analysis.examine import make_examine

    failed: dict[str, str] = {}
    with (
        ComparisonProgress(arms, console) as progress,
        held_signals(progress.on_steps) as on_steps,
    ):
        examine = make_examine(task, on_steps)

        def on_arm(arm: Arm, trained: Fit, scored: Scored) -> None:
            found = examine(arm, trained)
            put_results(out, arm, trained, [*scored.rows, *found.scores])
            write_predictions(out, arm.strategy, scored.predictions)
            put_examination(out, arm.strategy, found)
            write_embedded(out / CHECKPOINTS / arm.strategy, found.embedded)
            progress.on_arm(arm, scored.rows)

        def on_idle(arm: Arm, trained: Fit) -> None:
            put_rows(out, "cost", arm.strategy, [cost_row(arm, trained)])
            end_arm(out, arm.strategy)

        def on_error(arm: Arm, error: Exception) -> None:
            failed[arm.strategy] = f"{type(error).__name__}: {error}".splitlines()[0]
            end_arm(out, arm.strategy, failed[arm.strategy])
            progress.on_error(arm, failed[arm.strategy])

        compare_arms(
            arms,
            on_arm=on_arm,
            on_idle=on_idle,
            on_error=on_error,
            progress=on_steps,
            checkpoints=lambda arm: make_checkpoints(out, arm),
        )
        on_steps(0)  # a signal may have come after the last prediction
    return failed


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
        failed = run_arms(own, task, make_arms(run.settings, task, [strategy]), console)
    if failed:
        raise FailedArmsError(f"{strategy} failed: {failed[strategy]}")
