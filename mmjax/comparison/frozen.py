"""Frozen encoders run once: arms train on their features.

A frozen encoder is a transform of the task. Its features of every row are computed once, kept in
the user's cache folder, and shared by all arms.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import FunctionType
from typing import Any

import numpy as np

from mmjax.comparison.frozen_encoder import FrozenEncoder
from mmjax.data.task import Split, Task
from mmjax.encoders.adapter import Pretrained
from mmjax.registry import ENCODERS
from mmjax.training.recipe import EncoderLike, make_encoder, sample_of
from mmjax.types import Batch


@dataclass(frozen=True, eq=False, repr=False)
class EncodedTask(Task):
    """A task behind frozen encoders: their features in place of inputs.

    Attributes:
        source: the task before them, whose digest it has.
        frozen: {modality: its encoder}.
    """

    source: Task | None = None
    frozen: Mapping[str, FrozenEncoder] = field(default_factory=dict)

    def only(self, *modalities: str) -> Task:
        """As ``Task.only``."""
        part: Any = super().only(*modalities)
        if part is self:
            return self
        frozen = {name: self.frozen[name] for name in modalities if name in self.frozen}
        return replace(part, source=source_of(self).only(*modalities), frozen=frozen)

    def digest(self) -> str:
        """That of the source."""
        return source_of(self).digest()


def source_of(task: Task) -> Task:
    """The task before its frozen encoders, if it has any."""
    return task.source if isinstance(task, EncodedTask) and task.source else task


def encode_rows(task: Task, rows: Batch) -> Batch:
    """Rows of the source as a model of the task reads them."""
    if not isinstance(task, EncodedTask):
        return rows
    inputs: Any = dict(rows.inputs)
    present: Any = rows.present
    for name, frozen in task.frozen.items():
        inputs[name] = np.concatenate([*frozen.encode(inputs[name], present[name])])
    return rows._replace(inputs=inputs)


class FrozenEncoders:
    """Runs the frozen encoders of a comparison, each on the rows of a task once.

    Example:
        >>> from mmjax.encoders import pretrained
        >>> from mmjax.tasks.synthetic import synthetic
        >>> encoder = pretrained(lambda w, x: x @ w, np.ones((12, 5), np.float32))
        >>> task, encoders = FrozenEncoders()(synthetic(size=100), {"a": encoder})
        >>> task.shapes, type(encoders["a"]).__name__
        ({'a': (1, 5), 'b': (12,)}, 'Features')
    """

    def __init__(self) -> None:
        # With what an id stands for, which therefore remains its own.
        self._made: dict[Any, tuple[EncoderLike, FrozenEncoder | None]] = {}
        self._tasks: dict[Any, tuple[Task, Task]] = {}
        self._features: dict[Any, np.ndarray] = {}

    def __call__(
        self, task: Task, encoders: Mapping[str, EncoderLike]
    ) -> tuple[Task, Mapping[str, EncoderLike]]:
        """The task behind those encoders that are frozen, and the encoders to use on it.

        Raises:
            UsageError: as ``make_encoder``.
            DataError: features are not finite.
        """
        used = {name: encoder for name, encoder in encoders.items() if name in task.shapes}
        found = {name: self._freeze(task, name, encoder) for name, encoder in used.items()}
        frozen = {name: encoder for name, encoder in found.items() if encoder}
        if not frozen:
            return task, encoders
        key = (id(task), *sorted(map(id, frozen.values())))
        if key not in self._tasks:
            self._tasks[key] = task, self._encode(task, frozen)
        return self._tasks[key][1], {**encoders, **{n: e.reader for n, e in frozen.items()}}

    def _freeze(self, task: Task, name: str, encoder: EncoderLike) -> FrozenEncoder | None:
        key = name, encoder if isinstance(encoder, str) else id(encoder)
        if key not in self._made:
            coding = task.codings.get(name)
            made = make_encoder(name, encoder, task.shapes[name], coding)
            frozen = None
            if isinstance(made, Pretrained) and not made.trainable:
                row = sample_of(task.shapes[name], coding)
                frozen = FrozenEncoder(name, made, row, name in task.padded)
            self._made[key] = encoder, frozen
        return self._made[key][1]

    def _encode(self, task: Task, frozen: Mapping[str, FrozenEncoder]) -> EncodedTask:
        test = self._encode_split(task.test, frozen)
        for fold in task.folds:  # whose rows are all among these
            for role, split in fold.task.splits.items():
                for name, encoder in frozen.items():
                    features = test.inputs[name][fold.rows[role]]
                    self._features[_key(encoder, split, name)] = features
        parts = {"train": task.train, "valid": task.valid}
        splits = {name: self._encode_split(split, frozen) for name, split in parts.items()}
        given = {f.name: getattr(task, f.name) for f in fields(Task)}
        rest = lambda facts: {name: fact for name, fact in facts.items() if name not in frozen}
        given |= {"kinds": rest(task.kinds), "codings": rest(task.codings)}
        given["padded"] = tuple(name for name in task.padded if name not in frozen)
        return EncodedTask(**{**given, **splits, "test": test}, source=task, frozen=frozen)

    def _encode_split(self, split: Split, frozen: Mapping[str, FrozenEncoder]) -> Split:
        inputs = dict(split.inputs)
        for name, encoder in frozen.items():
            key = _key(encoder, split, name)
            if key not in self._features:
                self._features[key] = encoder.features(split.inputs[name], split.present[name])
            inputs[name] = self._features[key]
        raw = {name: raw for name, raw in split.raw.items() if name not in frozen}
        return replace(split, inputs=inputs, raw=raw)


def _key(encoder: FrozenEncoder, split: Split, name: str) -> tuple[int, int, int]:
    return id(encoder), id(split.inputs[name]), id(split.present[name])


def read_in_units(encoders: Mapping[str, Any]) -> set[str]:
    """The modalities of which an encoder, or one of several alternatives, reads its own units."""
    found = {name: given if isinstance(given, list | tuple) else [given]
             for name, given in encoders.items()}  # fmt: skip
    return {name for name, listed in found.items() if any(map(_reads_units, listed))}


def _reads_units(encoder: Any) -> bool:
    made = ENCODERS.get(encoder) if isinstance(encoder, str) else encoder
    if isinstance(made, FunctionType):
        try:
            made = made()
        except Exception:  # whatever its code does; ``make_encoder`` tells of it
            return False
    return getattr(made, "in_units", False)
