"""What a run folder holds, and how it is written."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mmjax.arms import Arm
from mmjax.errors import DataError, UsageError
from mmjax.files import has_files, whole_file, write_text
from mmjax.fit import Fit
from mmjax.report.rows import append_rows
from mmjax.scoring import Row, history_rows, labels
from mmjax.search import Cells
from mmjax.settings import Settings
from mmjax.task import Task

if TYPE_CHECKING:
    from mmjax.assess import Assessment  # its scikit-learn is not for those who only train


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


def make_folder(out: Path, settings: Settings, strategies: Sequence[str]) -> None:
    """Makes a run folder of a locked one: writes its run.json.

    Raises:
        UsageError: there are files in it.
    """
    if has_files(out):
        raise UsageError(
            "out",
            expected="a new or empty folder",
            got=f"{out}, which has files",
            fix="Name another.",
        )
    write_run_file(out, settings, strategies)


def write_run_file(
    out: Path, settings: Settings, strategies: Sequence[str], cells: Cells = ()
) -> None:
    """Writes run.json, with a digest by which damage is found."""
    content = {"strategies": list(strategies), "cells": cells, **asdict(settings)}
    content["sha256"] = _digest(content)
    write_text(out / "run.json", json.dumps(content, indent=1) + "\n")


def read_run_file(path: Path) -> RunFile:
    """What a run folder's run.json says.

    Raises:
        DataError: there is no such file, it is no run.json, or it is not as it was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        intact = content.pop("sha256", None) in (None, _digest(content))
        strategies = content.pop("strategies")
        cells = tuple(map(tuple, content.pop("cells", ())))
        lists = {n: tuple(content.get(n, ())) for n in ("options", "encoders", "missing")}
        found = RunFile(Settings(**{**content, **lists}), strategies, cells)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(path, expected="the settings of a run", got=str(error)) from error
    if not intact:
        raise DataError(
            path,
            expected="the settings as they were written",
            got="others",
            fix="It is damaged; if you have edited it yourself, remove its sha256.",
        )
    return found


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


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
