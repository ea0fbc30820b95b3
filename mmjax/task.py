"""A task: the arrays of a problem, checked."""

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import NamedTuple

import jax
import numpy as np

from mmjax.errors import DataError
from mmjax.types import Batch

UNLABELLED = -1
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
    index: np.ndarray
    to_input: Callable[[jax.Array], jax.Array]


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of one split, as NumPy arrays; ``size`` rows in each.

    Attributes:
        inputs: {modality: [size, ...]}; these alone may be on disk: memory-mapped, or anything that
            has ``shape`` and ``dtype`` and reads the rows that it is indexed by.
        target: [size] integer classes, or all ``UNLABELLED``.
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
        """Whether the rows have classes."""
        return not (self.target == UNLABELLED).all()

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
    """A classification problem over several modalities: arrays, not iterators.

    Checked when it is made; a Task that exists is sound. The shape of a sample says what it is:
    ``[features]`` a vector, ``[length, features]`` a sequence, and ``[height, width, channels]``
    an image.

    Attributes:
        name: what rows and tables call it.
        train: the split that parameters are fitted on.
        valid: the split that everything is chosen on.
        test: the split that is only ever reported on.
        out_dim: number of classes.

    Raises:
        DataError: an array has the wrong shape, dtype, length, range or is not finite; a split is
            empty, or training lacks a class; there are fewer than two classes; a name has
            characters that file names or a terminal would not stand.
    """

    name: str
    train: Split
    valid: Split
    test: Split
    out_dim: int

    def __post_init__(self) -> None:
        _check_names(self)
        for split_name, split in self.splits.items():
            _check_split(f"task {self.name!r}, {split_name}", split, self)
        there = set(np.unique(self.train.target).tolist())
        missing = (c for c in range(self.out_dim) if c not in there)
        if len(there) < self.out_dim:
            raise DataError(
                f"task {self.name!r}, train target",
                expected=f"every class from 0 to {self.out_dim - 1}",
                got=f"no row of class {', '.join(map(str, islice(missing, 8)))}",
                fix="Add rows of that class, or make out_dim smaller.",
            )

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
        sha = hashlib.sha256()
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


def chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of an array in parts of some megabytes, in order: it may be larger than memory."""
    row_bytes = math.prod(array.shape[1:]) * array.dtype.itemsize
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
    if not isinstance(task.out_dim, int | np.integer) or task.out_dim < 2:
        raise DataError(
            f"task {task.name!r}, out_dim", expected="two classes or more", got=repr(task.out_dim)
        )


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
    _check_integers(f"{where} target", split.target, split.size)
    _check_integers(f"{where} group", split.group, split.size)
    _check_labels(where, split, task)
    for name, values in split.inputs.items():
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


def _check_labels(where: str, split: Split, task: Task) -> None:
    low, high = int(split.target.min()), int(split.target.max())
    if split is task.test and not split.labelled:
        return
    if low < 0 or high >= task.out_dim:
        raise DataError(
            f"{where} target",
            expected=f"classes from 0 to {task.out_dim - 1}",
            got=f"values from {low} to {high}",
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
