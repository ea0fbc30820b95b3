"""A task: the arrays of a problem, checked."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np

from mmjax.data.chunks import chunks, on_disk
from mmjax.data.coerce import (
    as_array,
    as_group,
    check_length,
    check_mapping,
    drop_unnamed,
    tell_order,
)
from mmjax.data.coerce_inputs import InputKind, as_input, as_numbers, check_precision, shape_input
from mmjax.data.coerce_targets import encode_target
from mmjax.data.scale import Scale, find_byte_scale, find_input_scale, find_scale
from mmjax.data.splits import ROLES, as_roles, check_roles, complete_roles, deal
from mmjax.data.targets import Kind, is_labelled, kind_of, scores
from mmjax.data.validate import check_input, check_task
from mmjax.errors import look_up
from mmjax.types import Batch


class RawSignal(NamedTuple):
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
        target: classes, labels or numbers, as ``data.targets`` has them; or all ``UNLABELLED``, or
            NaN where they would be numbers.
        group: [size] integers; rows of one group must not be split or resampled apart.
        present: {modality: [size] bool}; a modality left out is present everywhere.
        meta: {name: [size]} of what is known about the rows but not given to the model.
        raw: {modality: RawSignal} where inputs can be computed afresh, from corrupted recordings.
    """

    inputs: Mapping[str, np.ndarray]
    target: np.ndarray
    group: np.ndarray
    present: Mapping[str, np.ndarray] = field(default_factory=dict)
    meta: Mapping[str, np.ndarray] = field(default_factory=dict)
    raw: Mapping[str, RawSignal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        everywhere = np.ones(len(self.target), bool)
        present = {**dict.fromkeys(self.inputs, everywhere), **self.present}
        object.__setattr__(self, "present", present)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {x.shape[1:]}" for name, x in sorted(self.inputs.items()))
        return f"Split({self.size} rows: {shapes})"

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
        standardise: whether models scale inputs, feature by feature, by what training rows have.
            Images of bytes are scaled to 0 to 1 in any case, and inputs whose bytes are all 0 and 1
            never.
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
        check_task(self)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {shape}" for name, shape in self.shapes.items())
        sizes = ", ".join(f"{split.size} {name}" for name, split in self.splits.items())
        return f"Task({self.name!r}: {shapes} -> {self.out_dim} {self.kind}; rows: {sizes})"

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
        meta: Mapping[str, Any] | None = None,
        standardise: bool = True,
        seed: int = 0,
        kind: Kind | None = None,
        kinds: Mapping[str, InputKind] | None = None,
    ) -> "Task":
        """A task from arrays with a row for each sample.

        What is assumed of a target or an input whose kind is not given is told on stderr, in one
        line that says how to say otherwise.

        Args:
            inputs: {modality: numbers [rows], [rows, features], [rows, length, features] or
                [rows, height, width, channels]}; a grey image has one channel. Images of bytes are
                scaled to 0 to 1; bytes of 0 and 1 alone stay so.
            target: [rows] classes, as integers or text; [rows, labels] of 0 and 1, where a row can
                have several labels; or floats, [rows] or [rows, numbers], which are standardised.
                With ``split``, the test rows may all have -1 or no value (NaN, None, or text such
                as "NA"): they are unlabelled.
            name: of the task.
            group: [rows] integers or text: rows of one group, such as recordings of one person,
                are in one split. By default each row is a group.
            present: {modality: [rows] bool} where rows lack a modality.
            split: [rows] of "train", "valid" and "test". By default a fifth of the groups is for
                test, and a fifth of the others for validation, of every class as nearly as can be;
                groups of several sizes are dealt so that rows are. Where the split has no rows for
                validation, a part of those for training become it.
            meta: {name: [rows]} of what is known of the rows and not for the model; errors name
                rows by ``id``, too.
            standardise: whether models scale inputs by what training rows have.
            seed: of the split.
            kind: what the target is: "classes", "labels" or "numbers".
            kinds: {modality: what its samples are}: "vector", "sequence", "image" or "tokens".
                Tokens are integers [rows, length], and become sequences of one-hot vectors.

        Raises:
            DataError: an array is not what a task needs.
            UsageError: the seed is not an integer from 0, or there is no such kind.
        """
        check_mapping("inputs", inputs)
        present, meta, kinds = present if present is not None else {}, meta or {}, kinds or {}
        check_mapping("present", present)
        check_mapping("kinds", kinds)
        for n in kinds:
            look_up("modality of kinds", n, inputs)
        aligned = {f"input {n!r}": x for n, x in inputs.items()} | {"group": group, "split": split}
        tell_order(target, aligned)
        target = as_array("target", drop_unnamed("target", target))
        size = len(target)
        known = {n: as_array(f"meta {n!r}", x) for n, x in meta.items()}
        groups = np.arange(size) if group is None else as_group(group)
        given = None if split is None else as_roles(as_array("split", split), size)
        here = {n: as_array(f"present {n!r}", x) for n, x in present.items()}
        both = {**{f"meta {n}": x for n, x in known.items()}, "group": groups}
        check_length({**both, **{f"present {n}": x for n, x in here.items()}}, size)
        encoded = encode_target(
            target, None if given is None else given == "test", kind, known.get("id")
        )
        arrays = {
            n: _read_input(n, x, kinds.get(n), here.get(n, np.ones(size, bool)), known.get("id"))
            for n, x in inputs.items()
        }
        index = np.unique(groups, return_inverse=True)[1]
        if given is None:
            role = deal(index, encoded.strata, seed)
        else:
            role = complete_roles(given, index, encoded.strata, seed)
        check_roles(role, groups)
        values, scale = encoded.values, None
        if encoded.kind == "numbers":
            scale = find_scale(values[role == "train"])
            values = scale.standardise(values)
        whole = Split(arrays, values, index, here, known)
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

    @cached_property  # every training row is read
    def input_scales(self) -> dict[str, Scale]:
        """{modality: its scale}, of the inputs that models scale."""
        found: dict[str, Scale | None] = {}
        for name in self.modalities:
            values, present = self.train.inputs[name], self.train.present[name]
            if values.dtype == np.uint8:
                found[name] = find_byte_scale(values, present, self.standardise)
            elif self.standardise:
                found[name] = find_input_scale(values, present)
        return {name: scale for name, scale in found.items() if scale is not None}

    def scores(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """The scores of some rows, as ``mmjax.data.targets.scores``; numbers in their own units.

        Args:
            prediction: [rows, out_dim], as models have it.
            target: of the rows, as splits have it.
        """
        return scores(prediction, target, self.scale.deviation if self.scale else 1.0)

    def only(self, *modalities: str) -> "Task":
        """The same rows with some of the modalities: the task of a unimodal baseline."""
        if {*modalities} == {*self.modalities}:
            return self  # and what it knows of itself
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


def _read_input(
    name: str,
    given: Any,
    kind: InputKind | None,
    present: np.ndarray,
    ids: np.ndarray | Sequence[Any] | None,
) -> np.ndarray:
    """An input as a Task has it, checked while its rows are those that were given."""
    given = drop_unnamed(f"input {name!r}", given)
    numbers = shape_input(name, as_numbers(name, given), kind)
    check_length({name: numbers}, len(present))
    values = as_input(name, numbers)
    check_input(f"input {name!r}", values, present, values.shape, ids)
    check_precision(name, numbers[present], given)
    return values
