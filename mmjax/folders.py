"""What a run folder holds, and how it is written."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmjax.arms import Arm
from mmjax.errors import DataError, UsageError
from mmjax.files import has_files, json_digest, whole_file, write_text
from mmjax.fit import Fit
from mmjax.fusion.searched import NUM_LEVELS
from mmjax.reading import reading
from mmjax.report.rows import append_rows, read_rows, write_rows
from mmjax.scoring import Row, history_rows, labels
from mmjax.search import Cells
from mmjax.settings import Settings
from mmjax.task import Task

if TYPE_CHECKING:
    # Their scikit-learn is not for those who only train.
    from mmjax.assess import Assessment
    from mmjax.representation import Embedded


class RunFile(NamedTuple):
    """What a run folder's run.json keeps.

    Attributes:
        settings: as given.
        strategies: names.
        cells: those that a search has found, if the strategy is searched.
    """

    settings: Settings
    strategies: list[str]
    cells: Cells


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
    write_run_file(out, settings, strategies)


def _check_same_run(out: Path, settings: Settings, strategies: Sequence[str]) -> None:
    found = read_run_file(out / "run.json")
    was = {"strategies": list(found.strategies), **asdict(found.settings)}
    now = {"strategies": list(strategies), **asdict(settings)}
    differing = [
        f"{name} {was[name]!r}, not {now[name]!r}" for name in now if was[name] != now[name]
    ]
    if differing:
        raise UsageError(
            "resume",
            expected="the settings that the run was started with",
            got="; ".join(differing),
            fix=f"Leave out --resume and name another folder than {out}.",
        )


def finished_arms(out: Path) -> list[str]:
    """The strategies of a comparison that are done, without those that failed."""
    path = out / "arms.jsonl"
    ended = read_rows(path) if path.exists() else []
    return [row["strategy"] for row in ended if row["error"] is None]


def end_arm(out: Path, strategy: str, error: str | None = None) -> None:
    """Notes that all of an arm is in the folder, or why it never will be."""
    append_rows(out / "arms.jsonl", [{"strategy": strategy, "error": error}])


def forget_unfinished(out: Path) -> None:
    """Removes the rows of arms that were not finished, which a process has left when it ended."""
    done = set(finished_arms(out))
    for path in out.glob("*.jsonl"):
        rows = read_rows(path)
        kept = [row for row in rows if row["strategy"] in done]
        if len(kept) < len(rows):
            write_rows(path, kept)


def write_run_file(
    out: Path, settings: Settings, strategies: Sequence[str], cells: Cells = ()
) -> None:
    """Writes run.json, with a digest by which damage is found."""
    content = {"strategies": list(strategies), "cells": cells, **asdict(settings)}
    content["sha256"] = json_digest(content)
    write_text(out / "run.json", json.dumps(content, indent=1) + "\n")


def read_run_file(path: Path) -> RunFile:
    """What a run folder's run.json says.

    Raises:
        DataError: there is no such file, it is no run.json, or it is not as it was written.
    """
    with reading(path, "the settings of a run") as (path, refuse):
        content = json.loads(path.read_text(encoding="utf-8"))
        intact = content.pop("sha256", None) in (None, json_digest(content))
        strategies = content.pop("strategies")
        cells = tuple(map(tuple, content.pop("cells", ())))
        lists = {n: tuple(content.get(n, ())) for n in ("options", "encoders", "missing")}
        if not intact:
            raise DataError(
                path,
                expected="the settings as they were written",
                got="others",
                fix="It is damaged; if you have edited it yourself, remove its sha256.",
            )
        if not all(isinstance(name, str) for name in strategies):
            refuse("strategies that are not names")
        if not all(number in range(NUM_LEVELS) for cell in cells for number in cell):
            refuse(f"cells {cells}"[:300])
        return RunFile(Settings(**{**content, **lists}), strategies, cells)


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


def write_embedded(folder: Path, embedded: "Embedded") -> None:
    """Writes embeddings.npz, for the pictures that are drawn when all arms are done."""
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "embeddings.npz") as file:
        np.savez(file, target=embedded.target, **embedded.values)


def read_embedded(folder: Path) -> "Embedded":
    """What ``write_embedded`` wrote."""
    from mmjax.representation import Embedded

    with np.load(folder / "embeddings.npz", allow_pickle=False) as arrays:
        values = {name: arrays[name] for name in arrays.files if name != "target"}
        return Embedded(values, arrays["target"])
