"""Converts whatever array-likes users have to NumPy arrays with one row per sample."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from mmjax.errors import DataError, name_rows, tell

MISSING = (
    *("", "NA", "<NA>", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "NULL", "null", "None", "NaT"),
    *("NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
"""Text that stands for a missing value, as in ``pandas.read_csv``."""

_GAPS = ("None", "nan", "NaN", "NaT", "<NA>")  # how objects that stand for no value print


def as_plain(where: str, values: Any) -> np.ndarray:
    """Converts anything that holds numbers or text to an array of one of NumPy's own types.

    PyTorch tensors and JAX's bfloat16 are accepted. Ragged rows, or rows with None among them,
    become an array of objects.

    Raises:
        DataError: values are masked, the array is sparse, or it cannot be converted.

    Example:
        >>> as_plain("target", ["a", "b"]).tolist()
        ['a', 'b']
    """
    if _is_masked(values):
        fix = "Fill or drop them; if a modality is missing, pass present=..."
        raise DataError(where, expected="an array without a mask", got="masked values", fix=fix)
    if "sparse" in str(getattr(values, "layout", "")) or hasattr(values, "todense"):
        got, fix = f"{type(values).__name__}, which is sparse", "Convert it first."
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
    """Whether any values are masked, including those of arrays in a list or an object array."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        return True
    if isinstance(values, np.ndarray):
        return values.dtype.kind == "O" and any(map(_is_masked, values.flat))
    return isinstance(values, list | tuple) and any(map(_is_masked, values))


def _keep_integers(array: np.ndarray, given: Any) -> np.ndarray:
    """Undoes NumPy's conversion to float of integers from 2**63 beside smaller ones."""
    if array.dtype != np.float64 or not (array >= 2.0**63).any():
        return array
    objects = np.asarray(given, object)
    whole = all(isinstance(value, int | np.integer) and value >= 0 for value in objects.flat)
    return objects.astype(np.uint64) if whole else array


def _off_torch(values: Any) -> Any:
    """PyTorch tensors, also in a list, as arrays; anything else unchanged."""
    if isinstance(values, list | tuple) and any(hasattr(value, "detach") for value in values):
        return [_off_torch(value) for value in values]
    if not hasattr(values, "detach"):
        return values
    values = values.detach().cpu()
    return (values.float() if "bfloat16" in str(values.dtype) else values).numpy()


def check_one_shape(
    where: str,
    cells: Mapping[int, np.ndarray],
    fix: str = "Crop or pad them first, in whatever way suits the data.",
) -> Mapping[int, np.ndarray]:
    """The cells by row as they are.

    Raises:
        DataError: their shapes differ.

    Example:
        >>> cells = {0: np.ones(3), 2: np.ones(3)}
        >>> check_one_shape("input", cells) is cells
        True
    """
    first = next(iter(cells))
    for row, cell in cells.items():
        if cell.shape != cells[first].shape:
            got = f"{cells[first].shape} in row {first} and {cell.shape} in row {row}"
            raise DataError(where, expected="rows of one shape", got=got, fix=fix)
    return cells


def as_array(
    where: str,
    values: Any,
    fit: Callable[[str, Mapping[int, np.ndarray]], Mapping[int, np.ndarray]] = check_one_shape,
) -> np.ndarray:
    """Converts anything with one row per sample to an array; objects become numbers or text.

    Args:
        where: what an error calls it.
        values: the rows.
        fit: brings the arrays of a column, by row, to one shape.

    Raises:
        DataError: there are no rows, their shapes differ, values are masked, or the array is
            sparse.

    Example:
        >>> as_array("input", [[1, 2], [3, 4]]).shape
        (2, 2)
    """
    array = as_plain(where, values)
    if array.ndim == 0 or len(array) == 0:
        got = "no rows" if array.ndim else f"{type(values).__name__}"
        raise DataError(where, expected="an array with one row per sample", got=got)
    if array.dtype.kind == "U" and not isinstance(values, np.ndarray):
        array = np.asarray(values, object)  # otherwise NaN in a list would become text
    if array.dtype.kind != "O":
        return array
    if array.ndim == 1 and any(map(_is_cell, array)):
        return _join_cells(where, array, fit)
    return _settle(array)


def _is_cell(value: Any) -> bool:
    """Whether an element of a column is itself an array."""
    return hasattr(value, "__len__") and not isinstance(value, str | bytes | Mapping)


def _join_cells(where: str, column: np.ndarray, fit: Callable) -> np.ndarray:
    """A column of arrays as one array [rows, ...]; NaN where a row is missing."""
    cells = {row: as_plain(where, cell) for row, cell in enumerate(column)}
    known = {row: x for row, x in cells.items() if x.ndim > 0 or not find_missing(x).all()}
    fitted = fit(where, known)
    nothing = np.full(next(iter(fitted.values())).shape, np.nan)
    return np.stack([fitted.get(row, nothing) for row in cells])


