"""Tables, whose columns are numbers or categories, as float32 [rows, columns].

A category is its place among those of the training rows, from 1 on; 0 stands for missing and for
unknown ones. A missing number is NaN.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mmjax.data.chunks import chunks
from mmjax.data.coerce import find_missing
from mmjax.data.coerce_inputs import as_input, as_numbers, check_precision
from mmjax.data.scale import Scale, find_input_scale
from mmjax.data.table_columns import as_cells, as_columns, is_categorical
from mmjax.data.validate import LARGEST
from mmjax.errors import DataError, UsageError, name_rows, tell

MAX_CATEGORIES = 255
"""Most categories of a column, whose codes bfloat16 represents exactly; rarer ones are unknown."""


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: of the column.
        categories: those of the training rows; None for numbers.
    """

    name: str
    categories: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Table:
    """The rows of a pandas DataFrame, or of a structured NumPy array.

    Columns of text, of booleans and of the pandas type ``category`` are categorical, and cells may
    be missing. The categories are those of the training rows.

    Attributes:
        columns: by default those of the rows, in their order.

    Raises:
        UsageError: columns have the same name, or a column has the same category twice or too many.

    Example:
        >>> cells = [("age", object), ("city", object)]
        >>> rows = np.array([(31, "Oslo"), (None, "Rome"), (70, None)], cells)
        >>> table = Table().fit("patient", rows, *np.ones((2, 3), bool))
        >>> table.columns[1]
        Column(name='city', categories=('Oslo', 'Rome'))
        >>> table.encode("patient", rows[1:])
        array([[nan,  2.],
               [70.,  0.]], dtype=float32)
    """

    columns: tuple[Column, ...] = ()

    encoder: ClassVar[str] = "table"
    axis: ClassVar[str] = "columns"
    attribute: ClassVar[str] = "categories"
    dtype: ClassVar[Any] = np.float32

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(Column(*column) for column in self.columns))
        _check_different("columns", [column.name for column in self.columns])
        for name, categories in self.columns:
            _check_different(f"column {name!r}", categories or ())
            if len(categories or ()) > MAX_CATEGORIES:
                expected, got = f"at most {MAX_CATEGORIES} categories", f"{len(categories or ())}"
                raise UsageError(f"column {name!r}", expected=expected, got=got)

    @property
    def known(self) -> tuple[int, ...]:
        """Number of codes of each column, with the one for unknown categories; 0 for numbers."""
        return tuple(0 if c.categories is None else 1 + len(c.categories) for c in self.columns)

    def fit(self, name: str, given: Any, present: np.ndarray, train: np.ndarray) -> "Table":
        """The table with its columns and their categories, unless it has some."""
        if self.columns:
            return self
        found, seen = as_columns(name, given), present & train
        find = lambda key, cells: _find_categories(f"{name}.{key}", cells[seen])
        return Table(
            tuple(
                Column(key, find(key, as_cells(cells)) if is_categorical(cells) else None)
                for key, cells in found.items()
            )
        )

    def encode(
        self, name: str, given: Any, present: np.ndarray | None = None, ids: Any = None
    ) -> np.ndarray:
        """Codes the columns, in the order of ``columns``; reports unknown categories.

        Raises:
            DataError: a column is missing, or numbers are something else or too large.
        """
        if getattr(given, "dtype", None) == np.float32:
            return given  # coded already
        found = as_columns(name, given)
        if lost := [column.name for column in self.columns if column.name not in found]:
            expected, got = f"a column {lost[0]!r}", ", ".join(found)[:300]
            raise DataError(f"input {name!r}", expected=expected, got=got)
        here = np.ones(len(given), bool) if present is None else present
        coded = np.empty((len(given), len(self.columns)), np.float32)
        numbers = {}
        for index, (key, categories) in enumerate(self.columns):
            where = f"{name}.{key}"
            if categories is None:
                numbers[where] = as_numbers(where, found[key])
                if numbers[where].ndim > 1:
                    got = f"arrays of shape {numbers[where].shape[1:]}"
                    raise DataError(f"input {where!r}", expected="a number per row", got=got)
                coded[:, index] = as_input(where, numbers[where])[:, 0]
            else:
                coded[:, index] = _look_up(where, as_cells(found[key]), categories, here)
        coded[~here] = 0
        self.check(f"input {name!r}", coded, here, ids)
        for where, cells in numbers.items():
            check_precision(where, cells[here & ~find_missing(cells)])
        return coded

    def check(self, where: str, values: np.ndarray, present: np.ndarray, ids: Any = None) -> None:
        """Raises DataError unless these are numbers, or NaN, and codes of known categories."""
        if values.dtype != np.float32 or values.shape[1:] != (len(self.columns),):
            expected = f"float32 [rows, {len(self.columns)}], numbers and codes of categories"
            raise DataError(where, expected=expected, got=f"{values.dtype} {values.shape}")
        most = np.array(self.known, np.float32)
        for index, column in enumerate(self.columns):
            parts = (part[:, index] for part in chunks(values))
            if column.categories is None:
                sound = [np.isnan(x) | (np.abs(x) <= LARGEST) for x in parts]
                expected = f"numbers up to {LARGEST:g}"
            else:
                sound = [(x >= 0) & (x < most[index]) & (x == np.rint(x)) for x in parts]
                expected = f"codes from 0 to {most[index] - 1:.0f}"
            bad = ~np.concatenate(sound) & present
            if bad.any():
                got = f"others in {name_rows(bad, ids)}"
                raise DataError(f"{where}, column {column.name!r}", expected=expected, got=got)

    def say(self, row: np.ndarray) -> str:
        """The columns whose cells are known, with their cells."""
        said = []
        for (name, categories), cell in zip(self.columns, row.tolist(), strict=True):
            if categories is None and not np.isnan(cell):
                said.append(f"{name} {cell:.4g}")
            elif categories and cell > 0:
                said.append(f"{name} {categories[int(cell) - 1]}")
        return ", ".join(said)

    def find_scale(self, values: np.ndarray, present: np.ndarray) -> Scale:
        """The scale of its numbers, over the rows in which they are known; 1 for categories."""
        mean, deviation = find_input_scale(values, present)
        is_code = np.array(self.known) > 0
        return Scale(np.where(is_code, 0, mean), np.where(is_code, 1, deviation))


def _check_different(where: str, names: Sequence[str]) -> None:
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise UsageError(where, expected="different names", got=f"{names}"[:80])


def _find_categories(where: str, cells: np.ndarray) -> tuple[str, ...]:
    """The different cells, sorted; the most frequent if there are too many, which is reported."""
    times = Counter(cell for cell in cells if cell is not None)
    kept = sorted(times, key=lambda cell: (-times[cell], cell))[:MAX_CATEGORIES]
    if len(kept) < len(times):
        took = f"kept the {len(kept)} most frequent of {len(times)} categories"
        tell(f"input {where!r}: {took}, others are unknown; give many as a modality of tokens")
    return tuple(sorted(kept))


def _look_up(
    where: str, cells: np.ndarray, categories: tuple[str, ...], present: np.ndarray
) -> list[int]:
    """The code of each cell; reports cells that are none of the categories."""
    place = {category: code for code, category in enumerate(categories, start=1)}
    codes = [place.get(cell, 0) for cell in cells]
    known = [cell is None or cell in place for cell in cells]
    if (new := present & ~np.array(known, bool)).any():
        first = cells[int(new.argmax())]
        took = f"{new.sum()} cells are none of the {len(place)} categories, such as {first!r:.80}"
        tell(f"input {where!r}: {took}; they count as unknown")
    return codes
