"""Converts inputs to the arrays that a Task holds."""

import datetime
import math
from functools import partial
from typing import Any, Literal

import numpy as np

from mmjax.data.coerce import as_array, as_plain, find_gaps
from mmjax.data.ragged import level
from mmjax.errors import DataError, tell
from mmjax.types import Coding

InputKind = Literal[
    "vector", "sequence", "image", "video", "volume", "tokens", "bytes", "words", "table"
]
"""What the samples of an input can be declared as; see ``mmjax.data.codings`` for the last four."""

_AXES = {
    "sequence": "[rows, length, features]",
    "image": "[rows, height, width, channels]",
    "video": "[rows, time, height, width, channels]",
    "volume": "[rows, depth, height, width, channels]",
}

_MAX_SEEN = 1 << 16  # values of a feature; float32 cannot tell many more apart anyway


def sample_rank(kind: InputKind | Coding | None) -> int | None:
    """Number of axes of a sample of a kind; None if the kind does not determine it.

    Example:
        >>> sample_rank("image"), sample_rank(None)
        (3, None)
    """
    return _AXES[kind].count(",") if isinstance(kind, str) and kind in _AXES else None


def as_numbers(
    name: str, values: Any, rank: int | None = None, size: tuple[int, int] | None = None
) -> np.ndarray:
    """An input as a numeric array of any type; missing objects become NaN.

    Rows of unequal shape are brought to one, as ``data.ragged.level`` says.

    Args:
        name: of the input.
        values: one row per sample.
        rank: number of axes of a sample, if known.
        size: height and width of pictures that differ in size; by default their medians.

    Raises:
        DataError: the values are not numeric, or their rows cannot be brought to one shape.

    Example:
        >>> as_numbers("age", [3, None]).tolist()
        [3.0, nan]
    """
    array = as_array(f"input {name!r}", values, partial(level, rank=rank, size=size))
    if array.dtype.kind == "O":
        array = _with_gaps(array)
    if array.dtype.kind in "fiub":
        return array
    as_given = name_others(values)  # before text turned everything else into text
    got, fix = as_given if as_given[1] else name_others(array)
    if "text" in got and array.ndim == 2:
        got += _name_text(array, values)
    raise DataError(f"input {name!r}", expected="numbers", got=got, fix=fix)


_OTHERS = (
    (
        "dates or durations",
        (datetime.date, datetime.timedelta, np.datetime64, np.timedelta64),
        "Convert them to seconds or days since a date close to all of them.",
    ),
    (
        "complex numbers",
        (complex, np.complexfloating),
        "Give real and imaginary parts, or magnitude and phase, as separate features.",
    ),
    (
        "text",
        (str, bytes),
        "To read it, state kinds={...: 'words'}, 'bytes' or 'table'; .astype(float) reads digits.",
    ),
)


def name_others(values: Any) -> tuple[str, str]:
    """What values that are not numeric are, and what to do about it."""
    array = as_plain("values", values)
    for name, types, fix in _OTHERS:
        if issubclass(array.dtype.type, types):
            return f"{name}, {array.dtype}", fix
        if array.dtype.kind == "O" and any(isinstance(value, types) for value in array.flat):
            return name, fix
    return str(array.dtype), ""


def _with_gaps(values: np.ndarray) -> np.ndarray:
    """Objects as floats, with NaN where they are missing; unchanged if they are not numbers."""
    try:
        return np.where(find_gaps(values), np.nan, values).astype(np.float64)
    except (TypeError, ValueError):
        return values


def _name_text(table: np.ndarray, given: Any) -> str:
    """Names the first column of a table [rows, columns] that is not numeric."""
    columns = enumerate(np.asarray(table, object).T)
    bad = (i for i, column in columns if _with_gaps(column).dtype.kind == "O")
    return next((f" in {_name_feature(i, given)}" for i in bad), " of digits")


def _name_feature(index: int, given: Any) -> str:
    """Names a feature by its column if a pandas table was given, else by its index."""
    columns = getattr(given, "columns", None)
    return f"feature {index}" if columns is None else f"column {columns[index]!r}"


def as_input(name: str, values: Any) -> np.ndarray:
    """An input as a Task holds it: float32, or uint8 for images and sequences of bytes.

    Raises:
        DataError: the values are not numeric, or too large for float32.

    Example:
        >>> as_input("age", [3, 4]).dtype.name
        'float32'
    """
    values = as_numbers(name, values)
    if values.dtype == np.uint8 and values.ndim > 2:
        return values
    if values.ndim == 1:
        values = values[:, None]
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    if (np.isinf(narrow) & np.isfinite(values)).any():
        where = f"input {name!r}"
        fix = "Rescale them."
        raise DataError(where, expected="values below 3.4e38", got="larger ones", fix=fix)
    return narrow


def shape_input(name: str, values: np.ndarray, kind: InputKind | None) -> np.ndarray:
    """An input in the shape of its kind; assumptions are reported on stderr if none is given.

    Args:
        name: of the input.
        values: numbers [rows, ...].
        kind: what a sample is; by default inferred from its shape.

    Raises:
        DataError: the values cannot be of that kind.

    Example:
        >>> shape_input("scan", np.zeros((5, 28, 28)), "image").shape
        (5, 28, 28, 1)
    """
    where = f"input {name!r}"
    if kind is None:
        return _assume_shape(where, name, values)
    if kind == "vector":
        return values.reshape(len(values), -1)
    axes = _AXES[kind]
    rank = axes.count(",") + 1
    if values.ndim not in (rank - 1, rank):
        expected = f"{kind}s {axes}, where the last axis is optional"
        raise DataError(where, expected=expected, got=f"shape {values.shape}")
    return values if values.ndim == rank else values[..., None]


