"""A task: the arrays of a problem, checked."""

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import jax
import numpy as np

from mmjax.errors import DataError
from mmjax.own_data import (
    ROLES,
    Scale,
    as_input,
    check_length,
    check_roles,
    deal,
    encode_target,
    scale_numbers,
)
from mmjax.targets import Kind, is_labelled, kind_of
from mmjax.types import Batch

MODALITY = re.compile(r"\w[\w .-]{0,99}")
"""Names of modalities: "+" stands between several of them, and files are named after them."""

_CHUNK_BYTES = 1 << 23


class Raw(NamedTuple):
    """The recordings from which a modality's inputs were computed.

    Attributes:
        values: float32 [recordings, samples].
        index: [size] integers, the recording of each row.
        to_input: ``values [rows, samples] -> inputs [rows, ...]``, in jax.numpy.
    """

    values: np.ndarray
    index: np.ndarray  # type: ignore[assignment]  # as tuples have a method of that name
    to_input: Callable[[jax.Array], jax.Array]


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of one split, as NumPy arrays; ``size`` rows in each.

    Attributes:
        inputs: {modality: [size, ...]}; these alone may be on disk: memory-mapped, or anything that
            has ``shape`` and ``dtype`` and reads the rows that it is indexed by.
        target: classes, labels or numbers, as ``mmjax.targets`` has them; or all ``UNLABELLED``, or
            NaN where they would be numbers.
        group: [size] integers; rows of one group must not be split or resampled apart.
        present: {modality: [size] bool}; a modality left out is present everywhere.
        meta: {name: [size]} of what is known about the rows but not given to the model.
        raw: {modality: Raw} where inputs can be computed afresh, from corrupted recordings.
    """

    inputs: Mapping[str, np.ndarray]
    target: np.ndarray
    group: np.ndarray
    present: Mapping[str, np.ndarray] = field(default_factory=dict)
    meta: Mapping[str, np.ndarray] = field(default_factory=dict)
    raw: Mapping[str, Raw] = field(default_factory=dict)

    def __post_init__(self) -> None:
        everywhere = np.ones(len(self.target), bool)
        present = {name: self.present.get(name, everywhere) for name in self.inputs}
        object.__setattr__(self, "present", present)

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.target)

    @property
    def labelled(self) -> bool:
        """Whether the rows have targets."""
        return is_labelled(self.target)

    def batch(self) -> Batch:
        """All rows as one Batch of NumPy arrays."""
        return Batch(dict(self.inputs), dict(self.present), self.target)

    def take(self, rows: np.ndarray) -> "Split":
        """The given rows, in that order (indices or a boolean mask)."""
        part = lambda arrays: {name: array[rows] for name, array in arrays.items()}
        return Split(
            inputs=part(self.inputs),
            target=self.target[rows],
            group=self.group[rows],
            present=part(self.present),
            meta=part(self.meta),
            raw={name: raw._replace(index=raw.index[rows]) for name, raw in self.raw.items()},
        )


@dataclass(frozen=True, eq=False)
class Task:
    """A problem over several modalities: arrays, not iterators.

    Checked when it is made; a Task that exists is sound. The shape of a sample says what it is:
    ``[features]`` a vector, ``[length, features]`` a sequence, and ``[height, width, channels]``
    an image.

    Attributes:
        name: what rows and tables call it.
        train: the split that parameters are fitted on.
        valid: the split that everything is chosen on.
        test: the split that is only ever reported on.
        out_dim: number of classes, of labels or of numbers.
        standardise: whether models scale float32 inputs, feature by feature, by what training rows
            have; bytes are scaled to 0 to 1 in any case.
        names: of the classes, labels or numbers, where they have other names than 0, 1, ...
        scale: of numbers before they were standardised; predictions are brought back to it.

    Raises:
        DataError: an array has the wrong shape, dtype, length, range or is not finite; a split is
            empty, or training lacks a class, or a label or number that varies; there are fewer
            than two classes; a name has characters that file names or a terminal would not stand.
    """

    name: str
    train: Split
    valid: Split
    test: Split
    out_dim: int
    standardise: bool = False
    names: tuple[str, ...] = ()
    scale: Scale | None = None

    def __post_init__(self) -> None:
        _check_names(self)
        _check_out_dim(self)
        for split_name, split in self.splits.items():
            _check_split(f"task {self.name!r}, {split_name}", split, self)
        _check_variety(f"task {self.name!r}, train target", self.train.target, self.out_dim)

    @classmethod
    def from_arrays(
        cls,
        inputs: Mapping[str, Any],
        target: Any,
        *,
        name: str = "own",
        group: Any = None,
        present: Mapping[str, Any] | None = None,
        split: Any = None,
        standardise: bool = True,
        seed: int = 0,
    ) -> "Task":
        """A task from arrays with a row for each sample.

        Args:
            inputs: {modality: numbers [rows], [rows, features], [rows, length, features] or
                [rows, height, width, channels]}.
            target: [rows] classes, as integers or text; [rows, labels] of 0 and 1, where a row can
                have several labels; or floats, [rows] or [rows, numbers], which are standardised.
            name: of the task.
            group: [rows] integers or text: rows of one group, such as recordings of one person,
                are in one split. By default each row is a group.
            present: {modality: [rows] bool} where rows lack a modality.
            split: [rows] of "train", "valid" and "test". By default a fifth of the groups is for
                test, and a fifth of the others for validation, of every class as nearly as can be.
            standardise: whether models scale inputs by what training rows have.
            seed: of the split.

        Raises:
            DataError: an array is not what a task needs.
        """
        encoded = encode_target(target)
        arrays = {n: as_input(n, values) for n, values in inputs.items()}
        here = {n: np.asarray(values) for n, values in (present or {}).items()}
        size = len(encoded.values)
        group = np.arange(size) if group is None else np.unique(group, return_inverse=True)[1]
        check_length({**arrays, **here, "group": group}, size)
        role = deal(group, encoded, seed) if split is None else np.asarray(split)
        check_roles(role, size)
        values, scale = encoded.values, None
        if encoded.kind == "numbers":
            values, scale = scale_numbers(values, role == "train")
        whole = Split(arrays, values, group, here)
        return cls(
            name,
            **{part: whole.take(role == part) for part in ROLES},
            out_dim=len(encoded.names) if encoded.kind == "classes" else values.shape[1],
            standardise=standardise,
            names=encoded.names,
            scale=scale,
        )

    @property
    def kind(self) -> Kind:
        """What the targets are: classes, labels or numbers."""
        return kind_of(self.train.target)

    @property
    def splits(self) -> dict[str, Split]:
        """``{"train": ..., "valid": ..., "test": ...}``."""
        return {"train": self.train, "valid": self.valid, "test": self.test}

    @property
    def modalities(self) -> tuple[str, ...]:
        """Sorted names of the modalities."""
        return tuple(sorted(self.train.inputs))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """{modality: shape of one sample}."""
        return {name: self.train.inputs[name].shape[1:] for name in self.modalities}

    def only(self, *modalities: str) -> "Task":
        """The same rows with some of the modalities: the task of a unimodal baseline."""
        keep = lambda arrays: {name: arrays[name] for name in modalities}

        def cut(split: Split) -> Split:
            raw = {name: raw for name, raw in split.raw.items() if name in modalities}
            return replace(split, inputs=keep(split.inputs), present=keep(split.present), raw=raw)

        return replace(self, train=cut(self.train), valid=cut(self.valid), test=cut(self.test))

    def digest(self) -> str:
        """The first 16 hex digits of a sha256 over every array that training and scoring read."""
        read = [x for split in self.splits.values() for x in split.inputs.values()]
        return self._digest_of_files if any(map(on_disk, read)) else self._compute_digest()

    @cached_property  # every file is read in full
    def _digest_of_files(self) -> str:
        return self._compute_digest()

    def _compute_digest(self) -> str:
        sha = hashlib.sha256(b"standardise" if self.standardise else b"")
        for split_name, split in self.splits.items():
            arrays = {"target": split.target, "group": split.group}
            arrays |= {f"inputs/{name}": split.inputs[name] for name in self.modalities}
            arrays |= {f"present/{name}": split.present[name] for name in self.modalities}
            for name, array in arrays.items():
                sha.update(f"{split_name}/{name}{array.dtype}{array.shape}".encode())
                for rows in chunks(array):
                    sha.update(np.ascontiguousarray(rows).data)
        return sha.hexdigest()[:16]


def on_disk(array: np.ndarray) -> bool:
    """Whether an array's rows are read each time that they are asked for."""
    return isinstance(array, np.memmap) or not isinstance(array, np.ndarray | jax.Array)


