"""Inputs as people have them, made into what a Task holds."""

import datetime
import math
from typing import Any, Literal, get_args

import numpy as np

from mmjax.data.coerce import as_array, as_plain, find_gaps
from mmjax.errors import DataError, look_up, tell

InputKind = Literal["vector", "sequence", "image", "tokens"]
"""What an input can be said to be."""

MAX_VOCABULARY = 1024
"""Different tokens of an input: each becomes a vector of so many numbers."""

_MAX_SEEN = 1 << 16  # values of a feature; of many more, float32 cannot have each its own


def as_numbers(name: str, values: Any) -> np.ndarray:
    """An input as an array of numbers, of any type; objects that are missing are NaN.

    Raises:
        DataError: they are no numbers.
    """
    array = as_array(f"input {name!r}", values)
    if array.dtype.kind == "O":
        array = _with_gaps(array)
    if array.dtype.kind in "fiub":
        return array
    as_given = name_others(values)  # where text has not made text of all else
    got, fix = as_given if as_given[1] else name_others(array)
    if "text" in got and array.ndim == 2:
        got += _name_text(array, values)
    raise DataError(f"input {name!r}", expected="numbers", got=got, fix=fix)


_OTHERS = (
    (
        "dates or durations",
        (datetime.date, datetime.timedelta, np.datetime64, np.timedelta64),
        "Give them as numbers of seconds or days, from a day near to them all.",
    ),
    (
        "complex numbers",
        (complex, np.complexfloating),
        "Give real and imaginary parts, or size and phase, as features of their own.",
    ),
    (
        "text",
        (str, bytes),
        "Leave it out, or make a feature of 0 and 1 of each of its values; "
        "text of digits becomes numbers by .astype(float).",
    ),
)


def name_others(values: Any) -> tuple[str, str]:
    """What values are that are no numbers, and what to do about it."""
    array = as_plain("values", values)
    for name, types, fix in _OTHERS:
        if issubclass(array.dtype.type, types):
            return f"{name}, {array.dtype}", fix
        if array.dtype.kind == "O" and any(isinstance(value, types) for value in array.flat):
            return name, fix
    return str(array.dtype), ""


def _with_gaps(values: np.ndarray) -> np.ndarray:
    """Objects of which some are missing as floats, NaN for those, if that is what they are."""
    try:
        return np.where(find_gaps(values), np.nan, values).astype(np.float64)
    except (TypeError, ValueError):
        return values


def _name_text(table: np.ndarray, given: Any) -> str:
    """The first column of a table [rows, columns] that is no numbers, if one alone is not."""
    columns = enumerate(np.asarray(table, object).T)
    bad = (i for i, column in columns if _with_gaps(column).dtype.kind == "O")
    return next((f" in {_name_feature(i, given)}" for i in bad), " of digits")


def _name_feature(index: int, given: Any) -> str:
    """A feature by its number, or by its column where a table of pandas was given."""
    columns = getattr(given, "columns", None)
    return f"feature {index}" if columns is None else f"column {columns[index]!r}"


