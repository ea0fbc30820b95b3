"""A folder of files: one sub-folder for each modality, and a table of labels."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mmjax.errors import DataError, printable
from mmjax.reading import reading
from mmjax.splits import make_rng
from mmjax.task import Task
from mmjax.tasks.files import READERS
from mmjax.tasks.readers import FIX, MAX_SMALL, data_folder, find
from mmjax.tasks.samples import Stacked, stack

LABELS = "labels.csv"
OTHERS = ("id", "group", "split")
"""Columns of the labels that are no targets."""


def folder(data: str | Path | None = None, *, seed: int = 0) -> Task:
    """Reads a folder with a sub-folder for each modality, and ``labels.csv``.

    A sub-folder has a file for each row, named after the row: ``image/17.png``, ``audio/17.wav``. A
    row without a file lacks that modality. Pictures (PNG, JPEG) become uint8 [height, width,
    channels]; recordings (WAV, FLAC) become MFCCs [frames, 13], padded with silence to the longest;
    tables of numbers (CSV) are vectors [features] if they have one line, and sequences [lines,
    features] if they have more; arrays (.npy) are taken as they are. Of pictures, tables and arrays
    all must have one shape.

    The columns of ``labels.csv`` are ``id``, the name of a row's files without extension; ``group``
    and ``split``, which may be left out, as ``Task.from_arrays`` has them; and targets. One column
    of text or of integers is a class, of other numbers it is a number; several columns are labels
    if they hold 0 and 1 alone, and else numbers.

    Reference: for one modality, ImageFolder of Hugging Face datasets, with its table of metadata
    (https://huggingface.co/docs/datasets/image_dataset, 2022).

    Args:
        data: the folder.
        seed: of the split, where ``labels.csv`` has none.

    Raises:
        DataError: a file is missing, malformed, or named after no row; or samples do not fit
            together.
        UsageError: a package that reads the files is not installed.
    """
    make_rng(seed)  # refuses a bad seed before the reading
    place = data_folder(data)
    columns = _read_labels(find(place, LABELS))
    modalities = sorted(path for path in place.iterdir() if path.is_dir() and _is_shown(path))
    read = {path.name: _read_modality(path, columns["id"]) for path in modalities}
    names = tuple(name for name in columns if name not in OTHERS)
    try:
        task = Task.from_arrays(
            {name: stacked.values for name, stacked in read.items()},
            _parse_targets([columns[name] for name in names]),
            name=f"folder/{printable(place.resolve().name)}",
            group=columns.get("group"),
            present={name: stacked.present for name, stacked in read.items()},
            split=columns.get("split"),
            meta={"id": columns["id"]},
            seed=seed,
        )
    except DataError as error:  # which is about arrays, and names no file
        raise DataError(place, expected="the files of a task", got=f"{error}"[:500]) from error
    return task if task.kind == "classes" else replace(task, names=names)


def _read_labels(path: Path) -> dict[str, Sequence[str]]:
    """{column: its cells}; ids are all different, and there is a target."""
    with (
        reading(path, "a CSV file with a column id and targets", FIX, MAX_SMALL) as (path, refuse),
        path.open(encoding="utf-8-sig", newline="") as file,
    ):
        lines = csv.reader(file, strict=True, skipinitialspace=True)
        names, *rows = [[cell.strip() for cell in line] for line in lines if line] or [[]]
        if "id" not in names or not set(names) - set(OTHERS) or len(set(names)) < len(names):
            refuse(f"columns {names}"[:300])
        for number, row in enumerate(rows, start=1):
            if len(row) != len(names) or not all(row):
                refuse(f"row {number} with cells {row}"[:300])
        columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
        if len(set(columns.get("id", ()))) < max(1, len(rows)):
            refuse("no rows" if not rows else "an id that two rows have")
        return columns


def _read_modality(place: Path, ids: Sequence[str]) -> Stacked:
    """The samples of all rows; the file of each is found by its name."""
    paths = _find_files(place, set(ids))
    return stack(
        [READERS[p.suffix.lower()](p) if (p := paths.get(i)) else None for i in ids], place
    )


def _find_files(place: Path, ids: set[str]) -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(filter(_is_shown, place.iterdir())):
        if path.suffix.lower() not in READERS:
            raise DataError(path, expected=f"a file with {', '.join(READERS)}", got=path.suffix)
        if path.stem not in ids:
            fix = f"Name it in {LABELS}, or take it out of the folder."
            raise DataError(path, expected=f"a row {path.stem} in {LABELS}", got="none", fix=fix)
        if path.stem in found:
            raise DataError(path, expected="one file a row", got=f"{found[path.stem].name} too")
        found[path.stem] = path
    return found


def _is_shown(path: Path) -> bool:
    return not path.name.startswith(".")


def _parse_targets(columns: Sequence[Sequence[str]]) -> np.ndarray:
    """Text of targets as numbers, labels or classes, [rows] or [rows, columns]."""
    if len(columns) == 1 and not _are_numbers(columns[0]):
        return np.array(columns[0])
    if not all(map(_are_numbers, columns)):
        expected = "numbers, or 0 and 1, in several columns of targets"
        raise DataError(LABELS, expected=expected, got="text")
    numbers = np.array(columns, np.float64).T
    if len(columns) > 1:
        return numbers.astype(int) if np.isin(numbers, (0, 1)).all() else numbers
    whole = all(cell.lstrip("-").isdecimal() for cell in columns[0])
    return numbers[:, 0].astype(int) if whole else numbers[:, 0]


_NUMBER = re.compile(r"[+-]?(0|[1-9]\d{0,14}|\d*\.\d+|\d+\.)(e[+-]?\d{1,3})?|[+-]?inf|nan", re.I)


def _are_numbers(cells: Sequence[str]) -> bool:
    """Whether text is numbers: 007 and 1_000 are names, and so is what has 16 digits."""
    return all(_NUMBER.fullmatch(cell) for cell in cells)