def chunks(array: np.ndarray, like: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """The rows of an array in parts of some megabytes, in order: it may be larger than memory.

    Args:
        array: the rows.
        like: an array with as many rows, into whose parts they are cut.
    """
    model = array if like is None else like
    row_bytes = math.prod(model.shape[1:]) * model.dtype.itemsize
    rows = max(1, _CHUNK_BYTES // max(1, row_bytes))
    for start in range(0, len(array), rows):
        yield np.asarray(array[start : start + rows])


def _check_names(task: Task) -> None:
    """Names become names of files, parameters and rows, and are printed."""
    if not isinstance(task.name, str) or not task.name.isprintable():
        raise DataError("task", expected="a name in printable characters", got=repr(task.name))
    for name in task.train.inputs:
        if not isinstance(name, str) or not MODALITY.fullmatch(name):
            raise DataError(
                f"task {task.name!r}, modality",
                expected="a name of letters, digits, spaces, '_', '-' and '.'",
                got=repr(name),
            )


def _check_out_dim(task: Task) -> None:
    _check_array(f"task {task.name!r}, train target", task.train.target)
    least, some = (2, "two classes or more") if task.kind == "classes" else (1, "one or more")
    if not isinstance(task.out_dim, int | np.integer) or task.out_dim < least:
        raise DataError(f"task {task.name!r}, out_dim", expected=some, got=repr(task.out_dim))
    if len(task.names) not in (0, task.out_dim):
        got = f"{len(task.names)}"
        raise DataError(f"task {task.name!r}, names", expected=f"{task.out_dim} of them", got=got)
    for part in task.scale or ():
        if part.shape != (task.out_dim,) or not np.isfinite(part).all():
            expected = f"{task.out_dim} finite numbers"
            raise DataError(f"task {task.name!r}, scale", expected=expected, got=str(part)[:80])


def _check_split(where: str, split: Split, task: Task) -> None:
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
    _check_target(f"{where} target", split, task)
    _check_integers(f"{where} group", split.group, split.size)
    for name, values in split.inputs.items():
        _check_array(f"task {task.name!r}, train input {name!r}", task.train.inputs[name])
        shape = (split.size, *task.train.inputs[name].shape[1:])
        check_input(f"{where} input {name!r}", values, split.present[name], shape)


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


def _check_target(where: str, split: Split, task: Task) -> None:
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


def _check_variety(where: str, target: np.ndarray, out_dim: int) -> None:
    """Nothing can be learnt of what training never shows."""
    if kind_of(target) == "classes":
        there = set(np.unique(target).tolist())
        missing = (c for c in range(out_dim) if c not in there)
        if len(there) < out_dim:
            raise DataError(
                where,
                expected=f"every class from 0 to {out_dim - 1}",
                got=f"no row of class {', '.join(map(str, islice(missing, 8)))}",
                fix="Add rows of that class, or make out_dim smaller.",
            )
        return
    constant = np.flatnonzero(target.min(axis=0) == target.max(axis=0))
    if len(constant):
        raise DataError(
            where,
            expected=f"{kind_of(target)} that differ between rows",
            got=f"one value only in column {', '.join(map(str, constant[:8]))}",
            fix="Leave that column out, or add rows.",
        )


def check_input(
    where: str, values: np.ndarray, present: np.ndarray, shape: tuple[int, ...]
) -> None:
    """Checks one modality of some rows.

    Args:
        where: what an error calls it.
        values: to be float32 or uint8 of the shape, finite where the modality is present.
        present: to be bool [rows].
        shape: rows, and the shape of a sample.

    Raises:
        DataError: it is otherwise.
    """
    _check_array(where, values)
    _check_array(f"{where} present", present)
    if values.shape != shape:
        raise DataError(where, expected=f"shape {shape}", got=f"{values.shape}")
    if not 2 <= len(shape) <= 4:
        raise DataError(
            where,
            expected="[features], [length, features] or [height, width, channels] a sample",
            got=f"shape {shape[1:]}",
        )
    if values.dtype != np.float32 and values.dtype != np.uint8:
        raise DataError(
            where, expected="float32 or uint8", got=f"{values.dtype}", fix="Cast it first."
        )
    if present.shape != shape[:1] or present.dtype != bool:
        raise DataError(
            f"{where} present",
            expected=f"bool {shape[:1]}",
            got=f"{present.dtype} {present.shape}",
        )
    if values.dtype == np.uint8:
        return  # all of them finite
    finite = [np.isfinite(rows).reshape(len(rows), -1).all(axis=1) for rows in chunks(values)]
    bad = ~np.concatenate(finite) & present
    if bad.any():
        raise DataError(
            where,
            expected="finite values wherever the modality is present",
            got=f"NaN or infinity in {bad.sum()} rows, first in row {bad.argmax()}",
        )
