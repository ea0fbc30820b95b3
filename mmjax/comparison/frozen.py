"""Frozen encoders run once: arms train on their features.

A frozen encoder is a transform of the task. Its features of every row are computed once, kept in
the user's cache folder, and shared by all arms.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.data.chunks import chunks, on_disk
from mmjax.data.task import Split, Task
from mmjax.encoders.pretrained import Features, Pretrained, pack
from mmjax.errors import DataError, name_rows, tell
from mmjax.model import read_input
from mmjax.storage.array_cache import keep_array
from mmjax.training.predict import cut
from mmjax.training.recipe import EncoderLike, make_encoder
from mmjax.types import Batch

BATCH = 64
"""Most rows of a forward pass: enough to keep a GPU busy with a large network."""

_TOLD = 10.0  # seconds between lines on how far it is


class FrozenEncoder:
    """A frozen encoder of one modality, compiled on first use.

    Args:
        name: of the modality.
        encoder: its encoder.
        shape: of a sample.
    """

    def __init__(self, name: str, encoder: Pretrained, shape: tuple[int, ...]) -> None:
        self.name, self.encoder = name, encoder
        row = jax.ShapeDtypeStruct((1, *shape), np.float32)
        self.reader = Features(repr(encoder.network), encoder.network.makes_tokens(row))
        """The encoder of a model that reads its features."""

    def features(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """The features of some rows, from the cache if they are there.

        They are on disk if the rows are, and zeros where the modality is absent.

        Args:
            values: [rows, ...].
            present: [rows] bool.

        Returns:
            float32 [rows, length, features].

        Raises:
            DataError: they are not finite.
        """
        size = _batch_size(values)
        like = lambda x: jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype)
        program = self._program.trace(self.arrays, like(values), like(present))
        batches = partial(self.encode, values, present)
        text = program.lower().as_text()
        if "callback" in text:  # into Python, whose code it does not tell
            return np.concatenate([*batches()])
        shape = (len(values), *program.out_info.shape[1:])
        key = self._key(text, values, present)
        return keep_array(key, shape, batches, mapped=on_disk(values))

    @property
    def arrays(self) -> dict[str, Any]:
        """Its parameters by name."""
        return self.encoder.network.weights.arrays

    @cached_property
    def _program(self) -> Any:
        return jax.jit(self.run)

    def run(self, arrays: Mapping[str, Any], values: jax.Array, present: jax.Array) -> jax.Array:
        """The features of rows, a pure function of the encoder's arrays."""
        x = read_input(self.encoder, values)
        x = jnp.where(present.reshape(-1, *[1] * (x.ndim - 1)), x, 0)
        tokens = self.encoder.network.encode(x, arrays)
        return jnp.where(present[:, None, None], pack(tokens, self.reader.masked), 0)

    def _key(self, text: str, values: np.ndarray, present: np.ndarray) -> str:
        """Of all that determines the features: program, parameters, rows, versions, device.

        The program tells what the code and everything that it closes over compute; names do not.
        """
        versions = [version(package) for package in ("mmjax", "jax", "jaxlib")]
        facts = self.encoder.network.weights.digest, versions, jax.devices()[0].device_kind
        sha = hashlib.sha256(f"{facts}".encode())
        sha.update(text.encode())
        for array in (values, present):
            for rows in chunks(array):
                sha.update(np.ascontiguousarray(rows).data)
        return sha.hexdigest()

    def encode(self, values: np.ndarray, present: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the features of a batch of rows at a time; see ``features``."""
        arrays, done, told = jax.device_put(self.arrays), 0, time.monotonic()
        rows = cut(Batch({"x": values}, {"x": present}, present), _batch_size(values))
        for part in rows.parts:
            encoded = np.asarray(self._program(arrays, part.inputs["x"], part.present["x"]))
            encoded = encoded[: rows.size - done]
            bad = ~np.isfinite(encoded).all(axis=(1, 2))
            if bad.any():
                got = f"NaN or infinity in {name_rows(np.pad(bad, (done, 0)))}"
                raise DataError(f"encoder of {self.name}", expected="finite features", got=got)
            yield encoded
            done += len(encoded)
            if time.monotonic() - told > _TOLD:
                told = time.monotonic()
                tell(f"{self.name}: {done:,} of {rows.size:,} rows are encoded")


def _batch_size(values: np.ndarray) -> int:
    return min(BATCH, len(values))


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
        return part if part is self else replace(part, source=source_of(self).only(*modalities))

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
        >>> encoder = pretrained(lambda w, x: jnp.tanh(x @ w), np.ones((12, 5), np.float32))
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
            made = make_encoder(name, encoder, task.shapes[name])
            frozen = None
            if isinstance(made, Pretrained) and not made.trainable:
                frozen = FrozenEncoder(name, made, task.shapes[name])
            self._made[key] = encoder, frozen
        return self._made[key][1]

    def _encode(self, task: Task, frozen: Mapping[str, FrozenEncoder]) -> EncodedTask:
        splits = {part: self._encode_split(split, frozen) for part, split in task.splits.items()}
        given = {f.name: getattr(task, f.name) for f in fields(Task)}
        return EncodedTask(**{**given, **splits}, source=task, frozen=frozen)

    def _encode_split(self, split: Split, frozen: Mapping[str, FrozenEncoder]) -> Split:
        inputs = dict(split.inputs)
        for name, encoder in frozen.items():
            values, present = split.inputs[name], split.present[name]
            key = id(encoder), id(values), id(present)
            if key not in self._features:
                self._features[key] = encoder.features(values, present)
            inputs[name] = self._features[key]
        raw = {name: raw for name, raw in split.raw.items() if name not in frozen}
        return replace(split, inputs=inputs, raw=raw)
