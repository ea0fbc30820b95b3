"""Converts targets to the arrays that a Task holds."""

from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import numpy as np

from mmjax.data.coerce import as_array, find_missing
from mmjax.data.targets import UNLABELLED, Kind, counted
from mmjax.errors import DataError, look_up, name_rows, tell

_LARGEST = 1e300  # of numbers, so that the difference of any two is finite
_FEW = 20  # distinct values of integer classes that pandas turned to floats because of gaps


class Encoded(NamedTuple):
    """A target as a Task holds it, except that numbers are not standardised yet.

    Attributes:
        values: classes, labels or numbers.
        kind: which of them.
        names: of the classes, from 0; empty for labels and numbers.
    """

    values: np.ndarray
    kind: Kind
    names: tuple[str, ...] = ()

    @property
    def strata(self) -> np.ndarray:
        """What the split is stratified by, [rows]: classes, or one stratum for all rows."""
        return self.values if self.kind == "classes" else np.zeros(len(self.values), int)


def encode_target(
    target: Any,
    hidden: np.ndarray | None = None,
    kind: Kind | None = None,
    ids: np.ndarray | Sequence[Any] | None = None,
) -> Encoded:
    """Encodes a target; if its kind is not given, it is inferred and reported on stderr.

    Text and integers [rows] are assumed to be classes, 0 and 1 [rows, labels] labels, and other
    floats numbers. Integral floats [rows] count as integers if they have just two values, or few
    values and gaps in the hidden rows. Classes keep their names, and are numbered from 0 in sorted
    order.

    Args:
        target: array, [rows] or [rows, columns].
        hidden: [rows] bool; if all of these rows, and no others, have no target or -1, they are
            unlabelled.
        kind: what the target is.
        ids: names of the rows, for errors.

    Raises:
        DataError: the target is not of that kind, or of any; a row has no target; or almost every
            row has a class of its own.
        UnknownNameError: there is no such kind.

    Example:
        >>> encoded = encode_target(["dog", "cat", "dog"], kind="classes")
        >>> encoded.values.tolist(), encoded.names
        ([1, 0, 1], ('cat', 'dog'))
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
                    tell(f"target: assumed that {UNLABELLED} in all test rows means unlabelled")
                return _leave_open(encoded, hidden)
            missing[hidden] = False  # so that the error is about the other rows
    _check_values(values, np.asarray(missing.any(axis=1)), ids)
    return _encode(values, kind)


def _check_values(
    values: np.ndarray, missing: np.ndarray, ids: np.ndarray | Sequence[Any] | None
) -> None:
    """Raises DataError where the target of a row is missing or not finite."""
    if missing.any():
        fix = "Drop these rows; only the test split as a whole may be unlabelled. "
        if values.dtype.kind in "OU":
            fix += "Text such as NA and None counts as missing: rename a class of that name."
        got = f"none in {name_rows(missing, ids)}"
        raise DataError("target", expected="a target for each row", got=got, fix=fix.strip())
    if values.dtype.kind == "f":
        large = (np.abs(values.astype(np.float64)) > _LARGEST).reshape(len(values), -1).any(axis=1)
        if large.any():
            got = f"infinite or larger ones in {name_rows(large, ids)}"
            raise DataError("target", expected="finite numbers up to 1e300", got=got)


def _encode(values: np.ndarray, given: Kind | None, *, whole: bool = False) -> Encoded:
    """Encodes a target without gaps; if ``whole``, integral floats count as integers."""
    values = as_array("target", values)  # objects only because some were None
    if values.dtype.kind not in "biufU" or values.ndim not in (1, 2):
        raise DataError(
            "target",
            expected="one class per row, labels 0 and 1 [rows, labels], or floats",
            got=f"{values.dtype} of shape {values.shape}",
        )
    kind = given or _assume(values, whole)
    encoded = _encode_as(values, kind, sure=given is not None)
    if given is None:
        possible = (other for other in get_args(Kind) if other != kind and _can_be(values, other))
        others = " or ".join(f"kind={other!r}" for other in possible)
        tell(f"target: assumed {_in_words(encoded)}" + f"; override by {others}" * bool(others))
    if encoded.kind == "classes":
        _doubt_classes(encoded)
    return encoded


def _doubt_classes(encoded: Encoded) -> None:
    """Tells of names that are likely to be one class, and of classes too small for a split."""
    alike: dict[str, list[str]] = {}
    for name in encoded.names:
        alike.setdefault("".join(name.split()).casefold(), []).append(repr(name))
    for names in alike.values():
        if len(names) > 1:
            tell(f"target: {' and '.join(names)} count as different classes; rename to merge them")
    single = np.flatnonzero(np.bincount(encoded.values) == 1)
    if single.size:
        which = f"class {encoded.names[single[0]]!r} has"
        if single.size > 1:
            which = f"{single.size} classes, such as {encoded.names[single[0]]!r}, have"
        tell(f"target: {which} one row, too few to train and test on; drop it or merge classes")


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
        return f"{counted(encoded.values.shape[1], encoded.kind)} per row"
    names = [repr(name) if "," in name else name for name in encoded.names[:5]]
    more = ", ..." if encoded.names[5:] else ""
    return f"{counted(len(encoded.names), encoded.kind)}, {', '.join(names)}{more}"


def _encode_classes(values: np.ndarray, sure: bool) -> Encoded:
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all():
        values = values.argmax(axis=1)  # they are one-hot
    if values.ndim == 2:
        got = f"shape {values.shape}"
        raise DataError("target", expected="one class per row, [rows]", got=got)
    classes, index = np.unique(values, return_inverse=True)
    if not sure and len(classes) > max(2, len(values) / 2):
        raise DataError(
            "target",
            expected="classes that several rows share",
            got=f"{len(classes)} different values in {len(values)} rows",
            fix="If they are numbers, give floats or pass kind='numbers'.",
        )
    small = classes.dtype.kind == "f" and np.abs(classes).max() < 2.0**63
    if small and (classes == classes.round()).all():
        classes = classes.astype(np.int64)  # for shorter names
    return Encoded(index.astype(np.int32), "classes", tuple(map(str, classes)))


def _encode_labels(values: np.ndarray) -> Encoded:
    values = values.reshape(len(values), -1)
    if values.dtype.kind == "U" or not np.isin(values, (0, 1)).all():
        text = values.dtype.kind == "U"
        span = "text" if text else f"values from {values.min()} to {values.max()}"
        got = f"{span} of shape {values.shape}"
        fix = "Give classes as [rows]; give numbers as floats, or pass kind='numbers'."
        raise DataError("target", expected="labels 0 and 1 [rows, labels]", got=got, fix=fix)
    return Encoded(values.astype(np.int32), "labels")


def _encode_numbers(values: np.ndarray) -> Encoded:
    try:
        numbers = values.astype(np.float64)
    except ValueError as error:
        raise DataError("target", expected="numbers", got=f"text: {error}") from error
    return Encoded(numbers.reshape(len(values), -1), "numbers")


def _leave_open(known: Encoded, hidden: np.ndarray) -> Encoded:
    """The target of all rows, with the hidden ones unlabelled."""
    shape = (len(hidden), *known.values.shape[1:])
    nothing = np.nan if known.kind == "numbers" else UNLABELLED
    values = np.full(shape, nothing, known.values.dtype)
    values[~hidden] = known.values
    return known._replace(values=values)
