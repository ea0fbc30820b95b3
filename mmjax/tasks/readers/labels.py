"""The table of labels beside the samples, ``labels.csv``, and the task that both make."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from mmjax.data.coerce import MISSING, is_unnamed, name_columns
from mmjax.data.coerce_inputs import InputKind
from mmjax.data.targets import Kind
from mmjax.data.task import Task
from mmjax.errors import DataError, printable
from mmjax.storage.reading import MAX_SMALL, reading
from mmjax.tasks.readers.formats import FIX
from mmjax.tasks.readers.samples import Stacked

LABELS = "labels.csv"
OTHERS = ("id", "group", "split")
"""Columns of the labels that are not targets."""


class Labels(NamedTuple):
    """What is known of each row beside its samples.

    Attributes:
        ids: names of the rows.
        target: text, integers or floats, [rows] or [rows, columns].
        names: of the columns of the target.
        group: of each row, as in ``Task.from_arrays``.
        split: of each row, likewise.
    """

    ids: Sequence[str]
    target: np.ndarray
    names: tuple[str, ...] = ()
    group: Sequence[str] | np.ndarray | None = None
    split: Sequence[str] | np.ndarray | None = None


def read_labels(path: Path) -> Labels:
    """Reads a table with a column ``id`` of unique names, at least one target, group and split.

    A column without a name, or "Unnamed: 0", holds the row numbers of a data frame, and is skipped.

    Raises:
        DataError: the file is missing or malformed, or an id is repeated.

    Example:
        >>> _ = Path("labels.csv").write_text("id,mood,group\\na,0.5,ann\\nb,-1,bob\\n")
        >>> labels = read_labels(Path("labels.csv"))
        >>> labels.ids, labels.target.tolist(), labels.group, labels.split
        (('a', 'b'), [0.5, -1.0], ('ann', 'bob'), None)
    """
    columns = _read_columns(path)
    targets = {name: cells for name, cells in columns.items() if name not in OTHERS}
    group, split = columns.get("group"), columns.get("split")
    return Labels(columns["id"], _parse_targets(targets), tuple(targets), group, split)


def check_unique(ids: Sequence[str], refuse: Callable[[str], NoReturn]) -> None:
    """Calls ``refuse`` with the first ids that several rows have, if any."""
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated:
        more = f" and {len(repeated) - 3} others" if repeated[3:] else ""
        refuse(f"several rows with the id {', '.join(repeated[:3])}{more}")


def make_task(
    loader: str,
    place: Path,
    samples: Mapping[str, Stacked],
    labels: Labels,
    *,
    seed: int = 0,
    kind: Kind | None = None,
    kinds: Mapping[str, InputKind] | None = None,
) -> Task:
    """Joins samples and labels, row by row, to a task named after the loader and its folder.

    Raises:
        DataError: they do not make a valid task.
    """
    try:
        task = Task.from_arrays(
            {name: stacked.values for name, stacked in samples.items()},
            labels.target,
            name=f"{loader}/{printable(place.resolve().name)}",
            group=labels.group,
            present={name: stacked.present for name, stacked in samples.items()},
            split=labels.split,
            meta={"id": labels.ids},
            seed=seed,
            kind=kind,
            kinds=kinds,
        )
    except DataError as error:  # does not name the folder
        raise DataError(place, expected="a valid task", got=f"{error}"[:500]) from error
    return task if task.kind == "classes" else replace(task, names=labels.names)


def _read_columns(path: Path) -> dict[str, Sequence[str]]:
    """{column: its cells}, with unique ids and at least one target."""
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
        check_unique(columns["id"], refuse)
        return {name: columns[name] for name in name_columns(path, columns)}


def _parse_targets(columns: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Parses target cells as text, integers or floats, [rows] or [rows, columns]."""
    known = {n: [c for c in cells if c not in MISSING] for n, cells in columns.items()}
    text = [name for name, cells in known.items() if not _are_numbers(cells)]
    if len(columns) > 1 and text:
        expected = "numbers, or 0 and 1, where there are several target columns"
        raise DataError(LABELS, expected=expected, got=f"text in column {text[0]}")
    whole = all(cell.lstrip("-").isdecimal() for cells in known.values() for cell in cells)
    read = str if text else int if whole and len(columns) == 1 else float
    fill = np.nan if read is float else None
    parsed = [[fill if c in MISSING else read(c) for c in cells] for cells in columns.values()]
    table = np.array(parsed, float if read is float else object).T
    return table[:, 0] if len(columns) == 1 else table


_NUMBER = re.compile(r"[+-]?(0|[1-9]\d{0,14}|\d*\.\d+|\d+\.)(e[+-]?\d{1,3})?|[+-]?inf|nan", re.I)


def _are_numbers(cells: Sequence[str]) -> bool:
    """Whether all cells are numbers; 007, 1_000 and anything with 16 digits are names."""
    return all(_NUMBER.fullmatch(cell) for cell in cells)
