"""The content of a run folder, and how it is written."""

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.analysis.study import TABLES, Study
from mmjax.comparison.arm import Arm
from mmjax.comparison.cell_search import is_open
from mmjax.comparison.outcomes import ArmFailure, ArmResult, Embedded
from mmjax.comparison.scores import Row, labels, versions
from mmjax.data.task import Task
from mmjax.errors import DataError, UsageError
from mmjax.runs.columns import put_rows, read_table, salvage_table
from mmjax.runs.damage import find_damage
from mmjax.runs.run_file import RunFile, read_run_file, restore_run_file, write_run_file
from mmjax.runs.settings import check_same
from mmjax.storage.files import (
    digest_file,
    has_files,
    json_digest,
    remove_parts,
    whole_file,
    write_npz,
)
from mmjax.storage.jsonl import write_rows
from mmjax.storage.reading import read_npz
from mmjax.training.checkpoint import Checkpoints

RESULTS = ("rows", "history", *TABLES)
"""Tables with the rows of all arms."""

CHECKPOINTS = "checkpoints"
"""Subfolder for checkpoints and embeddings, removed when the run completes."""

ARMS = "arms"
"""Subfolder for arms that run in their own processes, removed when the run completes."""


def open_folder(out: Path, run: RunFile, resume: bool) -> dict[str, DataError]:
    """Starts a run in a locked folder, or resumes the run that it holds.

    Returns:
        {name: error} of damaged files of a completed run, or of damaged pictures of another.

    Raises:
        UsageError: the folder has files and ``resume`` is false; or its run has other settings.
        DataError: its settings are damaged.
    """
    if not resume:
        check_new_folder(out, ", or resume its run: --resume, or resume=True in Python")
    if not has_files(out):
        write_run_file(out, run)
        return {}
    damage = find_damage(out)
    if "run.json" in damage:
        restore_run_file(out, run)
    _check_same_run(out, run)
    if "arms.jsonl" in damage:
        _restore_notes(out, damage)
    return damage


def _check_same_run(out: Path, run: RunFile) -> None:
    check_same(f"the run in {out}", _asked_for(read_run_file(out)), _asked_for(run))


def _asked_for(run: RunFile) -> dict[str, Any]:
    asked = {"strategies": list(run.strategies), "examine": list(run.examine)}
    settings = replace(run.settings, mesh=None)  # which decides where it runs, not what
    return {**asked, **asdict(settings)}


def check_same_data(out: Path, arms: Sequence[Arm]) -> None:
    """Raises UsageError if the results in the folder are from other data.

    One row of the current data is enough: a row that differs from it is damaged.
    """
    rows, _ = salvage_table(out, "rows")
    digests: dict[str, set[str]] = {}
    for row in rows:
        digests.setdefault(row["strategy"], set()).add(row["data"])
    for arm in arms:
        was = digests.get(arm.strategy)
        if was and arm.task.digest() not in was:
            problem = f"the data of {arm.task.name} have changed since the run in {out} was started"
            raise UsageError("resume", problem, fix="Restore them, or choose another folder.")


def check_same_recipes(out: Path, arms: Sequence[Arm]) -> None:
    """Raises UsageError if an arm in the folder was trained with another recipe.

    Arms that search for a part of their recipe are not checked.
    """
    rows, _ = salvage_table(out, "rows")
    for arm in arms:
        if arm.trials or is_open(arm.recipe):
            continue
        was = {row.get("recipe") for row in rows if row["strategy"] == arm.strategy}
        if was and repr(arm.recipe) not in was:
            problem = f"the recipe of {arm.strategy} has changed from {was.pop()} to {arm.recipe!r}"
            raise UsageError("resume", problem, fix=f"Choose another folder than {out}.")


def finished_arms(out: Path) -> list[str]:
    """The completed strategies whose results in the folder are intact."""
    noted = [row for row in read_table(out, "arms") if row["error"] is None]
    found = _digest_arms(out, [row["strategy"] for row in noted])
    return [name for row in noted if found[name := row["strategy"]] == row["sha256"]]


