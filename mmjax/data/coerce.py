"""Arrays as people have them, made into arrays of NumPy with a row for each sample."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mmjax.errors import DataError, name_rows, tell

MISSING = (
    *("", "NA", "<NA>", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "NULL", "null", "None", "NaT"),
    *("NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
"""Text that stands for no value, as ``pandas.read_csv`` has it."""

_GAPS = ("None", "nan", "NaN", "NaT", "<NA>")  # what objects that are no value call themselves


def as_plain(where: str, values: Any) -> np.ndarray:
    """Whatever holds numbers or text, as an array whose type is one of NumPy's own.

    Tensors of PyTorch and bfloat16 of JAX are read, too. What has rows of several shapes, or None
    among them, is an array of objects.

    Raises:
        DataError: some values are masked, the array is sparse, or it cannot be read.
    """
    if _is_masked(values):
        fix = "Fill them in or leave them out; present=... says where a modality is missing."
        raise DataError(where, expected="an array without a mask", got="masked values", fix=fix)
    if "sparse" in str(getattr(values, "layout", "")) or hasattr(values, "todense"):
        got, fix = f"{type(values).__name__}, which is sparse", "Make it dense first."
        raise DataError(where, expected="a dense array", got=got, fix=fix)
    try:
        values = _off_torch(values)
        array = _keep_integers(np.asarray(values), values)
    except Exception as error:  # whatever another library raises
        if not isinstance(values, list | tuple):
            got = f"{type(error).__name__}: {error}"[:300]
            raise DataError(where, expected="an array", got=got) from error
        array = np.empty(len(values), object)
        for row, value in enumerate(values):
            array[row] = value
    if array.dtype.kind == "V" and not issubclass(array.dtype.type, np.void):
        return array.astype(np.float32)
    return array.astype(object) if array.dtype.kind in "ST" else array


def _is_masked(values: Any) -> bool:
    """Whether some values are masked, also those of arrays in a list or in an array of objects."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        return True
    if isinstance(values, np.ndarray):
        return values.dtype.kind == "O" and any(map(_is_masked, values.flat))
    return isinstance(values, list | tuple) and any(map(_is_masked, values))


def _keep_integers(array: np.ndarray, given: Any) -> np.ndarray:
    """Integers from 2**63, which NumPy makes floats beside smaller ones, as they were given."""
    if array.dtype.kind != "f" or not (array >= 2.0**63).any():
        return array
    objects = np.asarray(given, object)
    whole = all(isinstance(value, int | np.integer) and value >= 0 for value in objects.flat)
    return objects.astype(np.uint64) if whole else array


def _off_torch(values: Any) -> Any:
    """Tensors of PyTorch, also in a list, as arrays; all else as it is."""
    if isinstance(values, list | tuple) and any(hasattr(value, "detach") for value in values):
        return [_off_torch(value) for value in values]
    if not hasattr(values, "detach"):
        return values
    values = values.detach().cpu()
    return (values.float() if "bfloat16" in str(values.dtype) else values).numpy()


def as_array(where: str, values: Any) -> np.ndarray:
    """Anything with a row for each sample as an array; objects become numbers or text.

    Raises:
        DataError: rows differ in shape, there are none, some are masked, or the array is sparse.
    """
    array = as_plain(where, values)
    if array.ndim == 0 or len(array) == 0:
        got = "no rows" if array.ndim else f"{type(values).__name__}"
        raise DataError(where, expected="an array with a row for each sample", got=got)
    if array.dtype.kind == "U" and not isinstance(values, np.ndarray):
        array = np.asarray(values, object)  # or NaN in a list would be text
    if array.dtype.kind != "O":
        return array
    if array.ndim == 1 and any(map(_is_cell, array)):
        return _join_cells(where, array)
    return _settle(array)


def _is_cell(value: Any) -> bool:
    """Whether what stands in a column is an array itself."""
    return hasattr(value, "__len__") and not isinstance(value, str | bytes | Mapping)


def _join_cells(where: str, column: np.ndarray) -> np.ndarray:
    """A column of arrays as one array [rows, ...]; NaN where a row has none."""
    cells = [as_plain(where, cell) for cell in column]
    known = [cell.ndim > 0 or not find_missing(cell).all() for cell in cells]
    first = known.index(True)
    shape = cells[first].shape
    for row, cell in enumerate(cells):
        if known[row] and cell.shape != shape:
            got = f"{shape} in row {first} and {cell.shape} in row {row}"
            fix = "Cut or pad them first, in the way that fits the data."
            raise DataError(where, expected="rows of one shape", got=got, fix=fix)
    nothing = np.full(shape, np.nan)
    return np.stack([cell if known[row] else nothing for row, cell in enumerate(cells)])


