"""Reads run folders back: one study per task, from any number of folders."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmjax.analysis.assessment import Assessment
from mmjax.analysis.study import TABLES, Study, merge_studies
from mmjax.errors import DataError
from mmjax.runs.columns import read_table
from mmjax.runs.run_file import RUN, read_run_file
from mmjax.storage.manifest import check_listed
from mmjax.storage.reading import find_pictures, read_npz


def read_studies(folders: Sequence[str | Path]) -> list[Study]:
    """Reads run folders; those with the same task and data form one study.

    A strategy trained with the same recipe in two folders is taken from the first. Where the
    recipes differ, the second is renamed: its folder's number is appended, as in ``sum (2)``.

    Raises:
        DataError: a file is missing, truncated or malformed; the message names it.

    Example:
        >>> from pathlib import Path
        >>> from rich.console import Console
        >>> from mmjax.runs.settings import Settings
        >>> from mmjax.runs.studies import read_studies
        >>> from mmjax.runs.train import train_in
        >>> settings = Settings("synthetic", options=("size=60",), steps=2, seeds=1)
        >>> rows = train_in(Path("run"), settings, "a_only", Console(quiet=True))
        >>> [(study.task, study.strategies) for study in read_studies(["run"])]
        [('synthetic/xor', {'a_only': 'a'})]
    """
    return merge_studies(study for folder in folders for study in _read(Path(folder)))


def read_assessments(folders: Sequence[str | Path]) -> list[Assessment]:
    """The studies of ``read_studies``, each with its verdict."""
    return [Assessment(study) for study in read_studies(folders)]


def read_pictures(folder: Path) -> dict[str, bytes]:
    """{file name: content} of the pictures in a run folder."""
    return {path.name: path.read_bytes() for path in find_pictures(folder)}


def _read(folder: Path) -> list[Study]:
    rows = read_table(folder, "rows")
    if not rows:
        if not folder.is_dir():
            raise DataError(folder, "there is no such folder")
        got = "an empty file" if (folder / "rows.jsonl").exists() else "no such file"
        raise DataError(folder / "rows.jsonl", expected="at least one row", got=got)
    history = read_table(folder, "history")
    tables = {name: read_table(folder, name) for name in TABLES}
    run = read_run_file(folder) if (folder / RUN).exists() else None
    commands = (run.command,) if run and run.command else ()
    ablation = run.ablation if run else None
    pictures = read_pictures(folder)
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
        return Study(
            task=task,
            folders=(folder,),
            rows=of(rows),
            history=of(history),
            tables=found,
            predictions=predictions,
            labels=labels,
            commands=commands,
            pictures=pictures,
            failed=failed,
            ablation=ablation,
        )

    return [part(task) for task in tasks]


def _read_labels(path: Path) -> dict[str, np.ndarray]:
    arrays = read_npz(path, "the labels of a run")
    for split in ("valid", "test"):
        target, group = (arrays.get(f"{split}_{n}", np.empty(0)) for n in ("target", "group"))
        if not (target.dtype.kind in "iu" and target.ndim in (1, 2)) and not (
            target.dtype.kind == "f" and target.ndim == 2
        ):
            expected = f"{split}_target of integers, or of floats [rows, numbers]"
            raise DataError(path, expected=expected, got=_describe(target))
        if group.dtype.kind not in "iu" or group.shape != target.shape[:1]:
            expected = f"{split}_group of {len(target)} integers"
            raise DataError(path, expected=expected, got=_describe(group))
    fold, sizes = arrays.get("fold"), arrays.get("fold_train")
    if fold is not None and not (
        sizes is not None
        and (fold.dtype.kind, sizes.dtype.kind, sizes.ndim) == ("i", "i", 1)
        and fold.shape[1:] == target.shape[:1]
    ):
        expected = f"fold [repeats, {len(target)}] and fold_train [folds] of integers"
        raise DataError(path, expected=expected, got=_describe(fold))
    scale = arrays.get("deviation")
    if scale is not None and (scale.dtype.kind != "f" or scale.shape != target.shape[1:]):
        expected = f"deviation of {target.shape[1:]} floats"
        raise DataError(path, expected=expected, got=_describe(scale))
    names = arrays.get("names")
    if names is not None and not (names.dtype.kind == "U" and names.ndim == 1):
        raise DataError(path, expected="names [classes] of text", got=_describe(names))
    return arrays


def _read_predictions(path: Path, labels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    arrays = read_npz(path, "the predictions of a run")
    seeds = arrays.get("seeds", np.empty(0))
    if seeds.dtype.kind not in "iu" or seeds.ndim != 1:
        raise DataError(path, expected="seeds of integers", got=_describe(seeds))
    for name in ("test",) if "fold" in labels else ("valid", "test"):
        target, got = labels[f"{name}_target"], arrays.get(name, np.empty(0))
        if target.ndim == 2:
            width = target.shape[1]
        else:  # the file's own number of classes, but no fewer than the labels have
            width = max(int(target.max(initial=0)) + 1, *got.shape[2:3], 1)
        if got.dtype.kind != "f" or got.shape != (len(seeds), len(target), width):
            raise DataError(
                path,
                expected=f"{name} of shape ({len(seeds)}, {len(target)}, outputs)",
                got=_describe(got),
            )
    own = arrays.get("contributions")
    if own is not None and (own.dtype.kind != "f" or own.shape[:1] != seeds.shape):
        expected = f"contributions of floats for {len(seeds)} seeds"
        raise DataError(path, expected=expected, got=_describe(own))
    return arrays


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"
