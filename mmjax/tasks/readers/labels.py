"""The table of labels beside the samples, ``labels.csv``, and the task that both make."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmjax.data.coerce import MISSING
from mmjax.data.coerce_inputs import InputKind
from mmjax.data.targets import Kind
from mmjax.data.task import Task
from mmjax.errors import DataError, printable
from mmjax.tasks.readers.by_id import are_numbers, read_by_id
from mmjax.tasks.readers.samples import Stacked
from mmjax.types import Coding

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
    columns = read_by_id(path, "targets", OTHERS)
    targets = {name: cells for name, cells in columns.items() if name not in OTHERS}
    group, split = columns.get("group"), columns.get("split")
    return Labels(columns["id"], _parse_targets(targets), tuple(targets), group, split)


def make_task(
    loader: str,
    place: Path,
    samples: Mapping[str, Stacked],
    labels: Labels,
    *,
    seed: int = 0,
    kind: Kind | None = None,
    kinds: Mapping[str, InputKind | Coding] | None = None,
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


def _parse_targets(columns: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Parses target cells as text, integers or floats, [rows] or [rows, columns]."""
    known = {n: [c for c in cells if c not in MISSING] for n, cells in columns.items()}
    text = [name for name, cells in known.items() if not are_numbers(cells)]
    if len(columns) > 1 and text:
        expected = "numbers, or 0 and 1, where there are several target columns"
        fix = "Move what models should read to another CSV, and drop what they should not."
        raise DataError(LABELS, expected=expected, got=f"text in column {text[0]}", fix=fix)
    whole = all(cell.lstrip("-").isdecimal() for cells in known.values() for cell in cells)
    read = str if text else int if whole and len(columns) == 1 else float
    fill = np.nan if read is float else None
    parsed = [[fill if c in MISSING else read(c) for c in cells] for cells in columns.values()]
    table = np.array(parsed, float if read is float else object).T
    return table[:, 0] if len(columns) == 1 else table
