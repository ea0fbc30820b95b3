"""What a run folder holds, and how it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmjax.arms import Arm
from mmjax.checkpoint import Checkpoints
from mmjax.errors import UsageError
from mmjax.files import has_files, whole_file
from mmjax.fit import Fit
from mmjax.reading import read_npz
from mmjax.report.rows import append_rows, read_rows, write_rows
from mmjax.run_file import RunFile, read_run_file, write_run_file
from mmjax.scoring import Row, history_rows, labels, versions
from mmjax.settings import Settings
from mmjax.task import Task

if TYPE_CHECKING:
    # Their scikit-learn is not for those who only train.
    from mmjax.assess import Assessment
    from mmjax.representation import Embedded

CHECKPOINTS = "checkpoints"
"""Folder of a run folder for what is needed only until the run is done."""

ARMS = "arms"
"""Likewise, for the arms that have processes of their own."""


def open_folder(out: Path, settings: Settings, strategies: Sequence[str], resume: bool) -> None:
    """Makes a run folder of a locked one, or finds the run that is to be gone on with.

    Raises:
        UsageError: there are files in it; or its run has other settings.
    """
    if resume and (out / "run.json").exists():
        _check_same_run(out, settings, strategies)
        return
    if has_files(out):
        raise UsageError(
            "out",
            expected="a new or empty folder",
            got=f"{out}, which has files",
            fix="Name another, or go on with a run that was stopped by --resume.",
        )
    write_run_file(out, RunFile(settings, strategies))


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
    """Raises UsageError where the folder has results of other data than there are now."""
    rows = read_rows(out / "rows.jsonl") if (out / "rows.jsonl").exists() else []
    was = {row["modalities"]: row["data"] for row in rows}
    for modalities, task in {"+".join(arm.task.modalities): arm.task for arm in arms}.items():
        if modalities in was and was[modalities] != task.digest():
            raise UsageError(
                "resume",
                expected="the data that the run was started with",
                got=f"another {task.name}",
                fix=f"Bring it back, or leave out --resume and name another folder than {out}.",
            )


def finished_arms(out: Path) -> list[str]:
    """The strategies of a comparison that are done, without those that failed."""
    path = out / "arms.jsonl"
    ended = read_rows(path) if path.exists() else []
    return [row["strategy"] for row in ended if row["error"] is None]


def end_arm(out: Path, strategy: str, error: str | None = None) -> None:
    """Notes that all of an arm is in the folder, or why it never will be."""
    append_rows(out / "arms.jsonl", [{"strategy": strategy, "error": error}])


def arm_folder(out: Path, strategy: str) -> Path:
    """Where an arm that has a process of its own works; laid out as the comparison's folder."""
    return out / ARMS / strategy


def merge_arm(out: Path, strategy: str) -> None:
    """Adds what an arm has written to its own folder to that of its comparison."""
    own = arm_folder(out, strategy)
    for path in sorted(own.glob("*.jsonl")):
        if path.name != "arms.jsonl":
            append_rows(out / path.name, read_rows(path))
    write_predictions(out, strategy, read_npz(own / "predictions" / f"{strategy}.npz"))
    kept = Path(CHECKPOINTS, strategy)
    write_embedded(out / kept, read_embedded(own / kept))
    end_arm(out, strategy)  # last: until then the next process would forget all of it


def forget_unfinished(out: Path) -> None:
    """Removes the rows of arms that were not finished, which a process has left when it ended."""
    done = set(finished_arms(out))
    for path in out.glob("*.jsonl"):
        rows = read_rows(path)
        kept = [row for row in rows if row["strategy"] in done]
        if len(kept) < len(rows):
            write_rows(path, kept)


def append_results(out: Path, arm: Arm, trained: Fit, rows: Sequence[Row]) -> None:
    """Adds an arm's scores and learning curves."""
    append_rows(out / "rows.jsonl", rows)
    append_rows(out / "history.jsonl", history_rows(arm, trained))


def write_predictions(out: Path, strategy: str, predictions: Mapping[str, np.ndarray]) -> None:
    """Writes predictions/STRATEGY.npz."""
    folder = out / "predictions"
    folder.mkdir(exist_ok=True)
    with whole_file(folder / f"{strategy}.npz") as file:
        np.savez_compressed(file, **predictions)


def write_labels(out: Path, task: Task) -> None:
    """Writes labels.npz: the classes and groups of the rows that predictions are of."""
    with whole_file(out / "labels.npz") as file:
        np.savez_compressed(file, **labels(task))


def append_assessment(out: Path, found: "Assessment") -> None:
    """Adds what has been measured of an arm."""
    for name in ("robustness", "representation", "weights"):
        append_rows(out / f"{name}.jsonl", getattr(found, name))


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
    with whole_file(folder / "embeddings.npz") as file:
        np.savez(file, target=embedded.target, **embedded.values)


def read_embedded(folder: Path) -> "Embedded":
    """What ``write_embedded`` wrote."""
    from mmjax.representation import Embedded

    values = read_npz(folder / "embeddings.npz")
    target = values.pop("target")
    return Embedded(values, target)
