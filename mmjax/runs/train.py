"""Trains one strategy and writes a run folder."""

from functools import partial
from pathlib import Path

import jax
from rich.console import Console

from mmjax.comparison.arm import Arm
from mmjax.comparison.cell_search import chosen_cells
from mmjax.comparison.loop import compare_arms
from mmjax.comparison.outcomes import ArmResult, unfailing
from mmjax.comparison.scores import Row
from mmjax.errors import UsageError
from mmjax.report.progress import ComparisonProgress
from mmjax.runs.columns import read_table
from mmjax.runs.command import hide_data_folder, train_command
from mmjax.runs.damage import begin_changes, end_changes
from mmjax.runs.folder import (
    finished_arms,
    make_checkpoints,
    open_folder,
    put_arm,
    remove_what_is_done_with,
)
from mmjax.runs.from_settings import make_arms, make_task
from mmjax.runs.interrupt import held_signals
from mmjax.runs.run_file import RunFile, write_run_file
from mmjax.runs.settings import Settings
from mmjax.storage.locks import locked
from mmjax.storage.manifest import MANIFEST
from mmjax.training import checkpoint
from mmjax.training.fit import Progress
from mmjax.training.mesh import wait_for_all


def train_in(
    out: Path, settings: Settings, strategy: str, console: Console, *, resume: bool = False
) -> list[Row]:
    """Trains one strategy and saves its best parameters in a run folder, for ``load_run``.

    Args:
        out: receives run.json, rows.jsonl, history.jsonl and a checkpoint.
        settings: the task and the training.
        strategy: a key of ``FUSIONS`` or ``MODALITY_only``.
        console: for progress.
        resume: resume the run in the folder.

    Returns:
        flat rows of scores, one per seed and split.

    Raises:
        MmjaxError: a setting, the data or the folder is invalid; nothing has been written.
        DivergenceError: losses or gradients stayed non-finite; the last checkpoint is intact.
        Interrupted: a signal arrived; the run can be resumed.
    """
    if settings.folds:
        problem = "each fold has a model of its own, and a trained run has one model per seed"
        raise UsageError("folds", problem, fix="Leave out folds; `mmjax compare` has them.")
    (arm,) = make_arms(settings, make_task(settings), [strategy])
    if jax.process_index():
        return _train_along(out, arm)
    with locked(out):
        damage = open_folder(out, _asked(settings, strategy), resume)
        if damage or not (out / MANIFEST).exists():
            begin_changes(out, damage, console)
        wait_for_all("the folder is open")
        if strategy in finished_arms(out):
            console.print(f"Already complete: {out}", soft_wrap=True)
            rows = read_table(out, "rows")
        else:
            rows = _train(out, settings, arm, console)
            console.print(f"Checkpoint and rows: {out}", soft_wrap=True)
        end_changes(out, damage, console)
        remove_what_is_done_with(out)
        return rows


def _train(out: Path, settings: Settings, arm: Arm, console: Console) -> list[Row]:
    if read_table(out, "rows"):
        console.print(f"Incomplete, will be rerun: {arm.strategy}", soft_wrap=True)
    with (
        ComparisonProgress([arm], console) as progress,
        held_signals(progress.on_steps) as on_steps,
    ):
        result = _run(out, arm, on_steps)
        progress.on_arm(result.arm, result.rows, result.predictions)
        write_run_file(out, _found(settings, result.arm))
        checkpoint.save(out / "checkpoint", result.trained.params)
        put_arm(out, arm.strategy, {"rows": result.rows, "history": result.history})
    wait_for_all("trained")
    return result.rows


def _run(out: Path, arm: Arm, progress: Progress = lambda steps: None) -> ArmResult:
    kept = partial(make_checkpoints, out)
    (result,) = unfailing(compare_arms([arm], progress=progress, checkpoints=kept))
    return result


def _found(settings: Settings, arm: Arm) -> RunFile:
    """The run with the results of searches, which determine the shapes of its parameters."""
    width = getattr(arm.recipe.model.fusion, "width", None) if arm.trials else None
    cells = chosen_cells(arm.recipe)
    return _asked(settings, arm.strategy)._replace(cells=cells, tuned_width=width)


def _asked(settings: Settings, strategy: str) -> RunFile:
    command = train_command(hide_data_folder(settings), strategy)
    return RunFile(settings, [strategy], command=command)


def _train_along(out: Path, arm: Arm) -> list[Row]:
    """Trains along with the first process, which alone writes."""
    wait_for_all("the folder is open")
    if arm.strategy in finished_arms(out):
        return read_table(out, "rows")
    rows = _run(out, arm).rows
    wait_for_all("trained")
    return rows
