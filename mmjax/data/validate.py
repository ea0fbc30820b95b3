"""Validation of a task's arrays, called by ``Task`` itself."""

import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from mmjax.data.chunks import chunks
from mmjax.data.ragged import PADDED_NDIM, is_padding
from mmjax.data.targets import kind_of
from mmjax.errors import DataError, name_rows
from mmjax.types import Coding

MODALITY = re.compile(r"\w[\w .-]{0,99}")
"""Valid names of modalities: "+" joins several of them, and files are named after them."""

LARGEST = 1e19
"""Largest input whose square float32 can represent."""

RESERVED = ("bias", "fused", "target")
"""Names used beside those of modalities, of parameters, in files of arrays and in embeddings."""


def check_task(task: Any) -> None:
    """Raises DataError for an invalid task; see ``Task``."""
    _check_names(task)
    _check_out_dim(task)
    _check_kinds(task)
    for split_name, split in task.splits.items():
        _check_split(f"task {task.name!r}, {split_name}", split, task)
    _check_variety(f"task {task.name!r}, train target", task)


def _check_names(task: Any) -> None:
    """Names are printed, and become names of files, parameters and rows."""
    if not isinstance(task.name, str) or not task.name.isprintable():
        raise DataError("task", expected="a name of printable characters", got=repr(task.name))
    where = f"task {task.name!r}, modality"
    for name in task.train.inputs:
        if not isinstance(name, str) or not MODALITY.fullmatch(name):
            expected = "a name of letters, digits, spaces, '_', '-' and '.'"
            raise DataError(where, expected=expected, got=repr(name))
        if name in RESERVED:
            raise DataError(where, expected="another name", got=f"{name!r}, which is reserved")


def _check_out_dim(task: Any) -> None:
    _check_array(f"task {task.name!r}, train target", task.train.target)
    least, some = (2, "at least two classes") if task.kind == "classes" else (1, "at least one")
    if not isinstance(task.out_dim, int | np.integer) or task.out_dim < least:
        raise DataError(f"task {task.name!r}, out_dim", expected=some, got=repr(task.out_dim))
    if len(task.names) not in (0, task.out_dim):
        got = f"{len(task.names)}"
        raise DataError(f"task {task.name!r}, names", expected=f"{task.out_dim} of them", got=got)
    for part in task.scale or ():
        if part.shape != (task.out_dim,) or not np.isfinite(part).all():
            expected = f"{task.out_dim} finite numbers"
            raise DataError(f"task {task.name!r}, scale", expected=expected, got=str(part)[:80])


def _check_kinds(task: Any) -> None:
    for name in task.padded:
        values = task.train.inputs.get(name)
        if values is None or len(values.shape) not in PADDED_NDIM or values.dtype != np.float32:
            got = "no such modality" if values is None else f"{values.dtype} {values.shape}"
            expected = "float32 sequences or videos"
            raise DataError(f"task {task.name!r}, padded {name!r}", expected=expected, got=got)
    for name, kind in task.kinds.items():
        if name not in task.train.inputs or kind != "volume":
            where, got = f"task {task.name!r}, kinds", f"{kind!r} for {name!r}"
            raise DataError(where, expected="'volume' for some of the modalities", got=got)
    if unknown := task.codings.keys() - task.train.inputs.keys():
        expected = f"modalities of the inputs, {sorted(task.train.inputs)}"
        got = str(sorted(map(str, unknown)))
        raise DataError(f"task {task.name!r}, codings", expected=expected, got=got)


def _check_split(where: str, split: Any, task: Any) -> None:
    if split.size == 0:
        raise DataError(where, expected="at least one row", got="an empty split")
    if not split.inputs:
        raise DataError(where, expected="at least one modality", got="none")
    if set(split.inputs) != set(task.train.inputs):
        raise DataError(
            where,
            expected=f"the modalities of train, {sorted(task.train.inputs)}",
            got=str(sorted(split.inputs)),
        )
    if unknown := split.present.keys() - split.inputs.keys():
        expected = f"modalities of the inputs, {sorted(split.inputs)}"
        raise DataError(f"{where} present", expected=expected, got=str(sorted(map(str, unknown))))
    _check_target(f"{where} target", split, task)
    _check_integers(f"{where} group", split.group, split.size)
    for name, values in split.inputs.items():
        _check_array(f"task {task.name!r}, train input {name!r}", task.train.inputs[name])
        shape = (split.size, *task.train.inputs[name].shape[1:])
        coding, padded = task.codings.get(name), name in task.padded
        place, here = f"{where} input {name!r}", split.present[name]
        check_input(place, values, here, shape, padded=padded, coding=coding)


def _check_array(where: str, array: np.ndarray) -> None:
    if not hasattr(array, "dtype"):
        raise DataError(where, expected="a NumPy array", got=type(array).__name__)


def _check_integers(where: str, array: np.ndarray, size: int) -> None:
    _check_array(where, array)
    if not np.issubdtype(array.dtype, np.integer) or array.shape != (size,):
        raise DataError(
            where, expected=f"integers of shape ({size},)", got=f"{array.dtype} {array.shape}"
        )


