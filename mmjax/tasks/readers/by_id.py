"""Reads CSV files with a line for each row of a task, named by its column id."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mmjax.data.coerce import MISSING, is_unnamed, name_columns
from mmjax.errors import DataError, tell
from mmjax.storage.reading import reading
from mmjax.tasks.readers.formats import MAX_SMALL
from mmjax.tasks.readers.samples import Stacked, stack_cells

_FIX = (
    "Save it as UTF-8, separate cells by commas, quote those that contain commas, and give each "
    "row an id of its own in a column id."
)


def read_by_id(path: Path, others: str, needed: Sequence[str]) -> dict[str, Sequence[str]]:
    """{column: its cells}, with unique ids.

    Args:
        path: the file.
        others: what an error calls the other columns.
        needed: columns that have no empty cells, if they are there; one other must be.

    Raises:
        DataError: the file is missing or malformed.
    """
    with (
        reading(path, f"a CSV file with a column id and {others}", _FIX, MAX_SMALL) as (
            path,
            refuse,
        ),
        path.open(encoding="utf-8-sig", newline="") as file,
    ):
        lines = csv.reader(file, strict=True, skipinitialspace=True)
        names, *rows = [[cell.strip() for cell in line] for line in lines if line] or [[]]
        rest = {name for name in names if not is_unnamed(name)} - {*needed}
        if "id" not in names or not rest or len(set(names)) < len(names):
            refuse(f"columns {names}"[:300])
        for number, row in enumerate(rows, start=1):
            filled = [cell for name, cell in zip(names, row, strict=False) if name in needed]
            if len(row) != len(names) or not all(filled):
                refuse(f"row {number} with cells {row}"[:300])
        columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
        if not rows:
            refuse("no rows")
        check_unique(columns["id"], refuse)
        return {name: columns[name] for name in name_columns(path, columns)}


def check_unique(ids: Sequence[str], refuse: Callable[[str], NoReturn]) -> None:
    """Calls ``refuse`` with the first ids that several rows have, if any."""
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated:
        more = f" and {len(repeated) - 3} others" if repeated[3:] else ""
        refuse(f"several rows with the id {', '.join(repeated[:3])}{more}")


def read_cells(
    path: Path, ids: Sequence[str], targets: Sequence[str] = (), *, table: bool
) -> Stacked:
    """A modality whose rows are lines of one file: a table, or else a text for each row.

    A column whose cells are numbers holds numbers. A row without a line lacks the modality.

    Args:
        path: the file.
        ids: of the rows.
        targets: names of the columns to predict, none of which the file may have.
        table: whether it is a table.

    Raises:
        DataError: the file is missing or malformed, a line belongs to no row, a column is a target,
            or there are several columns of text.

    Example:
        >>> _ = Path("patient.csv").write_text("id,age,city\\nr1,31,Oslo\\nr3,,Rome\\n")
        >>> read_cells(Path("patient.csv"), ["r1", "r2", "r3"], table=True).values.tolist()
        [(31.0, 'Oslo'), (None, None), (None, 'Rome')]
    """
    columns = read_by_id(path, "others", ["id"])
    if leaked := columns.keys() & {*targets}:
        problem = f"the column {min(leaked)} has the name of a target, which it would give away"
        raise DataError(path, problem, fix="Remove it, or rename it if it is something else.")
    place = {name: number for number, name in enumerate(columns.pop("id"))}
    if unknown := place.keys() - {*ids}:
        fix = "Add it to the labels, or remove the line."
        got = f"a line with the id {min(unknown)}"
        raise DataError(path, expected="lines of rows of the labels", got=got, fix=fix)
    lines = [place.get(name) for name in ids]
    pick = lambda cells: [None if line is None else cells[line] for line in lines]
    if table:
        columns = {name: _parse(f"{path}: {name}", cells) for name, cells in columns.items()}
    return stack_cells({n: pick(cells) for n, cells in columns.items()}, path, table=table)


def _parse(where: str, cells: Sequence[str]) -> list[Any]:
    """Cells as numbers if all are, else as text; None where they are missing."""
    known = [cell for cell in cells if cell not in MISSING]
    words = [cell for cell in known if not are_numbers([cell])]
    if words and len(words) < len(known) / 2:
        tell(f"{where} is read as categories, not numbers, because of {words[0]!r}")
    read = str if words else float
    return [None if cell in MISSING else read(cell) for cell in cells]


_NUMBER = re.compile(r"[+-]?(0|[1-9]\d{0,14}|\d*\.\d+|\d+\.)(e[+-]?\d{1,3})?|[+-]?inf|nan", re.I)


def are_numbers(cells: Sequence[str]) -> bool:
    """Whether all cells are numbers; 007, 1_000 and anything with 16 digits are names."""
    return all(_NUMBER.fullmatch(cell) for cell in cells)
