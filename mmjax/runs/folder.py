"""What a run folder holds, and how it is written."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmjax.analysis.study import TABLES
from mmjax.comparison.arm import Arm
from mmjax.comparison.scores import Row, history_rows, labels, versions
from mmjax.data.task import Task
from mmjax.errors import DataError, UsageError
from mmjax.runs.columns import put_rows, read_table, salvage_table
from mmjax.runs.damage import find_damage
from mmjax.runs.run_file import RunFile, read_run_file, restore_run_file, write_run_file
from mmjax.runs.settings import Settings
from mmjax.storage.files import digest_file, has_files, json_digest, remove_parts, write_npz
from mmjax.storage.jsonl import write_rows
from mmjax.storage.reading import read_npz
from mmjax.training.checkpoint import Checkpoints
from mmjax.training.fit import Fit

if TYPE_CHECKING:
    # Their scikit-learn is not for those who only train.
    from mmjax.analysis.examine import Examination
    from mmjax.analysis.representation import Embedded

RESULTS = ("rows", "history", *TABLES)
"""Tables with the rows of all arms."""

CHECKPOINTS = "checkpoints"
"""Folder of a run folder for what is needed only until the run is done."""

ARMS = "arms"
"""Likewise, for the arms that have processes of their own."""


def open_folder(
    out: Path, settings: Settings, strategies: Sequence[str], resume: bool
) -> dict[str, DataError]:
    """Makes a run folder of a locked one, or finds the run that is to be gone on with.

    Returns:
        {name: what is wrong} of files of a run that was done, or of pictures of another.

    Raises:
        UsageError: there are files in it; or its run has other settings.
        DataError: its settings are lost.
    """
    if has_files(out) and not resume:
        raise UsageError(
            "out",
            expected="a new or empty folder",
            got=f"{out}, which has files",
            fix="Name another, or go on with a run that was stopped by --resume.",
        )
    if not has_files(out):
        write_run_file(out, RunFile(settings, strategies))
        return {}
    damage = find_damage(out)
    if "run.json" in damage:
        restore_run_file(out, RunFile(settings, strategies))
    _check_same_run(out, settings, strategies)
    if "arms.jsonl" in damage:
        _restore_notes(out, damage)
    return damage


def _check_same_run(out: Path, settings: Settings, strategies: Sequence[str]) -> None:
    found = read_run_file(out)
    was = {"strategies": found.strategies, **asdict(found.settings)}
    now = {"strategies": list(strategies), **asdict(settings)}
    differing = [
        f"{name} {was[name]!r}, not {now[name]!r}"
        for name in now
        if was[name] != now[name] and name != "mesh"  # which decides where, not what
    ]
    if differing:
        raise UsageError(
            "resume",
            expected="the settings that the run was started with",
            got="; ".join(differing),
            fix=f"Leave out --resume and name another folder than {out}.",
        )


def check_same_data(out: Path, arms: Sequence[Arm]) -> None:
    """Raises UsageError where the folder has results of other data than there are now.

    One row of today's data is enough: another that differs is damaged, and its arm is not done.
    """
    rows, _ = salvage_table(out, "rows")
    for modalities, task in {"+".join(arm.task.modalities): arm.task for arm in arms}.items():
        was = {row["data"] for row in rows if row["modalities"] == modalities}
        if was and task.digest() not in was:
            raise UsageError(
                "resume",
                expected="the data that the run was started with",
                got=f"another {task.name}",
                fix=f"Bring it back, or leave out --resume and name another folder than {out}.",
            )


def finished_arms(out: Path) -> list[str]:
    """The strategies that are done, and of which the folder has all that was written of them."""
    noted = [row for row in read_table(out, "arms") if row["error"] is None]
    found = _digest_arms(out, [row["strategy"] for row in noted])
    return [name for row in noted if found[name := row["strategy"]] == row["sha256"]]


def end_arm(out: Path, strategy: str, error: str | None = None) -> None:
    """Notes that all of an arm is in the folder, or why it never will be."""
    digest = None if error else _digest_arms(out, [strategy])[strategy]
    put_rows(out, "arms", strategy, [_note(strategy, error, digest)])


def _note(strategy: str, error: str | None, digest: str | None) -> Row:
    return {"strategy": strategy, "error": error, "sha256": digest}


def _restore_notes(out: Path, damage: Collection[str]) -> None:
    """Writes the arms.jsonl of a run that was done, where all that it was about is as it was."""
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
        own = lambda rows, strategy=strategy: [r for r in rows if r["strategy"] == strategy]
        files = [out / "predictions" / f"{strategy}.npz", *checkpoint]
        digests = {str(f.relative_to(out)): digest_file(f) for f in files if f.is_file()}
        found[strategy] = json_digest({**digests, **{n: own(rows) for n, rows in tables.items()}})
    return found


def remove_what_is_done_with(out: Path) -> None:
    """Removes what is needed only until a run is done, and what killed processes have left."""
    for name in (CHECKPOINTS, ARMS):
        shutil.rmtree(out / name, ignore_errors=True)
    remove_parts(out)


def arm_folder(out: Path, strategy: str) -> Path:
    """Where an arm that has a process of its own works; laid out as the comparison's folder."""
    return out / ARMS / strategy


