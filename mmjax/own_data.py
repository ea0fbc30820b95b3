"""Arrays as people have them, made into what a Task holds."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mmjax.errors import DataError
from mmjax.on_disk import chunks
from mmjax.targets import Kind

ROLES = ("train", "valid", "test")
SHARES = {"test": 0.2, "valid": 0.2}
"""Of all groups in test; of the others in validation."""


class Scale(NamedTuple):
    """Mean and standard deviation, [numbers] or [features] each, over training rows."""

    mean: np.ndarray
    deviation: np.ndarray

    def standardise(self, values: np.ndarray) -> np.ndarray:
        """Numbers [rows, out_dim] as models learn them, float32."""
        return ((values - self.mean) / self.deviation).astype(np.float32)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Numbers [rows, out_dim] as they were before."""
        return values * self.deviation + self.mean


class Encoded(NamedTuple):
    """A target as a Task has it.

    Attributes:
        values: classes, labels or numbers.
        kind: which of them.
        names: of the classes, from 0; of labels and numbers none are known.
    """

    values: np.ndarray
    kind: Kind
    names: tuple[str, ...] = ()


def encode_target(target: Any) -> Encoded:
    """What a target is, and its values.

    Text and integers [rows] are classes, named as they are and counted from 0 in their order; bool
    and integers [rows, labels] are labels; floats are numbers, [rows] or [rows, numbers].

    Raises:
        DataError: it is none of these, or has almost as many classes as rows.
    """
    values = np.asarray(target)
    if values.dtype.kind == "O":
        _check_there(values)
        values = values.astype(str)
    if values.dtype.kind == "f" and values.ndim in (1, 2):
        return Encoded(values.astype(np.float32).reshape(len(values), -1), "numbers")
    if values.dtype.kind in "bui" and values.ndim == 2:
        if not np.isin(values, (0, 1)).all():
            got = f"integers from {values.min()} to {values.max()} of shape {values.shape}"
            fix = "Classes are of shape [rows]; numbers are floats."
            raise DataError("target", expected="labels 0 and 1 [rows, labels]", got=got, fix=fix)
        return Encoded(values.astype(np.int32), "labels")
    if values.dtype.kind not in "buiUS" or values.ndim != 1:
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


def _check_there(values: np.ndarray) -> None:
    """Raises DataError where a row has None or NaN for a class: text of it would be one more."""
    is_missing = lambda value: not isinstance(value, str) and str(value) in _MISSING
    missing = np.array([is_missing(value) for value in values.flat])
    if missing.any():
        got = f"none in {missing.sum()} rows, first in row {missing.argmax()}"
        raise DataError("target", expected="a class for each row", got=got, fix="Leave them out.")


_MISSING = ("None", "nan", "NaN", "NaT", "<NA>")


def as_input(name: str, values: Any) -> np.ndarray:
    """An input as a Task has it: bytes stay, all other numbers become float32.

    Raises:
        DataError: they are no numbers.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        raise DataError(f"input {name!r}", expected="numbers", got=str(values.dtype))
    if values.ndim == 1:
        values = values[:, None]
    return values if values.dtype == np.uint8 else values.astype(np.float32)


def deal(group: np.ndarray, target: Encoded, seed: int) -> np.ndarray:
    """The role of each row, "train", "valid" or "test"; a group's rows stay together.

    Groups are sorted by the class of their first row and at random within it; then every so manyth
    is taken, which gives each class its share: systematic sampling (Madow and Madow, Annals of
    Mathematical Statistics 15, 1944).

    Args:
        group: [rows].
        target: of the rows.
        seed: of the order.
    """
    rng = np.random.default_rng(seed)
    groups, first, index = np.unique(group, return_index=True, return_inverse=True)
    strata = target.values[first] if target.kind == "classes" else np.zeros(len(groups), int)
    left = np.lexsort((rng.random(len(groups)), strata))
    role = np.full(len(groups), "train")
    for name, share in SHARES.items():
        steps = np.floor((np.arange(len(left) + 1) + rng.random()) * share)
        taken = steps[1:] > steps[:-1]
        role[left[taken]] = name
        left = left[~taken]
    return role[index]


def check_length(arrays: Mapping[str, np.ndarray], size: int) -> None:
    """Raises DataError for an array that does not have as many rows as the target."""
    for name, array in arrays.items():
        if len(array) != size:
            raise DataError(name, expected=f"{size} rows, as the target has", got=str(len(array)))


def check_roles(role: np.ndarray, size: int) -> None:
    """Raises DataError for a split that is not one of ``ROLES`` for each row, or lacks one."""
    there = np.unique(role)
    if role.shape != (size,) or not set(there) <= set(ROLES):
        got = ", ".join(map(str, there[:8])) if role.shape == (size,) else str(role.shape)
        raise DataError("split", expected=f"one of {', '.join(ROLES)} for each row", got=got)
    if len(there) < len(ROLES):
        expected = f"rows of {', '.join(ROLES)}"
        fix = "Of few groups, split=... says which is where."
        raise DataError("split", expected=expected, got=f"{', '.join(there)} alone", fix=fix)


def check_numbers(values: np.ndarray, role: np.ndarray) -> None:
    """Raises DataError for a number [rows, numbers] that is not finite; of test all may be NaN."""
    bad = ~np.isfinite(values).all(axis=1)
    if np.isnan(values[role == "test"]).all():
        bad &= role != "test"
    if bad.any():
        got = f"NaN or infinity in {bad.sum()} rows, first in row {bad.argmax()}"
        raise DataError("target", expected="finite numbers", got=got, fix="Leave these rows out.")


def find_input_scale(values: np.ndarray, present: np.ndarray) -> Scale:
    """The scale of each feature of training inputs over the rows that have them, float32.

    Args:
        values: [rows, ..., features], which may be on disk.
        present: [rows] bool.
    """
    total, squares = np.zeros((2, values.shape[-1]))
    count = 0
    for rows, here in zip(chunks(values), chunks(present, like=values), strict=True):
        seen = rows[here].reshape(-1, values.shape[-1]).astype(np.float64)
        total, squares = total + seen.sum(axis=0), squares + np.square(seen).sum(axis=0)
        count += len(seen)
    mean = total / max(count, 1)
    deviation = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0))
    varies = deviation > 1e-6 * np.maximum(np.abs(mean), 1)  # and not by rounding alone
    return Scale(mean.astype(np.float32), np.where(varies, deviation, 1).astype(np.float32))


def find_scale(values: np.ndarray) -> Scale:
    """The scale of training numbers [rows, out_dim]; one that does not vary has deviation one."""
    mean, deviation = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    return Scale(mean, np.where(deviation > 0, deviation, 1))
