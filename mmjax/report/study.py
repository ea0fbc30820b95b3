"""Run folders read back: one study for each task, whatever the number of its folders."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmjax.errors import DataError
from mmjax.manifest import check_listed
from mmjax.reading import read_npz
from mmjax.report.summary import scored_split
from mmjax.report.tables import Row, read_table
from mmjax.run_file import RunFile, read_run_file
from mmjax.scoring import baselines
from mmjax.targets import Kind, find_score, kind_of

TABLES = ("robustness", "representation", "weights", "cost")


class Study(NamedTuple):
    """All that is known about the strategies of one task.

    Attributes:
        task: its name.
        folders: where it comes from.
        rows: scores.
        history: learning curves.
        tables: {name in ``TABLES``: rows}, for those that are there.
        predictions: {strategy: {"seeds": [seeds], "valid" and "test": [seeds, rows, out_dim]}}.
        labels: {"valid_target", "valid_group", "test_target", "test_group": [rows]}, or empty.
        settings: {folder: what run.json holds}, for folders that have one.
        failed: {strategy: why}, of those that could not be trained.
    """

    task: str
    folders: tuple[Path, ...]
    rows: list[Row]
    history: list[Row]
    tables: dict[str, list[Row]]
    predictions: dict[str, dict[str, np.ndarray]]
    labels: dict[str, np.ndarray]
    settings: dict[Path, RunFile]
    failed: Mapping[str, str]

    @property
    def split(self) -> str:
        """``test``, or ``valid`` where the test rows have no labels."""
        return scored_split(self.rows)

    @property
    def strategies(self) -> dict[str, str]:
        """{strategy: its modalities with "+" between them}, in the order of the rows."""
        return {row["strategy"]: row["modalities"] for row in self.rows}

    @property
    def baselines(self) -> list[str]:
        """Strategies with one modality."""
        return baselines(self.rows)

    @property
    def data(self) -> dict[str, str]:
        """{modalities: digest of the arrays}."""
        return {row["modalities"]: row["data"] for row in self.rows}

    @property
    def metric(self) -> str:
        """Name of the main score."""
        return find_score(self.rows[0])

    @property
    def kind(self) -> Kind:
        """What the targets are; "classes" where only accuracies are known."""
        if self.metric == "r2":
            return "numbers"
        return kind_of(self.labels["valid_target"]) if self.labels else "classes"

    def scores(self, strategy: str, metric: str, split: str | None = None) -> np.ndarray:
        """[seeds] of a metric with nothing hidden, seeds sorted; NaN where it is not finite."""
        keys = ("strategy", "split", "hidden")
        wanted = (strategy, split or self.split, "")
        found = [row for row in self.rows if tuple(map(row.get, keys)) == wanted]
        found.sort(key=lambda row: row["seed"])
        return np.array([row.get(metric) for row in found], np.float64)

    def on_validation(self, strategy: str) -> float:
        """Mean score on validation, what choices are made on."""
        return float(self.scores(strategy, self.metric, "valid").mean())


def read_studies(folders: Sequence[Path]) -> list[Study]:
    """The studies of some run folders; folders with the same task and data are one study.

    A strategy that two folders trained by the same recipe is taken from the first; by another
    recipe, it gets the number of its folder behind its name.

    Raises:
        DataError: a file is torn or is not what its name promises; the message names it.
    """
    studies: list[Study] = []
    for folder in folders:
        for study in _read(Path(folder)):
            same = [i for i, other in enumerate(studies) if _same_data(other, study)]
            if same:
                studies[same[0]] = _merge(studies[same[0]], study)
            else:
                studies.append(study)
    return studies


def _read(folder: Path) -> list[Study]:
    rows = read_table(folder, "rows")
    if not rows:
        got = "an empty file" if (folder / "rows.jsonl").exists() else "nothing there"
        raise DataError(folder / "rows.jsonl", expected="at least one row", got=got)
    history = read_table(folder, "history")
    tables = {name: read_table(folder, name) for name in TABLES}
    settings = {folder: read_run_file(folder)} if (folder / "run.json").exists() else {}
    errors = {row["strategy"]: row["error"] for row in read_table(folder, "arms")}
    failed = {name: error for name, error in errors.items() if error is not None}
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    labels = _read_labels(folder / "labels.npz") if (folder / "labels.npz").exists() else {}
    files = sorted((folder / "predictions").glob("*.npz")) if labels and len(tasks) == 1 else []
    predictions = {path.stem: _read_predictions(path, labels) for path in files}
    check_listed(folder, ".json", ".jsonl", ".npz")

    def part(task: str) -> Study:
        of = lambda some: [row for row in some if row.get("task", task) == task]
        found = {name: of(table) for name, table in tables.items() if table}
        scores, curves = of(rows), of(history)
        return Study(task, (folder,), scores, curves, found, predictions, labels, settings, failed)

    return [part(task) for task in tasks]


def _read_labels(path: Path) -> dict[str, np.ndarray]:
    arrays = read_npz(path, "the labels of a run")
    for split in ("valid", "test"):
        target, group = (arrays.get(f"{split}_{n}", np.empty(0)) for n in ("target", "group"))
        if not (target.dtype.kind in "iu" and target.ndim in (1, 2)) and not (
            target.dtype.kind == "f" and target.ndim == 2
        ):
            expected = f"{split}_target, integers, or numbers [rows, numbers]"
            raise DataError(path, expected=expected, got=_describe(target))
        if group.dtype.kind not in "iu" or group.shape != target.shape[:1]:
            expected = f"{split}_group, {len(target)} integers"
            raise DataError(path, expected=expected, got=_describe(group))
    return arrays


def _read_predictions(path: Path, labels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    arrays = read_npz(path, "the predictions of a run")
    seeds = arrays.get("seeds", np.empty(0))
    if seeds.dtype.kind not in "iu" or seeds.ndim != 1:
        raise DataError(path, expected="seeds, integers", got=_describe(seeds))
    for name in ("valid", "test"):
        target, got = labels[f"{name}_target"], arrays.get(name, np.empty(0))
        if target.ndim == 2:
            width = target.shape[1]
        else:  # as many classes as it says, at least those that occur
            width = max(int(target.max(initial=0)) + 1, *got.shape[2:3], 1)
        if got.dtype.kind != "f" or got.shape != (len(seeds), len(target), width):
            raise DataError(
                path,
                expected=f"{name} of shape ({len(seeds)}, {len(target)}, outputs)",
                got=_describe(got),
            )
    return arrays


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"


def _same_data(one: Study, other: Study) -> bool:
    common = one.data.keys() & other.data.keys()
    return (
        one.task == other.task and any(common) and all(one.data[k] == other.data[k] for k in common)
    )


def _merge(one: Study, other: Study) -> Study:
    recipes = {row["strategy"]: row.get("recipe") for row in one.rows}
    number = len(one.folders) + 1
    names = {}
    for row in other.rows:
        name = row["strategy"]
        known = name in recipes
        if not known or recipes[name] != row.get("recipe"):
            names[name] = f"{name} ({number})" if known else name

    def renamed(rows: Iterable[Row]) -> list[Row]:
        new = [row for row in rows if row["strategy"] in names]
        return [{**row, "strategy": names[row["strategy"]]} for row in new]

    tables = {
        name: one.tables.get(name, []) + renamed(other.tables.get(name, []))
        for name in one.tables.keys() | other.tables.keys()
    }
    kept = {names[k]: arrays for k, arrays in other.predictions.items() if k in names}
    return Study(
        task=one.task,
        folders=(*one.folders, *other.folders),
        rows=one.rows + renamed(other.rows),
        history=one.history + renamed(other.history),
        tables=tables,
        predictions={**one.predictions, **kept},
        labels=one.labels or other.labels,
        settings={**one.settings, **other.settings},
        failed={**other.failed, **one.failed},
    )
