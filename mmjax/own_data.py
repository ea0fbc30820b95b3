"""Arrays as people have them, made into what a Task holds."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mmjax.errors import DataError
from mmjax.targets import UNLABELLED, Kind


class Encoded(NamedTuple):
    """A target as a Task has it, but for numbers, which are yet to be standardised.

    Attributes:
        values: classes, labels or numbers.
        kind: which of them.
        names: of the classes, from 0; of labels and numbers none are known.
    """

    values: np.ndarray
    kind: Kind
    names: tuple[str, ...] = ()

    @property
    def strata(self) -> np.ndarray:
        """What each split is to have its share of, [rows]: classes, or nothing in particular."""
        return self.values if self.kind == "classes" else np.zeros(len(self.values), int)


def as_array(name: str, values: Any) -> np.ndarray:
    """Anything with a row for each sample as an array; objects become numbers or text.

    Raises:
        DataError: rows differ in shape, there are none, or some are masked.
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        fix = "Fill them in or leave them out; present=... says where a modality is missing."
        raise DataError(name, expected="an array without a mask", got="masked values", fix=fix)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(name, expected="rows of one shape", got=str(error)) from error
    if array.ndim == 0 or len(array) == 0:
        got = "no rows" if array.ndim else f"{type(values).__name__}"
        raise DataError(name, expected="an array with a row for each sample", got=got)
    if array.dtype.kind == "U" and not isinstance(values, np.ndarray):
        array = np.asarray(values, object)  # or NaN in a list would be text
    if array.dtype.kind == "S":
        array = array.astype(object)
    return _settle(array) if array.dtype.kind == "O" else array


def _settle(array: np.ndarray) -> np.ndarray:
    """Objects that are all text as text, or all numbers as numbers; others stay as they are."""
    if _is_missing(array).any():
        return array
    if any(isinstance(value, str | bytes) for value in array.flat):
        text = [v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in array.flat]
        return np.array(text).reshape(array.shape)
    try:
        plain = np.array(array.tolist())
        return plain.astype(np.float64) if plain.dtype.kind == "O" else plain
    except (TypeError, ValueError):
        return array


def _is_missing(array: np.ndarray) -> np.ndarray:
    """Where there is no value: None, or whatever calls itself NaN."""
    missing = lambda value: not isinstance(value, str) and str(value) in _MISSING
    return np.array([missing(value) for value in array.flat], bool).reshape(array.shape)


_MISSING = ("None", "nan", "NaN", "NaT", "<NA>")


def encode_target(target: Any, hidden: np.ndarray | None = None) -> Encoded:
    """What a target is, and its values.

    Text and integers [rows] are classes, named as they are and counted from 0 in their order; bool
    and integers [rows, labels] are labels; floats are numbers, [rows] or [rows, numbers].

    Args:
        target: array, [rows] or [rows, columns].
        hidden: [rows] bool; if all of these rows, and no others, have -1, NaN or None for a target,
            they are unlabelled.

    Raises:
        DataError: it is none of these, or has almost as many classes as rows.
    """
    values = as_array("target", target)
    if hidden is not None and hidden.any() and not hidden.all():
        known = _is_known(values)
        if not known[hidden].any() and known[~hidden].all():
            return _leave_open(encode_target(values[~hidden]), hidden)
    if values.dtype.kind == "O":
        _check_there(values)
    if values.dtype.kind == "f" and values.ndim in (1, 2):
        return Encoded(values.astype(np.float64).reshape(len(values), -1), "numbers")
    if values.dtype.kind in "bui" and values.ndim == 2:
        if not np.isin(values, (0, 1)).all():
            got = f"integers from {values.min()} to {values.max()} of shape {values.shape}"
            fix = "Classes are of shape [rows]; numbers are floats."
            raise DataError("target", expected="labels 0 and 1 [rows, labels]", got=got, fix=fix)
        return Encoded(values.astype(np.int32), "labels")
    if values.dtype.kind not in "buiU" or values.ndim != 1:
        raise DataError(
            "target",
            expected="a class for each row, labels 0 and 1 [rows, labels], or floats",
            got=f"{values.dtype} of shape {values.shape}",
        )
    classes, index = np.unique(values, return_inverse=True)
    if len(classes) > max(2, len(values) / 2):
        raise DataError(
            "target",
            expected="classes, each of them in several rows",
            got=f"{len(classes)} different values in {len(values)} rows",
            fix="Are they numbers? Then give them as floats.",
        )
    return Encoded(index.astype(np.int32), "classes", tuple(map(str, classes)))


