"""A folder of files: one sub-folder per modality, and a table of labels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from mmjax.data.code_table import Table
from mmjax.data.codings import is_coded, make_coding
from mmjax.data.coerce import MISSING
from mmjax.data.coerce_inputs import InputKind
from mmjax.data.splits import make_rng
from mmjax.data.targets import Kind
from mmjax.data.task import Task
from mmjax.errors import DataError, printable
from mmjax.registry import parse_pairs
from mmjax.tasks.readers.by_id import are_numbers, read_by_id, read_cells
from mmjax.tasks.readers.files import READERS
from mmjax.tasks.readers.formats import data_folder, find
from mmjax.tasks.readers.samples import Stacked, stack
from mmjax.types import Coding

LABELS = "labels.csv"
OTHERS = ("id", "group", "split")
"""Columns of the labels that are not targets."""


def folder(
    data: str | Path | None = None,
    *,
    seed: int = 0,
    kind: Kind | None = None,
    kinds: Mapping[str, InputKind | Coding] | str = "",
) -> Task:
    """Reads a folder with a sub-folder for each modality, and ``labels.csv``.

    A sub-folder has one file per row, named after the row: ``image/17.png``, ``audio/17.wav``. A
    row without a file lacks that modality. Pictures (PNG, JPEG) become uint8 [height, width,
    channels]; recordings (WAV, FLAC) become MFCCs [frames, 13], padded with silence to the longest;
    tables of numbers (CSV) become vectors [features] if they have one line, and sequences [lines,
    features] if they have more; arrays (.npy) are used unchanged. All pictures, tables or arrays of
    a modality must have the same shape. A sub-folder of runs is not a modality.

    With ``kinds="review=words,patient=table"``, ``review.csv`` and ``patient.csv`` are modalities,
    too: a text for each row, and a table. They have a column ``id`` and a line for each row, and a
    row without a line lacks the modality.

    The columns of ``labels.csv`` are ``id``, the name of a row's files without extension; the
    optional ``group`` and ``split``, as in ``Task.from_arrays``; and targets. A column without a
    name, or "Unnamed: 0", holds the row numbers of a data frame, and is skipped. A single target
    column of text or integers holds classes, one of other numbers holds numbers; several columns
    hold labels if all values are 0 and 1, and numbers otherwise. Empty cells, and text such as NA,
    are missing.

    Reference: for one modality, ImageFolder of Hugging Face datasets, with its table of metadata
    (https://huggingface.co/docs/datasets/image_dataset, 2022).

    Args:
        data: the folder.
        seed: of the split, if ``labels.csv`` has none.
        kind: what the target is, as for ``Task.from_arrays``.
        kinds: what the modalities are, likewise; or text, such as "notes=tokens,face=image".

    Raises:
        DataError: a file is missing or malformed, or belongs to no row; or samples differ in shape.
        UsageError: a package that reads the files is not installed.

    Example:
        >>> _ = Path("vitals").mkdir()
        >>> for row in range(20):
        ...     _ = Path(f"vitals/r{row}.csv").write_text(f"{60 + row},0.5")
        >>> lines = [f"r{row},{'ill' if row % 2 else 'well'}" for row in range(20)]
        >>> _ = Path("labels.csv").write_text("\\n".join(["id,state", *lines]))
        >>> folder(".", kind="classes").names
        ('ill', 'well')
    """
    make_rng(seed)  # rejects a bad seed before anything is read
    place = data_folder(data)
    if isinstance(kinds, str):  # ``Task.from_arrays`` checks the values
        pairs = parse_pairs("kinds", kinds.split(",") if kinds else ())
        kinds = cast(Mapping[str, InputKind | Coding], pairs)
    columns = read_by_id(find(place, LABELS), "targets", OTHERS)
    modalities = sorted(filter(_is_modality, place.iterdir()))
    read = {path.name: _read_modality(path, columns["id"]) for path in modalities}
    for name, stated in kinds.items():
        path = place / f"{name}.csv"
        if name not in read and is_coded(stated) and path.exists():
            table = isinstance(make_coding(stated), Table)
            read[name] = read_cells(path, columns["id"], table=table)
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
    except DataError as error:  # does not name the folder
        raise DataError(place, expected="a valid task", got=f"{error}"[:500]) from error
    return task if task.kind == "classes" else replace(task, names=names)


def _read_modality(place: Path, ids: Sequence[str]) -> Stacked:
    """The samples of all rows, whose files are found by their names."""
    paths = _find_files(place, set(ids))
    return stack(
        [READERS[p.suffix.lower()](p) if (p := paths.get(i)) else None for i in ids], place
    )


def _find_files(place: Path, ids: set[str]) -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(filter(_is_shown, place.iterdir())):
        if path.suffix.lower() not in READERS:
            raise DataError(path, expected=f"one of {', '.join(READERS)}", got=path.suffix)
        if path.stem not in ids:
            fix = f"Add it to {LABELS}, or remove it from the folder."
            raise DataError(path, expected=f"a row {path.stem} in {LABELS}", got="none", fix=fix)
        if path.stem in found:
            raise DataError(path, expected="one file per row", got=f"{found[path.stem].name}, too")
        found[path.stem] = path
    return found


def _is_modality(path: Path) -> bool:
    """Whether a path is a folder of samples, and not of runs that were started here."""
    if not path.is_dir() or not _is_shown(path):
        return False
    if path.name == "runs" and not any(inner.is_file() for inner in path.iterdir()):
        return False
    return not any(path.glob("run.json")) and not any(path.glob("*/run.json"))


def _is_shown(path: Path) -> bool:
    return not path.name.startswith(".")


def _parse_targets(columns: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Parses target cells as text, integers or floats, [rows] or [rows, columns]."""
    known = {n: [c for c in cells if c not in MISSING] for n, cells in columns.items()}
    text = [name for name, cells in known.items() if not are_numbers(cells)]
    if len(columns) > 1 and text:
        expected = "numbers, or 0 and 1, where there are several target columns"
        raise DataError(LABELS, expected=expected, got=f"text in column {text[0]}")
    whole = all(cell.lstrip("-").isdecimal() for cells in known.values() for cell in cells)
    read = str if text else int if whole and len(columns) == 1 else float
    fill = np.nan if read is float else None
    parsed = [[fill if c in MISSING else read(c) for c in cells] for cells in columns.values()]
    table = np.array(parsed, float if read is float else object).T
    return table[:, 0] if len(columns) == 1 else table
