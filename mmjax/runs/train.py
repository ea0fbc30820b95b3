"""Training of one strategy in a folder."""

from pathlib import Path

import jax
from rich.console import Console

from mmjax.comparison.arm import Arm
from mmjax.comparison.cell_search import chosen_cells
from mmjax.comparison.loop import settle
from mmjax.comparison.scores import Row, score
from mmjax.report.progress import ComparisonProgress
from mmjax.runs.columns import read_table
from mmjax.runs.damage import begin_changes, end_changes
from mmjax.runs.folder import (
    end_arm,
    finished_arms,
    make_checkpoints,
    open_folder,
    put_results,
    remove_what_is_done_with,
)
from mmjax.runs.from_settings import make_arms, make_task
from mmjax.runs.interrupt import held_signals
from mmjax.runs.run_file import RunFile, write_run_file
from mmjax.runs.settings import Settings
from mmjax.storage.locks import locked
from mmjax.storage.manifest import MANIFEST
from mmjax.training import checkpoint
from mmjax.training.fit import fit
from mmjax.training.mesh import wait_for_all


def train_in(
    out: Path, settings: Settings, strategy: str, console: Console, *, resume: bool = False
) -> list[Row]:
    """Trains one strategy and keeps its best parameters in a folder.

    Args:
        out: gets run.json, rows.jsonl, history.jsonl and a checkpoint.
        settings: the task and the training.
        strategy: a key of ``FUSIONS`` or ``MODALITY_only``.
        console: where progress goes.
        resume: go on with the run that the folder holds.

    Raises:
        MmjaxError: a setting, the data or the folder is not usable; nothing has been written.
        DivergenceError: nothing is finite any more; the last checkpoint is intact.
        Interrupted: a signal has come; what has been done is there to be gone on with.
    """
    (arm,) = make_arms(settings, make_task(settings), [strategy])
    if jax.process_index():
        return _train_along(out, arm)
    with locked(out):
        damage = open_folder(out, settings, [strategy], resume)
        if damage or not (out / MANIFEST).exists():
            begin_changes(out, damage, console)
        wait_for_all("the folder is open")
        if strategy in finished_arms(out):
            console.print(f"Trained already: {out}", soft_wrap=True)
            rows = read_table(out, "rows")
        else:
            rows = _train(out, settings, arm, console)
            console.print(f"Checkpoint and rows: {out}", soft_wrap=True)
        end_changes(out, damage, console)
        remove_what_is_done_with(out)
        return rows


def _train(out: Path, settings: Settings, arm: Arm, console: Console) -> list[Row]:
    if read_table(out, "rows"):
        console.print(f"Not all is there of {arm.strategy}: it is trained again", soft_wrap=True)
    with (
        ComparisonProgress([arm], console) as progress,
        held_signals(progress.on_steps) as on_steps,
    ):
        arm = settle(arm, on_steps)
        write_run_file(out, _found(settings, arm))
        kept = make_checkpoints(out, arm)
        trained = fit(arm.recipe, arm.task, progress=on_steps, checkpoints=kept)
        rows = score(arm, trained).rows
        progress.on_arm(arm, rows)
        checkpoint.save(out / "checkpoint", trained.params)
        put_results(out, arm, trained, rows)
        end_arm(out, arm.strategy)
    wait_for_all("trained")
    return rows


def _found(settings: Settings, arm: Arm) -> RunFile:
    """The run, with what searches have found: without it nothing can be made of its parameters."""
    width = getattr(arm.recipe.model.fusion, "width", None) if arm.trials else None
    return RunFile(settings, [arm.strategy], chosen_cells(arm.recipe), width)


def _train_along(out: Path, arm: Arm) -> list[Row]:
    """Does what the first process does, but for the writing."""
    wait_for_all("the folder is open")
    if arm.strategy in finished_arms(out):
        return read_table(out, "rows")
    arm = settle(arm)
    rows = score(arm, fit(arm.recipe, arm.task, checkpoints=make_checkpoints(out, arm))).rows
    wait_for_all("trained")
    return rows