def _assume_shape(where: str, name: str, values: np.ndarray) -> np.ndarray:
    say = lambda kind: f"kinds={{{name!r}: {kind!r}}}"
    if _is_channels_first(values):
        moved = np.moveaxis(values, 1, -1)
        took = f"assumed that samples {values.shape[1:]} are images with channels first"
        tell(f"{where}: {took}, moved to {moved.shape[1:]}; {say('image')} keeps the axes in place")
        return moved
    if values.ndim == 5:
        took = f"assumed that samples {values.shape[1:]} are videos, time first and channels last"
        tell(f"{where}: {took}; {say('volume')} treats them as volumes")
    integers = values.dtype.kind in "iu" and values.ndim == 2 and values.shape[1] >= 4
    if integers and values.min() >= 0 and values.max() > 1:
        took = f"assumed that integers up to {values.max()} are numbers"
        tell(f"{where}: {took}; {say('tokens')} treats them as token ids")
    return values


def _is_channels_first(values: np.ndarray) -> bool:
    return values.ndim == 4 and 1 <= values.shape[1] <= 4 and min(values.shape[2:]) > 4


def shape_like(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Converts new rows of an input as the rows of a Task were.

    Args:
        name: of the input.
        values: numbers [rows, ...].
        shape: of a sample of the Task.

    Raises:
        DataError: no conversion gives the Task's shape.

    Example:
        >>> shape_like("image", np.ones((2, 8, 8)), shape=(8, 8, 1)).shape
        (2, 8, 8, 1)
    """
    if values.shape[1:] == shape or (values.ndim == 1 and shape == (1,)):
        return values
    if _is_channels_first(values) and np.moveaxis(values, 1, -1).shape[1:] == shape:
        return np.moveaxis(values, 1, -1)
    flat = len(shape) == 1 and math.prod(values.shape[1:]) == shape[0]
    if flat or (*values.shape[1:], 1) == shape:
        return values.reshape(len(values), *shape)
    expected, fix = f"shape {(len(values), *shape)}", "Give samples of the training rows' shape."
    raise DataError(f"input {name!r}", expected=expected, got=f"{values.shape}", fix=fix)


def check_precision(name: str, values: np.ndarray, given: Any = None) -> None:
    """Raises DataError where float32 cannot resolve differences, such as between timestamps.

    Checked are the spread of a feature over all rows and within a sample, and how many of its
    distinct values remain. Values that differ only by rounding count as constant.

    Args:
        name: of the input.
        values: [rows, ..., features] where the input is present, in the type they were given in.
        given: what they came from; an error names its column if it is a pandas table.

    Example:
        >>> check_precision("year", np.array([[1999.0], [2001.0]]))
    """
    if np.can_cast(values.dtype, np.float32) or values.size == 0:
        return
    seen = values.reshape(len(values), -1, values.shape[-1] if values.ndim > 1 else 1)
    there, low = np.isfinite(seen), np.zeros(seen.shape[-1])
    if seen.dtype.kind == "f":
        rest = np.where(there, seen, 0).astype(np.float64)
    else:  # not even float64 can tell nanoseconds since 1970 apart
        low = seen.min(axis=(0, 1))
        rest = (seen.astype(np.int64) - low.astype(np.int64)).view(np.uint64).astype(np.float64)
    unit, high = (np.abs(x).max(axis=(0, 1)) for x in (rest, low + rest))
    unit = np.where(unit > 0, unit, 1)
    rest /= unit  # or else squares might underflow or overflow
    count = lambda axis: np.maximum(there.sum(axis=axis, keepdims=True), 1)
    for axis in ((0, 1), 1):
        mean = rest.sum(axis=axis, keepdims=True, where=there) / count(axis)
        squares = np.square(rest - mean).sum(axis=(0, 1), where=there) / count((0, 1))
        deviation = (unit * np.sqrt(squares)).ravel()
        small = deviation < 1e-30
        lost = (deviation > 1e-12 * unit) & (small | (deviation < 1e-5 * high))
        if lost.any():
            worst = int(lost.argmax())
            got = f"values up to {high[worst]:.6g} that differ by {deviation[worst]:.2g}"
            fix = "Rescale them." if small[worst] else "Subtract their mean."
            raise _lost(name, f"{got}, in {_name_feature(worst, given)}", fix)
    _check_distinct(name, seen.reshape(-1, seen.shape[-1]), 1e-12 * unit, given)


def _check_distinct(name: str, seen: np.ndarray, rounding: np.ndarray, given: Any) -> None:
    """Raises DataError for a feature that keeps less than half its distinct values in float32.

    Args:
        name: of the input.
        seen: [values, features]; if there are very many, a sample of them is checked.
        rounding: [features], below which floats do not count as different.
        given: as for ``check_precision``.
    """
    if len(seen) > _MAX_SEEN:
        seen = seen[np.random.default_rng(0).integers(0, len(seen), _MAX_SEEN)]
    seen = np.sort(seen, axis=0)
    gaps = np.diff(seen, axis=0)
    differ = gaps > rounding if seen.dtype.kind == "f" else gaps != 0
    kept = differ & (np.diff(seen.astype(np.float32), axis=0) != 0)
    before, after = differ.sum(axis=0) + 1, kept.sum(axis=0) + 1
    lost = after < before / 2
    if lost.any():
        worst = int(lost.argmax())
        got = f"{before[worst]} different values, of which float32 keeps {after[worst]}"
        fix = "Subtract what most have in common; if values are missing, pass present=..."
        raise _lost(name, f"{got}, in {_name_feature(worst, given)}", fix)


def _lost(name: str, got: str, fix: str) -> DataError:
    expected = "values that float32 can tell apart"
    return DataError(f"input {name!r}", expected=expected, got=got, fix=fix)
