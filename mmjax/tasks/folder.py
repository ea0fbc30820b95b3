"""A folder of files: one sub-folder for each modality, and a table of labels."""

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mmjax.data.coerce import MISSING, is_unnamed, name_columns
from mmjax.data.coerce_inputs import InputKind
from mmjax.data.splits import make_rng
from mmjax.data.targets import Kind
from mmjax.data.task import Task
from mmjax.errors import DataError, printable
from mmjax.registry import parse_pairs
from mmjax.storage.reading import reading
from mmjax.tasks.readers.files import READERS
from mmjax.tasks.readers.formats import FIX, MAX_SMALL, data_folder, find
from mmjax.tasks.readers.samples import Stacked, stack

LABELS = "labels.csv"
OTHERS = ("id", "group", "split")
"""Columns of the labels that are no targets."""


def folder(
    data: str | Path | None = None,
    *,
    seed: int = 0,
    kind: Kind | None = None,
    kinds: Mapping[str, InputKind] | str = "",
) -> Task:
    """Reads a folder with a sub-folder for each modality, and ``labels.csv``.

    A sub-folder has a file for each row, named after the row: ``image/17.png``, ``audio/17.wav``. A
    row without a file lacks that modality. Pictures (PNG, JPEG) become uint8 [height, width,
    channels]; recordings (WAV, FLAC) become MFCCs [frames, 13], padded with silence to the longest;
    tables of numbers (CSV) are vectors [features] if they have one line, and sequences [lines,
    features] if they have more; arrays (.npy) are taken as they are. Of pictures, tables and arrays
    all must have one shape. A sub-folder of runs is no modality.

    The columns of ``labels.csv`` are ``id``, the name of a row's files without extension; ``group``
    and ``split``, which may be left out, as ``Task.from_arrays`` has them; and targets. A column
    without a name, or "Unnamed: 0", has the row numbers of a data frame, and is passed over. One
    target of text or of integers is a class, of other numbers it is a number; several are labels if
    they hold 0 and 1 alone, and else numbers. Empty cells, and text such as NA, are missing.

    Reference: for one modality, ImageFolder of Hugging Face datasets, with its table of metadata
    (https://huggingface.co/docs/datasets/image_dataset, 2022).

    Args:
        data: the folder.
        seed: of the split, where ``labels.csv`` has none.
        kind: what the target is, as for ``Task.from_arrays``.
        kinds: what the modalities are, likewise; or text, such as "notes=tokens,face=image".

    Raises:
        DataError: a file is missing, malformed, or named after no row; or samples do not fit
            together.
        UsageError: a package that reads the files is not installed.
    """
    make_rng(seed)  # refuses a bad seed before the reading
    place = data_folder(data)
    if isinstance(kinds, str):
        kinds = parse_pairs("kinds", kinds.split(",") if kinds else ())
    columns = _read_labels(find(place, LABELS))
    modalities = sorted(filter(_is_modality, place.iterdir()))
    read = {path.name: _read_modality(path, columns["id"]) for path in modalities}
    names = tuple(name for name in columns if name not in OTHERS)
    try:
        task = Task.from_arrays(
            {name: stacked.values for name, stacked in read.items()},
            _parse_targets({name: columns[name] for name in names}),
            name=f"folder/{printable(place.resolve().name)}",
            group=columns.get("group"),
            present={name: stacked.present for name, stacked in read.items()},
            split=columns.get("split"),
            meta={"id": columns["id"]},
            seed=seed,
            kind=kind,
            kinds=kinds,
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
        targets = {name for name in names if not is_unnamed(name)} - {*OTHERS}
        if "id" not in names or not targets or len(set(names)) < len(names):
            refuse(f"columns {names}"[:300])
        for number, row in enumerate(rows, start=1):
            needed = [cell for name, cell in zip(names, row, strict=False) if name in OTHERS]
            if len(row) != len(names) or not all(needed):
                refuse(f"row {number} with cells {row}"[:300])
        columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
        if not rows:
            refuse("no rows")
        if len(set(columns["id"])) < len(rows):
            twice = next(i for i, count in Counter(columns["id"]).items() if count > 1)
            refuse(f"an id that two rows have, {twice}")
        return {name: columns[name] for name in name_columns(path, columns)}


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


def _is_modality(path: Path) -> bool:
    """Whether it is a folder of samples, and not of runs that were started here."""
    if not path.is_dir() or not _is_shown(path):
        return False
    if path.name == "runs" and not any(inner.is_file() for inner in path.iterdir()):
        return False
    return not any(path.glob("run.json")) and not any(path.glob("*/run.json"))


def _is_shown(path: Path) -> bool:
    return not path.name.startswith(".")


def _parse_targets(columns: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Text of targets as text, integers or floats, [rows] or [rows, columns]."""
    known = {n: [c for c in cells if c not in MISSING] for n, cells in columns.items()}
    text = [name for name, cells in known.items() if not _are_numbers(cells)]
    if len(columns) > 1 and text:
        expected = "numbers, or 0 and 1, in several columns of targets"
        raise DataError(LABELS, expected=expected, got=f"text in column {text[0]}")
    whole = all(cell.lstrip("-").isdecimal() for cells in known.values() for cell in cells)
    read = str if text else int if whole and len(columns) == 1 else float
    fill = np.nan if read is float else None
    parsed = [[fill if c in MISSING else read(c) for c in cells] for cells in columns.values()]
    table = np.array(parsed, float if read is float else object).T
    return table[:, 0] if len(columns) == 1 else table


_NUMBER = re.compile(r"[+-]?(0|[1-9]\d{0,14}|\d*\.\d+|\d+\.)(e[+-]?\d{1,3})?|[+-]?inf|nan", re.I)


def _are_numbers(cells: Sequence[str]) -> bool:
    """Whether text is numbers: 007 and 1_000 are names, and so is what has 16 digits."""
    return all(_NUMBER.fullmatch(cell) for cell in cells)
