"""Arrays that may be larger than memory: their rows are read when they are asked for."""

import math
from collections.abc import Iterator

import jax
import numpy as np

_CHUNK_BYTES = 1 << 23


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


def chunks_where(array: np.ndarray, where: np.ndarray) -> Iterator[np.ndarray]:
    """The same of the rows, [rows] bool, that count; a part may have none."""
    for rows, here in zip(chunks(array), chunks(where, like=array), strict=True):
        yield rows[here]
