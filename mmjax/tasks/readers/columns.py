"""Prepared tasks: error reporting, and columns that stay on disk."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.errors import DataError

_ROWS = 256  # records, with all their columns, in memory at a time


@contextmanager
def opening(folder: str | Path) -> Iterator[None]:
    """Turns every failure with a prepared task into one DataError that names its folder."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            folder,
            expected="a task that mmjax.tasks.tfds.prepare wrote",
            got=f"{type(error).__name__}: {error}"[:300],
            fix="Prepare it again in an empty folder.",
        ) from error


class Column:
    """One feature of every row, like an array [rows, ...] that is read when indexed.

    Attributes:
        shape: number of rows, and the shape of one.
        dtype: of the values.
    """

    def __init__(
        self,
        read: Callable[[list[int]], Sequence[Any]],
        shape: tuple[int, ...],
        dtype: np.dtype,
    ) -> None:
        """``read(rows)`` returns the value of each of these rows, and must be thread-safe."""
        self._read, self.shape, self.dtype = read, shape, np.dtype(dtype)

    @property
    def nbytes(self) -> int:
        """Bytes that all values would take in memory."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        """Reads rows: an index, a slice, a mask, or an array of indices of any shape."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        index = np.asarray(rows)
        if index.dtype == bool:
            index = np.flatnonzero(index)
        if index.size and (index.min() < 0 or index.max() >= len(self)):
            raise IndexError(f"rows from {index.min()} to {index.max()} of {len(self)}")
        flat = index.ravel().tolist()
        values = np.empty((len(flat), *self.shape[1:]), self.dtype)
        for start in range(0, len(flat), _ROWS):
            for place, value in enumerate(self._read(flat[start : start + _ROWS]), start):
                values[place] = value
        return values.reshape(index.shape + self.shape[1:])


def check_rows(builder: Any) -> None:
    """Raises ValueError if a split's files do not hold as many rows as the dataset claims."""
    from array_record.python.array_record_module import ArrayRecordReader

    for role, split in builder.info.splits.items():
        found = sum(ArrayRecordReader(str(path)).num_records() for path in split.filepaths)
        if split.num_examples != found:
            raise ValueError(f"{found} rows in {role}, which claims {split.num_examples}")


def open_columns(builder: Any, role: str) -> dict[str, Column]:
    """All columns of a split of a dataset; reading one decodes no other."""
    import tensorflow_datasets

    raw = tensorflow_datasets.decode.DeserializeMethod.RAW_BYTES
    records = builder.as_data_source(role, deserialize_method=raw)

    def read(key: str, feature: Any, rows: list[int]) -> list[Any]:
        with opening(builder.data_dir):
            return [feature.deserialize_example_np(r)[key] for r in records.__getitems__(rows)]

    columns = {}
    for key, feature in builder.info.features.items():
        alone = tensorflow_datasets.features.FeaturesDict({key: feature})
        first = np.shape(read(key, alone, [0])[0]) if len(records) else feature.shape
        if first != feature.shape:
            raise ValueError(f"{key} of shape {first}, which claims {feature.shape}")
        shape = (len(records), *feature.shape)
        columns[key] = Column(partial(read, key, alone), shape, feature.np_dtype)
    return columns