_TARGETS = {
    "classes": "integer classes",
    "labels": "labels, integers 0 and 1,",
    "numbers": "float32 numbers",
}


def _check_target(where: str, split: Any, task: Any) -> None:
    target = split.target
    _check_array(where, target)
    want = (split.size,) if task.kind == "classes" else (split.size, task.out_dim)
    exact = target.dtype == np.float32 or np.issubdtype(target.dtype, np.integer)
    if not exact or kind_of(target) != task.kind or target.shape != want:
        raise DataError(
            where,
            expected=f"{_TARGETS[task.kind]} of shape {want}",
            got=f"{target.dtype} {target.shape}",
        )
    if split is task.test and not split.labelled:
        return
    low, high = target.min(), target.max()
    if task.kind == "numbers":
        sound, some = np.isfinite(target).all(), "finite numbers"
    elif task.kind == "labels":
        sound, some = low >= 0 and high <= 1, "labels 0 and 1"
    else:
        sound, some = low >= 0 and high < task.out_dim, f"classes from 0 to {task.out_dim - 1}"
    if not sound:
        raise DataError(where, expected=some, got=f"values from {low} to {high}")


def _check_variety(where: str, task: Any) -> None:
    """Raises DataError if training rows lack a class, or have a constant label or number."""
    target = task.train.target
    if task.kind == "classes":
        there = set(np.unique(target).tolist())
        missing = (c for c in range(task.out_dim) if c not in there)
        if len(there) < task.out_dim:
            names = task.names or range(task.out_dim)
            fix = "Add rows of that class, or remove the class."
            if all(name.lstrip("-").replace(".", "", 1).isdecimal() for name in task.names):
                fix += " If the target is a number, pass kind='numbers'."
            raise DataError(
                where,
                expected="rows of every class",
                got=f"none of {', '.join(str(names[c]) for c in islice(missing, 8))}",
                fix=fix,
            )
        return
    constant = np.flatnonzero(target.min(axis=0) == target.max(axis=0))
    if len(constant):
        raise DataError(
            where,
            expected=f"{task.kind} that vary between rows",
            got=f"a constant in column {', '.join(map(str, constant[:8]))}",
            fix="Drop that column, or add rows.",
        )


def check_input(
    where: str,
    values: np.ndarray,
    present: np.ndarray,
    shape: tuple[int, ...],
    ids: np.ndarray | Sequence[Any] | None = None,
    padded: bool = False,
    coding: Coding | None = None,
) -> None:
    """Checks one modality of some rows.

    Args:
        where: what an error calls it.
        values: must be float32 or uint8 of that shape, and finite where the modality is present.
        present: must be bool [rows].
        shape: number of rows, and the shape of a sample.
        ids: the user's names of the rows, if not their indices.
        padded: whether rows may end in frames of NaN.
        coding: how the values are coded, if they are; it checks them instead.

    Raises:
        DataError: one of these does not hold.
    """
    _check_array(where, values)
    _check_array(f"{where} present", present)
    if values.shape != shape:
        raise DataError(where, expected=f"shape {shape}", got=f"{values.shape}")
    if not 2 <= len(shape) <= 5:
        raise DataError(
            where,
            expected="samples [features], [length, features], [height, width, channels] or [time, "
            "height, width, channels]",
            got=f"shape {shape[1:]}",
        )
    if 0 in shape[1:]:
        raise DataError(where, expected="at least one value per sample", got=f"shape {shape[1:]}")
    if present.shape != shape[:1] or present.dtype != bool:
        raise DataError(
            f"{where} present",
            expected=f"bool {shape[:1]}",
            got=f"{present.dtype} {present.shape}",
        )
    if coding is not None:
        return coding.check(where, values, present, ids)
    if values.dtype != np.float32 and values.dtype != np.uint8:
        raise DataError(
            where, expected="float32 or uint8", got=f"{values.dtype}", fix="Cast it first."
        )
    if values.dtype == np.uint8:
        return  # always finite
    read = _without_padding if padded else np.asarray
    sound = [np.abs(read(x)).reshape(len(x), -1).max(axis=1) <= LARGEST for x in chunks(values)]
    bad = ~np.concatenate(sound) & present  # NaN compares as false
    first = int(bad.argmax())
    if bad.any() and np.isfinite(read(values[first : first + 1])).all():
        expected, got = f"values up to {LARGEST:g}", f"larger ones in {name_rows(bad, ids)}"
        raise DataError(where, expected=expected, got=got, fix="Rescale them.")
    if bad.any():
        raise DataError(
            where,
            expected="finite values wherever the modality is present",
            got=f"NaN or infinity in {name_rows(bad, ids)}",
            fix="Fill them in, or mark rows that lack the modality: by present=..., by None in a "
            "dataset, or in files by leaving them out.",
        )


def _without_padding(values: np.ndarray) -> np.ndarray:
    """The rows with zeros as padding; NaN elsewhere stays."""
    there = ~is_padding(values)
    return np.where(there.reshape(*there.shape, *[1] * (values.ndim - 2)), values, 0)
