"""Reads the features of one modality, and the ids of their rows, from any of five formats."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmjax.errors import import_extra
from mmjax.storage.reading import MAX_SMALL, parse_npy, read_npz, reading
from mmjax.tasks.readers.by_id import check_unique
from mmjax.tasks.readers.formats import FIX, MAX_MAPPED

IDS = ".ids.txt"
"""How the name of a file of ids ends that stands beside one of features."""

_EXTRA = "embeddings"  # what to install
_BATCH = 1024  # rows of Parquet that are read at a time
_DENSEST = 1032  # bytes that a byte can unpack to, by deflate
_FILTERS = {1, 2, 3, 32000}  # of HDF5: deflate, shuffle, fletcher32 and LZF


class Features(NamedTuple):
    """The features of one modality.

    Attributes:
        values: numbers [rows, features] or [rows, length, features], memory-mapped where possible.
        ids: unique names of the rows, or None.
    """

    values: np.ndarray
    ids: Sequence[str] | None


def read_features(path: Path) -> Features:
    """Reads a file of features by its extension, a key of ``FORMATS``.

    An archive or HDF5 file holds one array of any name, and optionally its ``ids``, text or
    integers. A Parquet file has a column ``id``, and one column of lists or several of numbers.
    The ids of a file without them, such as ``text.npy``, may be in ``text.ids.txt``, one a line.

    Raises:
        DataError: the file is missing, malformed or too large, holds anything else, or repeats an
            id.
        UsageError: the package that reads the format is not installed.

    Example:
        >>> np.savez("text.npz", ids=["b", "a"], cls=np.eye(2, 3, dtype=np.float16))
        >>> features = read_features(Path("text.npz"))
        >>> features.values.shape, features.ids
        ((2, 3), ['b', 'a'])
    """
    values, ids = FORMATS[path.suffix.lower()](path)
    beside = path.with_name(path.stem + IDS)
    if ids is None and beside.exists():
        with reading(beside, "text with an id on each line", FIX, MAX_SMALL) as (beside, _):
            ids = beside.read_text(encoding="utf-8-sig").splitlines()
    with reading(path, "numbers, and an id for each row", FIX, MAX_MAPPED) as (path, refuse):
        known = values.dtype.kind in "fiub" or values.dtype == "bfloat16"
        if not known or values.ndim not in (2, 3) or 0 in values.shape:
            refuse(f"{values.dtype} of shape {values.shape}")
        if ids is None:
            return Features(values, None)
        names = [*map(_as_text, ids.tolist() if isinstance(ids, np.ndarray) else ids)]
        if len(names) != len(values):
            refuse(f"{len(names)} ids for {len(values)} rows")
        check_unique(names, refuse)
        return Features(values, names)


def _as_text(name: Any) -> str:
    """An id as text without the space around it, as in the table of labels."""
    text = name.decode() if isinstance(name, bytes) else str(name)
    if not isinstance(name, str | bytes | int) or not text.strip():
        raise ValueError(f"the id {name!r:.99}")
    return text.strip()


def _find_array(names: Iterable[str]) -> str:
    """The name of the only array that is not of ids."""
    others = sorted({*names} - {"ids"})
    if len(others) != 1:
        raise ValueError(f"arrays {', '.join(others)[:200]}, rather than one and ids")
    return others[0]


def _read_npy(path: Path) -> tuple[np.ndarray, Any]:
    with reading(path, "an array in a .npy file", FIX, MAX_MAPPED) as (path, _):
        return parse_npy(np.memmap(path, np.uint8, mode="r")), None


def _read_npz(path: Path) -> tuple[np.ndarray, Any]:
    arrays = read_npz(path)
    with reading(path, "one array, and ids, in an .npz file", FIX) as _:
        return arrays[_find_array(arrays)], arrays.get("ids")


def _read_safetensors(path: Path) -> tuple[np.ndarray, Any]:
    safetensors = import_extra("data", "safetensors", _EXTRA)
    with (
        reading(path, "one array, and ids, in a safetensors file", FIX, MAX_MAPPED) as (path, _),
        safetensors.safe_open(path, framework="numpy") as file,
    ):
        names = {*file.keys()}
        ids = file.get_tensor("ids") if "ids" in names else None
        return file.get_tensor(_find_array(names)), ids


def _read_parquet(path: Path) -> tuple[np.ndarray, Any]:
    arrow = import_extra("data", "pyarrow", _EXTRA)
    parquet = import_extra("data", "pyarrow.parquet", _EXTRA)
    with (
        reading(path, "a column id, and lists or numbers, in Parquet", FIX, MAX_MAPPED) as (
            path,
            _,
        ),
        parquet.ParquetFile(path) as file,
    ):
        batches, size = [], 0
        for batch in file.iter_batches(_BATCH):  # whatever the file says of its size
            batches.append(batch)
            size += batch.nbytes
            if size > MAX_MAPPED:
                raise ValueError(f"more than {MAX_MAPPED} bytes")
        table = arrow.Table.from_batches(batches, file.schema_arrow)
        names = [name for name in table.column_names if name != "id"]
        if any(name.startswith("__index_level_") for name in names):
            raise ValueError("an index without a name; call it id by table.rename_axis('id')")
        columns = [_unnest(name, table[name].combine_chunks()) for name in names]
        if len(names) > 1 and any(column.ndim > 1 for column in columns):
            raise ValueError(f"lists beside other columns, {', '.join(names)[:200]}")
        values = columns[0] if len(names) == 1 and columns[0].ndim > 1 else np.stack(columns, 1)
        return values, table["id"].to_pylist() if "id" in table.column_names else None


def _unnest(name: str, column: Any) -> np.ndarray:
    """A column of numbers, or of lists of one length in each other, as an array [rows, ...]."""
    compute = import_extra("data", "pyarrow.compute", _EXTRA)
    shape = [len(column)]
    while str(column.type).partition("<")[0].endswith("list"):
        lengths = compute.list_value_length(column).unique().to_pylist()
        if len(lengths) != 1 or lengths == [None]:
            raise ValueError(f"lists of {len(lengths)} lengths, such as {lengths[:3]}, in {name}")
        shape.append(lengths[0])
        column = column.flatten()
    if column.null_count:
        raise ValueError(f"{column.null_count} missing values in {name}; leave out such rows")
    return column.to_numpy(zero_copy_only=False).reshape(shape)


def _read_hdf5(path: Path) -> tuple[np.ndarray, Any]:
    h5py = import_extra("data", "h5py", _EXTRA)
    with (
        reading(path, "one array, and ids, in an HDF5 file", FIX, MAX_MAPPED) as (path, _),
        h5py.File(path, "r") as file,
    ):
        for name in file:  # a link to another file could read anything
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{name}, which is a link")
            if not isinstance(file[name], h5py.Dataset):
                raise ValueError(f"{name}, which is no array")
        ids = _read_dataset(file["ids"]) if "ids" in file else None
        return _read_dataset(file[_find_array(file)]), ids


def _read_dataset(dataset: Any) -> np.ndarray:
    """The values of a dataset that has no part in other files, and not more than its file can."""
    plan = dataset.id.get_create_plist()
    filters = [plan.get_filter(number)[0] for number in range(plan.get_nfilters())]
    if dataset.is_virtual or dataset.external or len({*filters} & _FILTERS) < len(filters):
        raise ValueError(f"{dataset.name}, which is kept in another file or by another filter")
    if dataset.dtype.kind not in "fiubS":  # HDF5 may never end to look for text of any length
        raise ValueError(f"{dataset.name} of {dataset.dtype}; write text by numpy.array(ids, 'S')")
    if dataset.nbytes > _DENSEST * dataset.id.get_storage_size():
        raise ValueError(f"{dataset.name}, most of which was never written")
    return dataset[()]


FORMATS: Mapping[str, Callable[[Path], tuple[np.ndarray, Any]]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
    ".parquet": _read_parquet,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
}
