"""The columns of tables: where they come from, which are categorical, and what is missing."""

from typing import Any

import numpy as np

from mmjax.data.coerce import find_missing
from mmjax.errors import DataError


def has_columns(given: Any) -> bool:
    """Whether this is a pandas DataFrame or a structured array.

    Example:
        >>> has_columns(np.array([(1, 2.5)], dtype=[("age", int), ("height", float)]))
        True
    """
    frame = hasattr(given, "columns") and hasattr(given, "iloc")
    return frame or bool(getattr(getattr(given, "dtype", None), "names", None))


def as_columns(name: str, given: Any) -> dict[str, Any]:
    """{column: its cells} of a data frame or a structured array.

    Raises:
        DataError: it is neither, or has no rows or columns, or two columns of the same name; or
            cells are arrays.

    Example:
        >>> table = np.array([(1, 2.5)], dtype=[("age", int), ("height", float)])
        >>> {name: cells.tolist() for name, cells in as_columns("patient", table).items()}
        {'age': [1], 'height': [2.5]}
    """
    where = f"input {name!r}"
    if not has_columns(given):
        expected = "a pandas DataFrame or a structured array"
        raise DataError(where, expected=expected, got=type(given).__name__)
    if hasattr(given, "iloc"):
        pairs = [(key, given.iloc[:, index]) for index, key in enumerate(given.columns)]
    else:
        pairs = [(key, given[key]) for key in given.dtype.names]
    found = {str(key): cells for key, cells in pairs}
    flat = all(np.ndim(cells) == 1 for _, cells in pairs)
    if len(given) == 0 or not found or len(found) < len(pairs) or not flat:
        expected, got = "rows, in columns with different names", ", ".join(str(k) for k, _ in pairs)
        raise DataError(where, expected=expected, got=f"{len(given)} rows of columns {got}"[:300])
    return found


def is_categorical(cells: Any) -> bool:
    """Whether a column holds categories: text, booleans, or the pandas type ``category``.

    Example:
        >>> is_categorical(["red", "blue"]), is_categorical([1, 2])
        (True, False)
    """
    if str(getattr(cells, "dtype", "")) == "category":
        return True
    array = np.asarray(cells)
    array = array if array.dtype.kind in "iuf" else np.asarray(cells, object)
    return array.dtype.kind == "O" and any(isinstance(x, str | bytes | bool) for x in array.flat)


def has_gaps(cells: Any, present: np.ndarray) -> bool:
    """Whether a cell of numbers is missing in a row that has the modality.

    Example:
        >>> has_gaps([1.0, np.nan], present=np.array([True, True]))
        True
    """
    array = np.asarray(cells)
    return array.shape == present.shape and bool((find_missing(array) & present).any())


def as_cells(cells: Any) -> np.ndarray:
    """A column of categories as text [rows], with None where it is missing.

    Example:
        >>> as_cells(["red", None, 3.0]).tolist()
        ['red', None, '3']
    """
    array = np.asarray(cells, object)
    missing = find_missing(array)
    said = [None if gone else _say(x) for x, gone in zip(array, missing, strict=True)]
    return np.array(said, object)


def _say(value: Any) -> str:
    """A category as text; whole numbers become floats beside missing ones."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)
