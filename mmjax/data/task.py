"""A task: the validated arrays of a multimodal problem."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from mmjax.data.chunks import chunks, on_disk
from mmjax.data.codings import as_rows, describe_coding, find_coding
from mmjax.data.coerce import (
    as_array,
    as_group,
    check_length,
    check_mapping,
    drop_unnamed,
    tell_order,
)
from mmjax.data.coerce_inputs import (
    InputKind,
    as_input,
    as_numbers,
    check_precision,
    sample_rank,
    shape_input,
)
from mmjax.data.coerce_targets import encode_target
from mmjax.data.ragged import has_padding, tell_lengths
from mmjax.data.scale import Scale, find_byte_scale, find_input_scale, find_scale
from mmjax.data.splits import ROLES, as_roles, check_roles, complete_roles, deal
from mmjax.data.targets import Kind, counted, is_labelled, kind_of, row_nll
from mmjax.data.validate import check_input, check_task
from mmjax.errors import look_up, tell
from mmjax.registry import METRICS
from mmjax.types import Batch, Coding, Metric

SHOWN = {kind: ("accuracy", "macro_f1") for kind in ("classes", "labels")} | {
    "numbers": ("r2", "rmse")
}
"""{kind of target: the metrics that tables show, the default first}."""


class RawSignal(NamedTuple):
    """The recordings from which a modality's inputs were computed.

    Attributes:
        values: float32 [recordings, samples].
        index: [size] integers, the recording of each row.
        to_input: ``values [rows, samples] -> inputs [rows, ...]``, in jax.numpy.
    """

    values: np.ndarray
    index: np.ndarray  # type: ignore[assignment]  # hides the method of tuples
    to_input: Callable[[jax.Array], jax.Array]


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of one split, as NumPy arrays with ``size`` rows each.

    Attributes:
        inputs: {modality: [size, ...]}; only these may be on disk: memory-mapped, or anything that
            has ``shape`` and ``dtype`` and reads the rows it is indexed by.
        target: classes, labels or numbers, as described in ``data.targets``; ``UNLABELLED`` (NaN
            for numbers) throughout if the rows have none.
        group: [size] integers; rows of one group are never split or resampled apart.
        present: {modality: [size] bool}; a modality that is not listed is present in every row.
        meta: {name: [size]} of metadata that models do not see.
        raw: {modality: RawSignal} where inputs can be recomputed, from corrupted recordings.

    Example:
        >>> from mmjax.data.task import Split
        >>> features = {"audio": np.zeros((3, 8), np.float32)}
        >>> split = Split(features, target=np.array([0, 1, 1]), group=np.arange(3))
        >>> split.take(split.target == 1)
        Split(2 rows: audio (8,))
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
        """All rows as a single Batch of NumPy arrays."""
        return Batch(dict(self.inputs), dict(self.present), self.target)

    def take(self, rows: np.ndarray) -> "Split":
        """The rows at the given indices, in that order, or where a boolean mask is true."""
        part = lambda arrays: {name: array[rows] for name, array in arrays.items()}
        return Split(
            inputs=part(self.inputs),
            target=self.target[rows],
            group=self.group[rows],
            present=part(self.present),
            meta=part(self.meta),
            raw={name: raw._replace(index=raw.index[rows]) for name, raw in self.raw.items()},
        )


class Fold(NamedTuple):
    """A part of the rows of a task that is tested by models trained on the others.

    Attributes:
        repeat: number of the dealing, from 0.
        index: number of the part in it.
        rows: {"train", "valid", "test": its rows, of the test split of the whole task}.
        task: these rows.
    """

    repeat: int
    index: int  # type: ignore[assignment]  # hides the method of tuples
    rows: Mapping[str, np.ndarray]
    task: "Task"


@dataclass(frozen=True, eq=False)
class Task:
    """A multimodal problem: arrays, not iterators.

    A Task is validated when it is constructed. The shape of a sample determines its kind:
    ``[features]`` is a vector, ``[length, features]`` a sequence, ``[height, width, channels]`` an
    image, and ``[time, height, width, channels]`` a video.

    Attributes:
        name: of the task, in rows and tables.
        train: the split that parameters are fitted on.
        valid: the split that models are selected on.
        test: the split that is only reported on.
        out_dim: number of classes, labels or numbers.
        standardise: whether models standardise inputs, feature by feature, with statistics of the
            training rows. Images of bytes are scaled to [0, 1] regardless, and inputs whose bytes
            are all 0 and 1 are never scaled.
        names: of the classes, labels or numbers, if not 0, 1, ...
        scale: of numbers before standardisation; predictions are converted back to it.
        metric: by which models are selected and compared; by default accuracy, and R2 for numbers.
        folds: made by ``fold_task``, if its test rows are tested fold by fold.
        standardised: modalities whose inputs are standardised already.
        padded: modalities whose rows differ in length: float32 sequences or videos, with NaN in all
            values of the frames past the end of a row. Models mask them.
        kinds: {modality: its kind}, where the shape does not tell: "volume".
        codings: {modality: how it is coded}, for text and tables; see ``mmjax.data.codings``.

    Raises:
        DataError: an array has the wrong shape, dtype, length or range, or is not finite; a split
            is empty; training rows lack a class, or have a constant label or number; there are
            fewer than two classes; or a name has characters unfit for file names or a terminal.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> synthetic(size=100)
        Task('synthetic/xor': a (12,), b (12,) -> 2 classes; rows: 60 train, 20 valid, 20 test)
    """

    name: str
    train: Split
    valid: Split
    test: Split
    out_dim: int
    standardise: bool = False
    names: tuple[str, ...] = ()
    scale: Scale | None = None
    metric: Metric = None  # type: ignore[assignment]  # set below
    folds: tuple[Fold, ...] = ()
    standardised: tuple[str, ...] = ()
    padded: tuple[str, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    codings: Mapping[str, Coding] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_task(self)
        if self.metric is None:
            object.__setattr__(self, "metric", METRICS[SHOWN[self.kind][0]])

    def __getstate__(self) -> dict[str, Any]:
        """The fields, for pickle: a metric of the table by its name."""
        state, name = dict(vars(self)), self.metric.name
        return state | ({"metric": name} if METRICS.get(name) is self.metric else {})

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        if isinstance(state["metric"], str):
            vars(self)["metric"] = METRICS[state["metric"]]

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {shape}" for name, shape in self.shapes.items())
        sizes = ", ".join(f"{split.size} {name}" for name, split in self.splits.items())
        if self.folds:
            sizes = f"{self.test.size} in {len(self.folds)} folds"
        return f"Task({self.name!r}: {shapes} -> {counted(self.out_dim, self.kind)}; rows: {sizes})"

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
        kinds: Mapping[str, InputKind | Coding] | None = None,
    ) -> "Task":
        """Makes a task from arrays with one row per sample.

        If the kind of the target or of an input is not given, it is inferred, and a line on stderr
        says what was assumed and how to override it.

        Args:
            inputs: {modality: numbers [rows], [rows, features], [rows, length, features], [rows,
                height, width, channels] or [rows, time, height, width, channels]}; a grey image has
                one channel. Images of bytes are scaled to [0, 1]; bytes that are all 0 and 1 stay
                so. In a list of arrays, sequences and videos may differ in length, and images in
                size: images are resized to the median. Or token ids, text or a table, as ``kinds``
                says.
            target: [rows] of classes, as integers or text; [rows, labels] of 0 and 1, where a row
                can have several labels; or floats, [rows] or [rows, numbers], which are
                standardised. With ``split``, the test rows may all be -1 or missing (NaN, None, or
                text such as "NA"): they are unlabelled.
            name: of the task.
            group: [rows] integers or text; rows of one group, such as recordings of one person,
                go to one split. By default each row is a group.
            present: {modality: [rows] bool}, false where a row lacks the modality.
            split: [rows] of "train", "valid" and "test". By default a fifth of the groups is for
                test, and a fifth of the rest for validation, stratified by class; groups of unequal
                sizes are dealt so that these are the fractions of rows. Without validation rows, a
                part of the training rows is used.
            meta: {name: [rows]} of metadata that models do not see; errors also name rows by
                ``id``.
            standardise: whether models standardise inputs with statistics of the training rows.
            seed: of the split.
            kind: of the target: "classes", "labels" or "numbers".
            kinds: {modality: "vector", "sequence", "image", "video", "volume", "tokens", "bytes",
                "words" or "table"}. Tokens are integers [rows, length] with -1 for padding, or a
                list for each row; bytes and words are two ways to read a string for each row; a
                table is a data frame whose columns are numbers or categories.
                ``mmjax.data.codings`` has the classes of these four, which are kinds, too:
                ``Words(length=100)``.

        Raises:
            DataError: an array is not what a task needs.
            UsageError: the seed is not a non-negative integer, or there is no such kind.

        Example:
            >>> rng = np.random.default_rng(0)
            >>> audio, text = rng.normal(size=(100, 20, 13)), rng.integers(50, size=(100, 6))
            >>> Task.from_arrays(
            ...     {"audio": audio, "text": text},
            ...     target=np.arange(100) % 4,
            ...     kind="classes",
            ...     kinds={"text": "tokens"},
            ...     present={"audio": rng.random(100) < 0.9},
            ... )
            Task('own': audio (20, 13), text (6,) -> 4 classes;
            rows: 64 train, 16 valid, 20 test)
        """
        check_mapping("inputs", inputs)
        present, meta, kinds = present if present is not None else {}, meta or {}, kinds or {}
        check_mapping("present", present)
        check_mapping("kinds", kinds, "kind")
        for n in kinds:
            look_up("modality of kinds", n, inputs)
        for n in present:
            look_up("modality of present", n, inputs)
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
        index = np.unique(groups, return_inverse=True)[1]
        if given is None:
            role = deal(index, encoded.strata, seed)
        else:
            role = complete_roles(given, index, encoded.strata, seed)
        check_roles(role, groups)
        everywhere, train = np.ones(size, bool), role == "train"
        for n in inputs:
            if not here.get(n, everywhere)[train].any():
                tell(f"input {n!r}: no training row has it, so that nothing is learned from it")
        read = {
            n: _read_input(n, x, kinds.get(n), here.get(n, everywhere), train, known.get("id"))
            for n, x in inputs.items()
        }
        arrays = {n: values for n, (values, _) in read.items()}
        values, scale = encoded.values, None
        if encoded.kind == "numbers":
            scale = find_scale(values[role == "train"])
            values = scale.standardise(values)
        whole = Split(arrays, values, index, here, known)
        train, valid, test = (whole.take(role == part) for part in ROLES)
        return cls(
            name,
            train,
            valid,
            test,
            out_dim=len(encoded.names) if encoded.kind == "classes" else values.shape[1],
            standardise=standardise,
            names=encoded.names,
            scale=scale,
            padded=tuple(n for n, x in arrays.items() if has_padding(x, here.get(n, everywhere))),
            kinds={n: kind for n, kind in kinds.items() if kind == "volume"},
            codings={n: coding for n, (_, coding) in read.items() if coding is not None},
        )

    @property
    def kind(self) -> Kind:
        """The kind of the targets: classes, labels or numbers."""
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
        """{modality: its scale}, for the inputs that models scale."""
        found: dict[str, Scale | None] = {}
        for name in (name for name in self.modalities if name not in self.standardised):
            values, present = self.train.inputs[name], self.train.present[name]
            coding = self.codings.get(name)
            if coding is not None:
                found[name] = coding.find_scale(values, present) if self.standardise else None
            elif values.dtype == np.uint8:
                found[name] = find_byte_scale(values, present, self.standardise)
            elif self.standardise:
                found[name] = find_input_scale(values, present)
        return {name: scale for name, scale in found.items() if scale is not None}

    def scores(self, prediction: np.ndarray, target: np.ndarray) -> dict[str, Any]:
        """The name of the metric, its value, and those of ``SHOWN``; and the mean of ``row_nll``.

        Args:
            prediction: [rows, out_dim], as models return it.
            target: of the rows, as splits hold it.
        """
        nll = float(row_nll(prediction, target).mean())
        used = {self.metric.name: self.metric, **{n: METRICS[n] for n in SHOWN[self.kind]}}
        own = self.restore(prediction), self.restore(target)
        values = {name: metric.score(*own) for name, metric in used.items()}
        return {"metric": self.metric.name, **values, "nll": nll}

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Predictions or targets as metrics read them: numbers in their own units."""
        return values if self.scale is None else self.scale.restore(values.astype(np.float64))

    def only(self, *modalities: str) -> "Task":
        """The same rows with only some of the modalities, as for a unimodal baseline.

        Example:
            >>> from mmjax.tasks.synthetic import synthetic
            >>> synthetic(size=100).only("a").modalities
            ('a',)
        """
        if {*modalities} == {*self.modalities}:
            return self  # and what it knows of itself
        keep = lambda arrays: {name: arrays[name] for name in modalities}

        def cut(split: Split) -> Split:
            raw = {name: raw for name, raw in split.raw.items() if name in modalities}
            return replace(split, inputs=keep(split.inputs), present=keep(split.present), raw=raw)

        of = lambda facts: {name: facts[name] for name in modalities if name in facts}
        folds = [fold._replace(task=fold.task.only(*modalities)) for fold in self.folds]
        return replace(
            self,
            train=cut(self.train),
            valid=cut(self.valid),
            test=cut(self.test),
            folds=tuple(folds),
            padded=tuple(name for name in self.padded if name in modalities),
            kinds=of(self.kinds),
            codings=of(self.codings),
        )

    def digest(self) -> str:
        """The first 16 hex digits of a sha256 over every array that training and scoring use.

        Example:
            >>> from mmjax.tasks.synthetic import synthetic
            >>> one, other = synthetic(size=100), synthetic(size=100)
            >>> one.digest() == other.digest() != one.only("a").digest()
            True
        """
        read = [x for split in self.splits.values() for x in split.inputs.values()]
        return self._digest_of_files if any(map(on_disk, read)) else self._compute_digest()

    @cached_property  # every file is read in full
    def _digest_of_files(self) -> str:
        return self._compute_digest()

    def _compute_digest(self) -> str:
        sha = hashlib.sha256(b"standardise" if self.standardise else b"")
        sha.update(f"{len(self.folds)} folds".encode() if self.folds else b"")
        for name, coding in sorted(self.codings.items()):
            sha.update(f"{name} {describe_coding(coding)}".encode())
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
    kind: InputKind | Coding | None,
    present: np.ndarray,
    train: np.ndarray,
    ids: np.ndarray | Sequence[Any] | None,
) -> tuple[np.ndarray, Coding | None]:
    """An input as a Task holds it, checked while its rows are still in the given order."""
    given = drop_unnamed(f"input {name!r}", given)
    coding = find_coding(name, given, kind, present)
    if coding is not None:
        check_length({name: as_rows(name, given)}, len(present))
        coding = coding.fit(name, given, present, train)
        return coding.encode(name, given, present, ids), coding
    stated = cast(InputKind | None, kind)
    numbers = shape_input(name, as_numbers(name, given, sample_rank(stated)), stated)
    check_length({name: numbers}, len(present))
    values, where = as_input(name, numbers), f"input {name!r}"
    padded = has_padding(values, present)
    check_input(where, values, present, values.shape, ids, padded)
    if padded:
        tell_lengths(where, values, present)
    check_precision(name, numbers[present], given)
    return values, None
