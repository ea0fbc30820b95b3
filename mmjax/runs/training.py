"""Training of one strategy in a folder."""

import shutil
from pathlib import Path

import jax
from rich.console import Console

from mmjax import checkpoint
from mmjax.arms import Arm
from mmjax.comparison import settle
from mmjax.files import locked
from mmjax.fit import fit
from mmjax.interrupt import held_signals
from mmjax.mesh import wait_for_all
from mmjax.report.progress import ComparisonProgress
from mmjax.report.rows import read_rows
from mmjax.run_file import RunFile, write_run_file
from mmjax.runs.folder import (
    CHECKPOINTS,
    append_results,
    end_arm,
    finished_arms,
    forget_unfinished,
    make_checkpoints,
    open_folder,
)
from mmjax.runs.parts import make_arms, make_task
from mmjax.scoring import Row, score
from mmjax.search import chosen_cells
from mmjax.settings import Settings


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
        open_folder(out, settings, [strategy], resume)
        wait_for_all("the folder is open")
        if strategy in finished_arms(out):
            console.print(f"Trained already: {out}", soft_wrap=True)
            return read_rows(out / "rows.jsonl")
        return _train(out, settings, arm, console)


def _train(out: Path, settings: Settings, arm: Arm, console: Console) -> list[Row]:
    forget_unfinished(out)
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
        append_results(out, arm, trained, rows)
        end_arm(out, arm.strategy)
    wait_for_all("trained")
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    console.print(f"Checkpoint and rows: {out}", soft_wrap=True)
    return rows


def _found(settings: Settings, arm: Arm) -> RunFile:
    """The run, with what searches have found: without it nothing can be made of its parameters."""
    width = getattr(arm.recipe.model.fusion, "width", None) if arm.trials else None
    return RunFile(settings, [arm.strategy], chosen_cells(arm.recipe), width)


def _train_along(out: Path, arm: Arm) -> list[Row]:
    """Does what the first process does, but for the writing."""
    wait_for_all("the folder is open")
    if arm.strategy in finished_arms(out):
        return read_rows(out / "rows.jsonl")
    arm = settle(arm)
    rows = score(arm, fit(arm.recipe, arm.task, checkpoints=make_checkpoints(out, arm))).rows
    wait_for_all("trained")
    return rows
