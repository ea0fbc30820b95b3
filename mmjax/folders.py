"""What a run folder holds, and how it is written."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmjax.arms import Arm
from mmjax.errors import UsageError
from mmjax.files import reading
from mmjax.fit import Fit
from mmjax.fusion.searched import NUM_LEVELS
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
    """Makes a run folder with its run.json.

    Raises:
        UsageError: there are files in it, or it is a file.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            "out",
            expected="a new or empty folder",
            got=f"{out}, which has files",
            fix="Name another.",
        )
    out.mkdir(parents=True, exist_ok=True)
    write_run_file(out, settings, strategies)


def write_run_file(
    out: Path, settings: Settings, strategies: Sequence[str], cells: Cells = ()
) -> None:
    """Writes run.json."""
    content = {"strategies": list(strategies), "cells": cells, **asdict(settings)}
    (out / "run.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_run_file(path: Path) -> RunFile:
    """What a run folder's run.json says.

    Raises:
        DataError: there is no such file, or it is no run.json.
    """
    with reading(path, "the settings of a run") as (path, refuse):
        content = json.loads(path.read_text(encoding="utf-8"))
        strategies = content.pop("strategies")
        cells = tuple(map(tuple, content.pop("cells", ())))
        lists = {n: tuple(content.get(n, ())) for n in ("options", "encoders", "missing")}
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
    np.savez_compressed(folder / f"{strategy}.npz", **predictions)


def write_labels(out: Path, task: Task) -> None:
    """Writes labels.npz: the classes and groups of the rows that predictions are of."""
    np.savez_compressed(out / "labels.npz", **labels(task))


def append_assessment(out: Path, found: "Assessment") -> None:
    """Adds what has been measured of an arm."""
    for name in ("robustness", "representation", "weights"):
        append_rows(out / f"{name}.jsonl", getattr(found, name))


def check_new_file(path: Path) -> None:
    """Raises UsageError where there is something already."""
    if path.exists():
        raise UsageError("out", expected="a new file", got=f"{path}, which exists")
