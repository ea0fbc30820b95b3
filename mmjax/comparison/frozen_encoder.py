"""A frozen encoder, and the features that it makes of rows."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.data.chunks import chunks, on_disk
from mmjax.encoders.adapter import Features, Pretrained, pack
from mmjax.errors import DataError, name_rows, tell
from mmjax.model import read_input
from mmjax.storage.array_cache import keep_array
from mmjax.training.predict import cut
from mmjax.types import Batch

BATCH = 64
"""Most rows of a forward pass: enough to keep a GPU busy with a large network."""

_TOLD = 10.0  # seconds between lines on how far it is


class FrozenEncoder:
    """A frozen encoder of one modality, compiled on first use.

    Args:
        name: of the modality.
        encoder: its encoder.
        row: what it reads of a row, [1, ...].
        padded: whether rows are padded by NaN, in place of which it reads zeros.
    """

    def __init__(
        self, name: str, encoder: Pretrained, row: jax.ShapeDtypeStruct, padded: bool = False
    ) -> None:
        self.name, self.encoder, self.padded = name, encoder, padded
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
        x = jnp.where(jnp.isnan(x), 0, x) if self.padded else x
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