def merge_arm(out: Path, strategy: str) -> None:
    """Puts what an arm has written to its own folder into that of its comparison."""
    own = arm_folder(out, strategy)
    for name in RESULTS:
        if (own / f"{name}.jsonl").exists():
            put_rows(out, name, strategy, read_table(own, name))
    write_predictions(out, strategy, read_npz(own / "predictions" / f"{strategy}.npz"))
    kept = Path(CHECKPOINTS, strategy)
    write_embedded(out / kept, read_embedded(own / kept))
    end_arm(out, strategy)  # last: until then the next process would do it again


def forget_unfinished(out: Path) -> None:
    """Removes the rows that arms which have failed now have left when they were stopped before."""
    done = set(finished_arms(out))
    for name in RESULTS:
        rows = read_table(out, name)
        kept = [row for row in rows if row["strategy"] in done]
        if len(kept) < len(rows):
            write_rows(out / f"{name}.jsonl", kept)


def write_empty_tables(out: Path) -> None:
    """Writes the tables that are not there, when all arms are done: none has anything in them."""
    for path in (out / f"{name}.jsonl" for name in RESULTS):
        if not path.exists():
            write_rows(path, [])


def put_results(out: Path, arm: Arm, trained: Fit, rows: Sequence[Row]) -> None:
    """Writes an arm's scores and learning curves."""
    put_rows(out, "rows", arm.strategy, rows)
    put_rows(out, "history", arm.strategy, history_rows(arm, trained))


def write_predictions(out: Path, strategy: str, predictions: Mapping[str, np.ndarray]) -> None:
    """Writes predictions/STRATEGY.npz."""
    folder = out / "predictions"
    folder.mkdir(exist_ok=True)
    write_npz(folder / f"{strategy}.npz", predictions)


def write_labels(out: Path, task: Task) -> None:
    """Writes labels.npz: the classes and groups of the rows that predictions are of."""
    write_npz(out / "labels.npz", labels(task))


def put_examination(out: Path, strategy: str, found: "Examination") -> None:
    """Writes what has been measured of an arm."""
    for name in ("robustness", "representation", "weights"):
        put_rows(out, name, strategy, getattr(found, name))


def check_new_file(path: Path) -> None:
    """Raises UsageError where there is something already."""
    if path.exists():
        raise UsageError("out", expected="a new file", got=f"{path}, which exists")


def make_checkpoints(out: Path, arm: Arm) -> Checkpoints:
    """Where an arm's training is kept in a run folder."""
    identity = {"recipe": repr(arm.recipe), "data": arm.task.digest(), "versions": versions()}
    folder = out / CHECKPOINTS / arm.strategy / "steps"
    return Checkpoints(folder, identity)


def write_embedded(folder: Path, embedded: "Embedded") -> None:
    """Writes embeddings.npz, for the pictures that are drawn when all arms are done."""
    folder.mkdir(parents=True, exist_ok=True)
    write_npz(folder / "embeddings.npz", {"target": embedded.target, **embedded.values})


def read_embedded(folder: Path) -> "Embedded":
    """What ``write_embedded`` wrote."""
    from mmjax.analysis.representation import Embedded

    values = read_npz(folder / "embeddings.npz")
    target = values.pop("target")
    return Embedded(values, target)