def as_input(name: str, values: Any) -> np.ndarray:
    """An input as a Task has it, float32; bytes stay what they are in images and sequences.

    Raises:
        DataError: they are no numbers, or too large for float32.
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
        raise DataError(where, expected="values below 3.4e38", got="larger ones", fix="Rescale.")
    return narrow


def shape_input(name: str, values: np.ndarray, kind: InputKind | None) -> np.ndarray:
    """An input in the shape that says what it is; what is assumed where no kind is given is told.

    Args:
        name: of the input.
        values: numbers [rows, ...].
        kind: what a sample is; by default what its shape says.

    Raises:
        DataError: it cannot be of that kind.
        UnknownNameError: there is no such kind.
    """
    where = f"input {name!r}"
    if kind is None:
        return _assume_shape(where, name, values)
    look_up(f"kind of {where}", kind, dict.fromkeys(get_args(InputKind)))
    if kind == "tokens":
        return _one_hot(where, values)
    if kind == "vector":
        return values.reshape(len(values), -1)
    axes = "[rows, length, features]" if kind == "sequence" else "[rows, height, width, channels]"
    rank = axes.count(",") + 1
    if values.ndim not in (rank - 1, rank):
        expected = f"{kind}s {axes}, of which the last may be left out"
        raise DataError(where, expected=expected, got=f"shape {values.shape}")
    return values if values.ndim == rank else values[..., None]


def _assume_shape(where: str, name: str, values: np.ndarray) -> np.ndarray:
    say = lambda kind: f"kinds={{{name!r}: {kind!r}}}"
    if _is_channels_first(values):
        moved = np.moveaxis(values, 1, -1)
        took = f"samples {values.shape[1:]} taken for images with their channels first"
        tell(f"{where}: {took}, and made {moved.shape[1:]}; {say('image')} leaves them as they are")
        return moved
    integers = values.dtype.kind in "iu" and values.ndim == 2 and values.shape[1] >= 4
    if integers and values.min() >= 0 and values.max() > 1:
        took = f"integers up to {values.max()} taken for numbers"
        tell(f"{where}: {took}; {say('tokens')} takes them for token ids")
    return values


def _is_channels_first(values: np.ndarray) -> bool:
    return values.ndim == 4 and 1 <= values.shape[1] <= 4 and min(values.shape[2:]) > 4


def shape_like(name: str, values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """New rows of an input as those that a Task has, in whatever shape it was made of them.

    Args:
        name: of the input.
        values: numbers [rows, ...].
        like: some rows of the Task that have the input.

    Raises:
        DataError: they are of no such shape, or have tokens that the task has not.
    """
    where, shape = f"input {name!r}", like.shape[1:]
    if values.shape[1:] == shape or (values.ndim == 1 and shape == (1,)):
        return values
    if values.shape[1:] == shape[:-1] and _is_one_hot(like):
        return _one_hot(where, values, shape[-1])
    if _is_channels_first(values) and np.moveaxis(values, 1, -1).shape[1:] == shape:
        return np.moveaxis(values, 1, -1)
    flat = len(shape) == 1 and math.prod(values.shape[1:]) == shape[0]
    if flat or (*values.shape[1:], 1) == shape:
        return values.reshape(len(values), *shape)
    fix = "Make samples of the shape that training rows have."
    if _is_one_hot(like):
        fix = f"Give token ids [rows, {shape[0]}]: cut longer rows, and pad shorter ones."
    expected = f"shape {(len(values), *shape)}"
    raise DataError(where, expected=expected, got=f"{values.shape}", fix=fix)


def _is_one_hot(like: np.ndarray) -> bool:
    tokens = like.ndim == 3 and like.dtype == np.uint8 and len(like) > 0
    return tokens and bool((like.max(axis=-1) == 1).all() and (like.sum(axis=-1) == 1).all())


def _one_hot(where: str, values: np.ndarray, size: int | None = None) -> np.ndarray:
    """Token ids [rows, length] as uint8 [rows, length, vocabulary], a one among zeros.

    Args:
        where: what an error calls them.
        values: the ids.
        size: of a vocabulary that is known; by default it is that of the ids.
    """
    if values.ndim != 2 or not np.isfinite(values).all() or (values != values.round()).any():
        got = f"{values.dtype} of shape {values.shape}"
        fix = "Give one integer a token, and pad short rows."
        raise DataError(where, expected="token ids [rows, length]", got=got, fix=fix)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= (size or MAX_VOCABULARY):
        fix = "Give rare tokens one id; or vectors, as sequences [rows, length, features]."
        if size:
            fix = "Give tokens that training has not an id that it has."
        expected = f"token ids from 0 to {(size or MAX_VOCABULARY) - 1}"
        raise DataError(where, expected=expected, got=f"{low} to {high}", fix=fix)
    tokens = np.zeros((*values.shape, size or high + 1), np.uint8)
    np.put_along_axis(tokens, values.astype(np.int64)[..., None], 1, axis=-1)
    return tokens


def check_precision(name: str, values: np.ndarray, given: Any = None) -> None:
    """Raises DataError where float32 cannot tell apart what differs, such as times since 1970.

    Looked at are all values of a feature, and those of one sample; and how many different values
    are left of a feature. What differs by rounding alone is constant, and no matter.

    Args:
        name: of the input.
        values: [rows, ..., features] of the rows that have it, of the type they were given in.
        given: what they came from; an error names its column if it is a table of pandas.
    """
    if np.can_cast(values.dtype, np.float32) or values.size == 0:
        return
    seen = values.reshape(len(values), -1, values.shape[-1] if values.ndim > 1 else 1)
    there, low = np.isfinite(seen), np.zeros(seen.shape[-1])
    if seen.dtype.kind == "f":
        rest = np.where(there, seen, 0).astype(np.float64)
    else:  # nanoseconds since 1970 are more than float64 can tell apart, too
        low = seen.min(axis=(0, 1))
        rest = (seen.astype(np.int64) - low.astype(np.int64)).view(np.uint64).astype(np.float64)
    unit, high = (np.abs(x).max(axis=(0, 1)) for x in (rest, low + rest))
    unit = np.where(unit > 0, unit, 1)
    rest /= unit  # squares might vanish, or be infinite, without it
    count = lambda axis: np.maximum(there.sum(axis=axis, keepdims=True), 1)
    for axis in ((0, 1), 1):
        mean = rest.sum(axis=axis, keepdims=True, where=there) / count(axis)
        squares = np.square(rest - mean).sum(axis=(0, 1), where=there) / count((0, 1))
        deviation = (unit * np.sqrt(squares)).ravel()
        small = deviation < 1e-30
        lost = (deviation > 1e-12 * unit) & (small | (deviation < 1e-5 * high))
        if lost.any():
            worst = int(lost.argmax())
            got = f"some up to {high[worst]:.6g} that differ by {deviation[worst]:.2g}"
            fix = "Rescale them." if small[worst] else "Subtract their mean first."
            raise _lost(name, f"{got}, in {_name_feature(worst, given)}", fix)
    _check_distinct(name, seen.reshape(-1, seen.shape[-1]), 1e-12 * unit, given)


def _check_distinct(name: str, seen: np.ndarray, rounding: np.ndarray, given: Any) -> None:
    """Raises DataError for a feature of which float32 has less than half the different values.

    Args:
        name: of the input.
        seen: [values, features]; of very many, some are looked at.
        rounding: [features], by how much floats differ that are the same.
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
        got = f"{before[worst]} different ones of which it has {after[worst]}"
        fix = "Subtract what most have in common; say by present=... where values are missing."
        raise _lost(name, f"{got}, in {_name_feature(worst, given)}", fix)


def _lost(name: str, got: str, fix: str) -> DataError:
    expected = "values that float32 can tell apart"
    return DataError(f"input {name!r}", expected=expected, got=got, fix=fix)