def _settle(array: np.ndarray) -> np.ndarray:
    """Objects that are all text as text, or all numbers as numbers; others stay as they are."""
    if find_gaps(array).any():
        return array
    if any(isinstance(value, str | bytes) for value in array.flat):
        read = lambda v: v.decode(errors="backslashreplace") if isinstance(v, bytes) else str(v)
        text = [read(value) for value in array.flat]
        return np.array(text).reshape(array.shape)
    try:
        plain = _keep_integers(np.array(array.tolist()), array)
        return plain.astype(np.float64) if plain.dtype.kind == "O" else plain
    except (TypeError, ValueError):
        return array


def find_gaps(array: np.ndarray) -> np.ndarray:
    """Where objects are no value: None, or whatever calls itself NaN."""
    gap = lambda value: not (isinstance(value, str) or _is_cell(value)) and str(value) in _GAPS
    return np.array([gap(value) for value in array.flat], bool).reshape(array.shape)


def find_missing(array: np.ndarray) -> np.ndarray:
    """Where there is no value: None, NaN, or text that stands for it."""
    match array.dtype.kind:
        case "f":
            return np.isnan(array)
        case "O" | "U":
            text = [isinstance(value, str) and value.strip() in MISSING for value in array.flat]
            return np.array(text, bool).reshape(array.shape) | find_gaps(array)
    return np.zeros(array.shape, bool)


def is_unnamed(heading: Any) -> bool:
    """Whether a column has no name, as that of the row numbers of a data frame."""
    if heading is None or heading != heading:  # NaN
        return True
    return isinstance(heading, str) and (not heading or heading.startswith("Unnamed: "))


def name_columns(where: object, columns: Iterable[Any]) -> list[Any]:
    """The columns that have a name, which is told if others are passed over; or all, if none has.

    Args:
        where: the table, for what is told.
        columns: its headings.
    """
    columns = [*columns]
    named = [column for column in columns if not is_unnamed(column)]
    if not named or len(named) == len(columns):
        return columns
    tell(f"{where}: a column without a name is passed over; name it if it is to be read")
    return named


def drop_unnamed(where: str, values: Any) -> Any:
    """A table of pandas without columns that have no name; anything else as it is."""
    if not hasattr(values, "iloc") or not hasattr(values, "columns"):
        return values
    named = name_columns(where, values.columns)
    if len(named) == len(values.columns):
        return values
    return values.loc[:, [not is_unnamed(column) for column in values.columns]]


def tell_order(target: Any, others: Mapping[str, Any]) -> None:
    """Tells of tables of pandas that do not have their rows in the target's order."""
    if not hasattr(target, "iloc"):
        return
    for name, values in others.items():
        if hasattr(values, "iloc") and not values.index.equals(target.index):
            took = "indexes differ, and rows are paired by position"
            tell(f"{name} and target: {took}; pair them by .loc[target.index] if that is wrong")


def as_group(group: Any) -> np.ndarray:
    """Groups, of rows that belong together, as they were given.

    Raises:
        DataError: they are not one integer or text a row, or a row has none.
    """
    group = as_array("group", group)
    expected = "an integer or text for each row"
    if group.ndim != 1 or group.dtype.kind not in "buiU":
        got = f"{group.dtype} of shape {group.shape}"
        raise DataError("group", expected=expected, got=got)
    missing = find_missing(group)
    if missing.any():
        fix = "Rows that belong to no other have a group of their own."
        raise DataError("group", expected=expected, got=f"none in {name_rows(missing)}", fix=fix)
    return group


def check_mapping(name: str, given: Any) -> None:
    """Raises DataError where arrays are not given by name of their modality."""
    if not isinstance(given, Mapping):
        raise DataError(name, expected="{modality: array}", got=type(given).__name__)


def check_length(arrays: Mapping[str, np.ndarray], size: int) -> None:
    """Raises DataError for an array that does not have as many rows as the target."""
    for name, array in arrays.items():
        if len(array) != size:
            raise DataError(name, expected=f"{size} rows, as the target has", got=str(len(array)))