def end_arm(out: Path, strategy: str, error: str | None = None) -> None:
    """Records in arms.jsonl that an arm has completed, or why it failed."""
    digest = None if error else _digest_arms(out, [strategy])[strategy]
    put_rows(out, "arms", strategy, [_note(strategy, error, digest)])


def _note(strategy: str, error: str | None, digest: str | None) -> Row:
    return {"strategy": strategy, "error": error, "sha256": digest}


def _restore_notes(out: Path, damage: Collection[str]) -> None:
    """Rebuilds arms.jsonl of a completed run, if the manifest confirms all that it describes."""
    lost = {name for name in damage if name.endswith(".jsonl") or name.startswith("checkpoint/")}
    if lost - {"arms.jsonl"}:
        return
    strategies = dict.fromkeys(row["strategy"] for row in read_table(out, "rows"))
    whole = [name for name in strategies if f"predictions/{name}.npz" not in damage]
    found = _digest_arms(out, whole)
    write_rows(out / "arms.jsonl", [_note(name, None, digest) for name, digest in found.items()])


def _digest_arms(out: Path, strategies: Sequence[str]) -> dict[str, str]:
    """{strategy: sha256 of its rows and files}."""
    tables = {name: read_table(out, name) for name in RESULTS} if strategies else {}
    checkpoint = sorted((out / "checkpoint").rglob("*"))
    found = {}
    for strategy in strategies:
        own = {name: _rows_of(strategy, rows) for name, rows in tables.items()}
        files = [out / "predictions" / f"{strategy}.npz", *checkpoint]
        digests = {str(f.relative_to(out)): digest_file(f) for f in files if f.is_file()}
        found[strategy] = json_digest({**digests, **own})
    return found


def _rows_of(strategy: str, rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["strategy"] == strategy]


def remove_what_is_done_with(out: Path) -> None:
    """Removes the subfolders of an unfinished run, and partial files of killed processes."""
    for name in (CHECKPOINTS, ARMS):
        shutil.rmtree(out / name, ignore_errors=True)
    remove_parts(out)


def arm_folder(out: Path, strategy: str) -> Path:
    """The folder of an arm that runs in its own process, laid out as that of a comparison."""
    return out / ARMS / strategy


def put_arm(
    out: Path,
    strategy: str,
    tables: Mapping[str, Iterable[Row]],
    predictions: Mapping[str, np.ndarray] | None = None,
    embedded: Embedded | None = None,
) -> None:
    """Writes the results of a completed arm, replacing those in the folder.

    Args:
        out: the run folder.
        strategy: name of the arm.
        tables: {name in ``RESULTS``: its rows}.
        predictions: as in ``ArmResult``.
        embedded: for the pictures that are drawn when all arms have completed.
    """
    for name, rows in tables.items():
        put_rows(out, name, strategy, rows)
    if predictions is not None:
        write_predictions(out, strategy, predictions)
    if embedded:
        write_embedded(out, strategy, embedded)
    end_arm(out, strategy)  # last: until then, resuming reruns the arm


def put_outcome(out: Path, outcome: ArmResult | ArmFailure) -> None:
    """Writes the outcome of an arm."""
    strategy = outcome.arm.strategy
    if isinstance(outcome, ArmFailure):
        end_arm(out, strategy, outcome.reason)
        return
    tables = {"rows": outcome.rows, "history": outcome.history, **outcome.tables}
    put_arm(out, strategy, tables, outcome.predictions, outcome.embedded)