def _settle(array: np.ndarray) -> np.ndarray:
    """Objects as text if any is text, else as numbers if possible; with gaps, unchanged."""
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
    """Where objects are missing: None, or whatever prints as NaN.

    Example:
        >>> find_gaps(np.array(["a", None, float("nan")], object)).tolist()
        [False, True, True]
    """
    gap = lambda value: not (isinstance(value, str) or _is_cell(value)) and str(value) in _GAPS
    return np.array([gap(value) for value in array.flat], bool).reshape(array.shape)


def find_missing(array: np.ndarray) -> np.ndarray:
    """Where values are missing: None, NaN, or text that stands for them.

    Example:
        >>> find_missing(np.array(["a", "N/A", ""])).tolist()
        [False, True, True]
    """
    match array.dtype.kind:
        case "f":
            return np.isnan(array)
        case "O" | "U":
            text = [isinstance(value, str) and value.strip() in MISSING for value in array.flat]
            return np.array(text, bool).reshape(array.shape) | find_gaps(array)
    return np.zeros(array.shape, bool)


def is_unnamed(heading: Any) -> bool:
    """Whether a column has no name, such as the row numbers of a data frame.

    Example:
        >>> is_unnamed("age"), is_unnamed("Unnamed: 0")
        (False, True)
    """
    if heading is None or heading != heading:  # NaN
        return True
    return isinstance(heading, str) and (not heading or heading.startswith("Unnamed: "))


def name_columns(where: object, columns: Iterable[Any]) -> list[Any]:
    """The columns that have a name, or all if none has; reports on stderr if any are skipped.

    Args:
        where: the table, for the report.
        columns: its headings.

    Example:
        >>> name_columns("patients.csv", ["", "age", "height"])
        ['age', 'height']
    """
    columns = [*columns]
    named = [column for column in columns if not is_unnamed(column)]
    if not named or len(named) == len(columns):
        return columns
    tell(f"{where}: skipped a column without a name; name the column if it should be read")
    return named


def drop_unnamed(where: str, values: Any) -> Any:
    """A pandas table without its unnamed columns; anything else unchanged.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"Unnamed: 0": [0], "age": [31]})
        >>> drop_unnamed("patients", table).columns.tolist()
        ['age']
    """
    if not hasattr(values, "iloc") or not hasattr(values, "columns"):
        return values
    named = name_columns(where, values.columns)
    if len(named) == len(values.columns):
        return values
    return values.loc[:, [not is_unnamed(column) for column in values.columns]]


def tell_order(target: Any, others: Mapping[str, Any]) -> None:
    """Reports on stderr pandas tables whose index differs from the target's.

    Example:
        >>> import pandas as pd
        >>> ages = pd.DataFrame({"age": [31, 35]}, index=[1, 0])
        >>> tell_order(pd.Series([0, 1]), {"patient": ages})  # on stderr
    """
    if not hasattr(target, "iloc"):
        return
    for name, values in others.items():
        if hasattr(values, "iloc") and not values.index.equals(target.index):
            took = "indexes differ, so rows are paired by position"
            tell(f"{name} and target: {took}; use .loc[target.index] to pair them by index")


def as_group(group: Any) -> np.ndarray:
    """The group that each row belongs to, as an array.

    Raises:
        DataError: there is not one integer or string per row.

    Example:
        >>> as_group(["ann", "ann", "bob"]).tolist()
        ['ann', 'ann', 'bob']
    """
    group = as_array("group", group)
    expected = "an integer or a string for each row"
    if group.ndim != 1 or group.dtype.kind not in "buiU":
        got = f"{group.dtype} of shape {group.shape}"
        raise DataError("group", expected=expected, got=got)
    missing = find_missing(group)
    if missing.any():
        got = f"missing values in {name_rows(missing)}"
        fix = "Give a row that belongs with no other a group of its own."
        raise DataError("group", expected=expected, got=got, fix=fix)
    return group


def check_mapping(name: str, given: Any, of: str = "array") -> None:
    """Raises DataError unless arrays, or others, are given by the names of their modalities.

    Example:
        >>> check_mapping("inputs", {"audio": np.ones((2, 3))})
    """
    if not isinstance(given, Mapping):
        raise DataError(name, expected=f"{{modality: {of}}}", got=type(given).__name__)


def check_length(arrays: Mapping[str, np.ndarray], size: int) -> None:
    """Raises DataError for an array whose number of rows differs from the target's.

    Example:
        >>> check_length({"audio": np.ones((2, 3))}, size=2)
    """
    for name, array in arrays.items():
        if len(array) != size:
            raise DataError(name, expected=f"{size} rows, as in the target", got=str(len(array)))
