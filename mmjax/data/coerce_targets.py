"""Targets as people have them, made into what a Task holds."""

from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import numpy as np

from mmjax.data.coerce import as_array, find_missing
from mmjax.data.targets import UNLABELLED, Kind
from mmjax.errors import DataError, look_up, name_rows, tell

_LARGEST = 1e300  # of numbers: the difference of two is finite
_FEW = 20  # values of integer classes that pandas has made floats, for want of some


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


def encode_target(
    target: Any,
    hidden: np.ndarray | None = None,
    kind: Kind | None = None,
    ids: np.ndarray | Sequence[Any] | None = None,
) -> Encoded:
    """The values of a target, whose kind is given, or else assumed and told.

    Text and integers [rows] are assumed to be classes, 0 and 1 [rows, labels] to be labels, and
    other floats to be numbers; whole floats of two values [rows], and those of a few values that
    lack some in hidden rows, are taken for integers. Classes are named as they are, and counted
    from 0 in their order.

    Args:
        target: array, [rows] or [rows, columns].
        hidden: [rows] bool; if all of these rows, and no others, lack a target or have -1, they
            are unlabelled.
        kind: what it is.
        ids: names of the rows, for errors.

    Raises:
        DataError: it is not of that kind, or of none; a row lacks a target; or almost every row has
            a class of its own.
        UnknownNameError: there is no such kind.
    """
    if kind is not None:
        look_up("kind", kind, dict.fromkeys(get_args(Kind)))
    values = as_array("target", target)
    missing = find_missing(values).reshape(len(values), -1)
    if hidden is not None and hidden.any() and not hidden.all():
        marked = values.dtype.kind in "if"
        blank = values == UNLABELLED if marked else np.zeros(values.shape, bool)
        none = missing | blank.reshape(missing.shape)
        if none[hidden].all():
            if not none[~hidden].all(axis=1).any() and not missing[~hidden].any():
                known = values[~hidden]
                few = known.dtype.kind == "f" and len(np.unique(known)) <= _FEW
                encoded = _encode(known, kind, whole=few)
                if encoded.kind == "numbers" and blank.any():
                    tell(f"target: {UNLABELLED} in all test rows taken for rows without a target")
                return _leave_open(encoded, hidden)
            missing[hidden] = False  # what is wrong is in the others
    _check_values(values, np.asarray(missing.any(axis=1)), ids)
    return _encode(values, kind)


def _check_values(
    values: np.ndarray, missing: np.ndarray, ids: np.ndarray | Sequence[Any] | None
) -> None:
    """Raises DataError where a row has no value for a target, or one that is not finite."""
    if missing.any():
        fix = "Leave these rows out; test rows may all be without. "
        if values.dtype.kind in "OU":
            fix += "Text such as NA and None is no class: call one that has such a name otherwise."
        got = f"none in {name_rows(missing, ids)}"
        raise DataError("target", expected="a target for each row", got=got, fix=fix.strip())
    if values.dtype.kind == "f":
        large = (np.abs(values) > _LARGEST).reshape(len(values), -1).any(axis=1)
        if large.any():
            got = f"others in {name_rows(large, ids)}"
            raise DataError("target", expected="finite numbers, up to 1e300", got=got)


def _encode(values: np.ndarray, given: Kind | None, *, whole: bool = False) -> Encoded:
    """The target of rows that all have one; floats that are ``whole`` are integers if they can."""
    values = as_array("target", values)  # what were objects only because some were None
    if values.dtype.kind not in "biufU" or values.ndim not in (1, 2):
        raise DataError(
            "target",
            expected="a class for each row, labels 0 and 1 [rows, labels], or floats",
            got=f"{values.dtype} of shape {values.shape}",
        )
    kind = given or _assume(values, whole)
    encoded = _encode_as(values, kind, sure=given is not None)
    if given is None:
        possible = (other for other in get_args(Kind) if other != kind and _can_be(values, other))
        others = " or ".join(f"kind={other!r}" for other in possible)
        tell(f"target taken for {_in_words(encoded)}" + f"; {others} says otherwise" * bool(others))
    return encoded


def _encode_as(values: np.ndarray, kind: Kind, *, sure: bool) -> Encoded:
    if kind == "classes":
        return _encode_classes(values, sure)
    return _encode_labels(values) if kind == "labels" else _encode_numbers(values)


def _can_be(values: np.ndarray, kind: Kind) -> bool:
    try:
        _encode_as(values, kind, sure=False)
    except DataError:
        return False
    return True


def _assume(values: np.ndarray, whole: bool) -> Kind:
    if values.dtype.kind == "f":
        few = whole or len(np.unique(values)) == 2
        if values.ndim == 1:
            return "classes" if few and (values == values.round()).all() else "numbers"
        return "labels" if np.isin(values, (0, 1)).all() else "numbers"
    return "classes" if values.ndim == 1 else "labels"


def _in_words(encoded: Encoded) -> str:
    if encoded.kind != "classes":
        return f"{encoded.values.shape[1]} {encoded.kind} a row"
    more = ", ..." if encoded.names[5:] else ""
    return f"{len(encoded.names)} classes, {', '.join(encoded.names[:5])}{more}"


def _encode_classes(values: np.ndarray, sure: bool) -> Encoded:
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all():
        values = values.argmax(axis=1)  # they are one-hot
    if values.ndim == 2:
        got = f"shape {values.shape}"
        raise DataError("target", expected="a class for each row, [rows]", got=got)
    classes, index = np.unique(values, return_inverse=True)
    if not sure and len(classes) > max(2, len(values) / 2):
        raise DataError(
            "target",
            expected="classes, each of them in several rows",
            got=f"{len(classes)} different values in {len(values)} rows",
            fix="Are they numbers? Then give them as floats, or say kind='numbers'.",
        )
    small = classes.dtype.kind == "f" and np.abs(classes).max() < 2.0**63
    if small and (classes == classes.round()).all():
        classes = classes.astype(np.int64)  # which have shorter names
    return Encoded(index.astype(np.int32), "classes", tuple(map(str, classes)))


def _encode_labels(values: np.ndarray) -> Encoded:
    values = values.reshape(len(values), -1)
    if values.dtype.kind == "U" or not np.isin(values, (0, 1)).all():
        text = values.dtype.kind == "U"
        span = "text" if text else f"values from {values.min()} to {values.max()}"
        got = f"{span} of shape {values.shape}"
        fix = "Classes are of shape [rows]; numbers are floats, or kind='numbers'."
        raise DataError("target", expected="labels 0 and 1 [rows, labels]", got=got, fix=fix)
    return Encoded(values.astype(np.int32), "labels")


def _encode_numbers(values: np.ndarray) -> Encoded:
    try:
        numbers = values.astype(np.float64)
    except ValueError as error:
        raise DataError("target", expected="numbers", got=f"text: {error}") from error
    return Encoded(numbers.reshape(len(values), -1), "numbers")


def _leave_open(known: Encoded, hidden: np.ndarray) -> Encoded:
    """The target of all rows, of which the hidden ones are not labelled."""
    shape = (len(hidden), *known.values.shape[1:])
    nothing = np.nan if known.kind == "numbers" else UNLABELLED
    values = np.full(shape, nothing, known.values.dtype)
    values[~hidden] = known.values
    return known._replace(values=values)