def _is_known(target: np.ndarray) -> np.ndarray:
    """Which rows have a target, [rows] bool."""
    known: np.ndarray = np.ones(target.shape, bool)
    match target.dtype.kind:
        case "O":
            known = ~_is_missing(target)
        case "f":
            known = ~np.isnan(target)
        case "i":
            known = np.asarray(target != UNLABELLED)
    return known.reshape(len(target), -1).max(axis=1)


def _leave_open(known: Encoded, hidden: np.ndarray) -> Encoded:
    """The target of all rows, of which the hidden ones are not labelled."""
    shape = (len(hidden), *known.values.shape[1:])
    nothing = np.nan if known.kind == "numbers" else UNLABELLED
    values = np.full(shape, nothing, known.values.dtype)
    values[~hidden] = known.values
    return known._replace(values=values)


def _check_there(values: np.ndarray) -> None:
    """Raises DataError where a row has None or NaN for a class: text of it would be one more."""
    missing = _is_missing(values).reshape(len(values), -1).any(axis=1)
    if missing.any():
        got = f"none in {missing.sum()} rows, first in row {missing.argmax()}"
        raise DataError("target", expected="a class for each row", got=got, fix="Leave them out.")


def as_numbers(name: str, values: Any) -> np.ndarray:
    """An input as an array of numbers, of any type; objects that are missing are NaN.

    Raises:
        DataError: they are no numbers.
    """
    values = as_array(f"input {name!r}", values)
    if values.dtype.kind == "O":
        values = _with_gaps(values)
    if values.dtype.kind not in "fiub":
        raise DataError(f"input {name!r}", expected="numbers", got=str(values.dtype))
    return values


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


def _with_gaps(values: np.ndarray) -> np.ndarray:
    """Objects of which some are missing as floats, NaN for those, if that is what they are."""
    try:
        return np.where(_is_missing(values), np.nan, values).astype(np.float64)
    except (TypeError, ValueError):
        return values


def check_precision(name: str, values: np.ndarray) -> None:
    """Raises DataError where rows differ by less than float32 can tell, such as times since 1970.

    What differs by rounding alone is constant, and no matter.

    Args:
        name: of the input.
        values: [rows, ..., features] as they were given.
    """
    if np.can_cast(values.dtype, np.float32) or values.size == 0:
        return
    seen = values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1).astype(np.float64)
    there = np.isfinite(seen)
    high = np.abs(seen).max(axis=0, initial=0, where=there)
    count = np.maximum(there.sum(axis=0), 1)
    mean = seen.sum(axis=0, where=there) / count
    deviation = np.sqrt(np.square(seen - mean).sum(axis=0, where=there) / count)
    lost = (deviation < 1e-5 * high) & (deviation > 1e-12 * high)
    if lost.any():
        feature = lost.argmax()
        raise DataError(
            f"input {name!r}",
            expected="values that float32 can tell apart",
            got=f"{mean[feature]:.6g} +- {deviation[feature]:.2g} in feature {feature}",
            fix="Subtract their mean first.",
        )


def as_group(group: Any) -> np.ndarray:
    """Groups, of rows that belong together, as they were given.

    Raises:
        DataError: they are not one integer or text a row.
    """
    group = as_array("group", group)
    if group.ndim != 1 or group.dtype.kind not in "buiU":
        got = f"{group.dtype} of shape {group.shape}"
        raise DataError("group", expected="an integer or text for each row", got=got)
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


def check_numbers(values: np.ndarray, hidden: np.ndarray) -> None:
    """Raises DataError for a number [rows, numbers] that is not finite.

    Args:
        values: the numbers.
        hidden: [rows] bool of those that may be NaN together.
    """
    bad = ~np.isfinite(values).all(axis=1)
    if np.isnan(values[hidden]).all():
        bad &= ~hidden
    if bad.any():
        got = f"NaN or infinity in {bad.sum()} rows, first in row {bad.argmax()}"
        raise DataError("target", expected="finite numbers", got=got, fix="Leave these rows out.")
