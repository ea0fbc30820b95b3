"""Arrays that may be larger than memory: their rows are read on demand."""

import math
from collections.abc import Iterator

import jax
import numpy as np

_CHUNK_BYTES = 1 << 23


def on_disk(array: np.ndarray) -> bool:
    """Whether an array's rows are read from disk each time they are indexed."""
    return isinstance(array, np.memmap) or not isinstance(array, np.ndarray | jax.Array)


def chunks(array: np.ndarray, like: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Iterates over the rows of an array in chunks of a few megabytes, in order.

    Args:
        array: the rows; may be larger than memory.
        like: an array with as many rows, whose chunks set the boundaries.
    """
    model = array if like is None else like
    row_bytes = math.prod(model.shape[1:]) * model.dtype.itemsize
    rows = max(1, _CHUNK_BYTES // max(1, row_bytes))
    for start in range(0, len(array), rows):
        yield np.asarray(array[start : start + rows])


def chunks_where(array: np.ndarray, where: np.ndarray) -> Iterator[np.ndarray]:
    """Likewise, of the rows selected by ``where``, [rows] bool; a chunk may be empty."""
    for rows, here in zip(chunks(array), chunks(where, like=array), strict=True):
        yield rows[here]