def put_study(out: Path, study: Study) -> None:
    """Writes all arms of a study, the errors of those that failed, and its pictures."""
    write_npz(out / "labels.npz", study.labels)
    write_pictures(out, study.pictures)
    all_tables = {"rows": study.rows, "history": study.history, **study.tables}
    for strategy, predictions in study.predictions.items():
        own = {name: _rows_of(strategy, rows) for name, rows in all_tables.items()}
        put_arm(out, strategy, own, predictions)
    for strategy, reason in study.failed.items():
        end_arm(out, strategy, reason)


def merge_arm(out: Path, strategy: str) -> None:
    """Copies the results in an arm's own folder to the folder of its comparison."""
    own = arm_folder(out, strategy)
    tables = {name: read_table(own, name) for name in RESULTS if (own / f"{name}.jsonl").exists()}
    predictions = read_predictions(own, strategy)
    embedded = read_embedded(own, strategy) if _embeddings(own, strategy).exists() else None
    put_arm(out, strategy, tables, predictions, embedded)


def read_predictions(folder: Path, strategy: str) -> dict[str, np.ndarray]:
    """What ``put_arm`` wrote of an arm."""
    return read_npz(folder / "predictions" / f"{strategy}.npz")


def forget_unfinished(out: Path) -> None:
    """Removes the rows of arms that have not completed."""
    done = set(finished_arms(out))
    for name in RESULTS:
        rows = read_table(out, name)
        kept = [row for row in rows if row["strategy"] in done]
        if len(kept) < len(rows):
            write_rows(out / f"{name}.jsonl", kept)


def write_empty_tables(out: Path) -> None:
    """Writes the tables that no arm has rows for, when all arms have completed."""
    for path in (out / f"{name}.jsonl" for name in RESULTS):
        if not path.exists():
            write_rows(path, [])


def write_predictions(out: Path, strategy: str, predictions: Mapping[str, np.ndarray]) -> None:
    """Writes predictions/STRATEGY.npz."""
    folder = out / "predictions"
    folder.mkdir(exist_ok=True)
    write_npz(folder / f"{strategy}.npz", predictions)


def write_labels(out: Path, task: Task) -> None:
    """Writes labels.npz: targets and groups of the predicted rows."""
    write_npz(out / "labels.npz", labels(task))


def check_new_file(path: Path) -> None:
    """Raises UsageError if the file exists."""
    if path.exists():
        raise UsageError("out", expected="a new file", got=f"{path}, which exists")


def check_new_folder(path: Path, or_else: str = "") -> None:
    """Raises UsageError if the folder has files.

    Args:
        path: a folder that may exist.
        or_else: end of the advice to choose another folder.
    """
    if path.is_dir() and has_files(path):
        got, fix = f"{path}, which has files", f"Choose another folder{or_else}."
        raise UsageError("out", expected="a new or empty folder", got=got, fix=fix)


def make_checkpoints(out: Path, arm: Arm) -> Checkpoints:
    """The checkpoints of an arm in a run folder."""
    identity = {"recipe": repr(arm.recipe), "data": arm.task.digest(), "versions": versions()}
    own = f"fold{arm.fold.repeat}.{arm.fold.index}" if arm.fold else ""
    folder = out / CHECKPOINTS / arm.strategy / own / "steps"
    return Checkpoints(folder, identity)


def write_pictures(out: Path, pictures: Mapping[str, bytes]) -> None:
    """Writes pictures, {file name: content}."""
    for name, picture in pictures.items():
        with whole_file(out / name) as file:
            file.write(picture)


def write_embedded(out: Path, strategy: str, embedded: Embedded) -> None:
    """Writes embeddings.npz, for the pictures that are drawn when all arms have completed."""
    path = _embeddings(out, strategy)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_npz(path, {"target": embedded.target, **embedded.values})


def read_embedded(out: Path, strategy: str) -> Embedded:
    """Reads the embeddings.npz of an arm."""
    values = read_npz(_embeddings(out, strategy))
    target = values.pop("target")
    return Embedded(values, target)


def _embeddings(out: Path, strategy: str) -> Path:
    return out / CHECKPOINTS / strategy / "embeddings.npz"
