"""Any task as a TensorFlow dataset on disk, written and read without TensorFlow."""

import importlib.util
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.data.task import Split, Task
from mmjax.errors import DataError, UnknownNameError, UsageError
from mmjax.storage.reading import MAX_SMALL
from mmjax.tasks.description import columns, describe, parse
from mmjax.tasks.mnist_fsdd import Images, Recordings, official_roles, pair, spoken_features
from mmjax.tasks.readers.columns import check_rows, open_columns, opening
from mmjax.tasks.readers.formats import data_folder, find

PLACE = "mmjax_task/1.0.0"  # the builder's name and version, as tensorflow_datasets lays them out
OWN_FEATURES = "tensorflow_datasets.core.features."
INT16_SCALE = 2**15


def prepare(task: Task, folder: str | Path) -> None:
    """Writes a task to ``folder``, for `tfds` or any other reader of tensorflow_datasets.

    The format is array_record, the only one that needs no TensorFlow. Rows keep their order.

    Raises:
        UsageError: ``folder`` already holds a prepared task.
        DataError: splits differ in ``meta`` or dtypes, or ``meta`` has a dtype that the format
            cannot represent.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> task = synthetic(size=100)
        >>> prepare(task, "xor")
        Downloading and preparing dataset ... will reuse this data.
        >>> tfds("xor", rows="disk").digest() == task.digest()
        True
    """
    import tensorflow_datasets  # takes half a second, and most tasks do without it

    if (Path(folder) / PLACE).exists():
        raise UsageError(
            "folder", expected="a folder without a task", got=f"{folder}, which has {PLACE}",
            fix="Choose another folder, or remove that one first.",
        )  # fmt: skip
    written = {role: columns(split) for role, split in task.splits.items()}
    kinds = _check_kinds(task.name, {role: _kinds(arrays) for role, arrays in written.items()})
    features = tensorflow_datasets.features

    class MmjaxTask(  # type: ignore[call-arg]  # the base class is untyped
        tensorflow_datasets.core.GeneratorBasedBuilder, skip_registration=True
    ):
        VERSION = tensorflow_datasets.core.Version("1.0.0")

        def _info(self):
            return tensorflow_datasets.core.DatasetInfo(
                builder=self,
                description=f"The task {task.name!r} of mmjax.",
                features=features.FeaturesDict({
                    key: features.Tensor(shape=shape, dtype=dtype) if dtype else features.Text()
                    for key, (shape, dtype) in kinds.items()
                }),
                metadata=tensorflow_datasets.core.MetadataDict(
                    {"name": task.name, "out_dim": task.out_dim, "about": describe(task)}
                ),
                disable_shuffling=True,
            )  # fmt: skip

        def _split_generators(self, dl_manager):
            return {role: self._generate_examples(role) for role in written}

        def _generate_examples(self, role):
            for row in range(task.splits[role].size):
                yield row, {key: array[row] for key, array in written[role].items()}

    with tempfile.TemporaryDirectory() as downloads:  # by default a folder beside the data
        builder = MmjaxTask(data_dir=str(folder), file_format="array_record")
        builder.download_and_prepare(download_dir=downloads)


def tfds(
    data: str | Path | None = None,
    *,
    source: str = "prepared",
    rows: str = "memory",
    seed: int = 0,
) -> Task:
    """Reads a task that `prepare` wrote, bit for bit, or makes one from public datasets.

    Reference: TensorFlow Datasets, https://www.tensorflow.org/datasets (2019).

    Args:
        data: the folder given to `prepare`; for "public", the data_dir of tensorflow_datasets.
        source: "prepared"; or "public", which needs TensorFlow, for the catalogue's "mnist" and
            "spoken_digit", paired and split as in `mnist_fsdd` with ``split="official"``.
        rows: where the inputs of a prepared task are kept: in "memory", or on "disk", where each
            row is read whenever it is needed.
        seed: of the pairing.

    Raises:
        DataError: there is no prepared task, or it is corrupted.
        UsageError: an option has an invalid value, or TensorFlow is missing.
    """
    if source not in ("prepared", "public"):
        raise UnknownNameError("source", source, ["prepared", "public"])
    if rows not in ("memory", "disk"):
        raise UnknownNameError("rows", rows, ["memory", "disk"])
    if source == "public":
        return _read_public(data, seed)
    return _read_prepared(find(data_folder(data), PLACE), on_disk=rows == "disk")


def _read_prepared(folder: Path, *, on_disk: bool) -> Task:
    import tensorflow_datasets

    with opening(folder):
        _check_features(folder / "features.json")
        _check_shards(folder / "dataset_info.json")
        builder = tensorflow_datasets.builder_from_directory(folder)
        check_rows(builder)
        read = partial(_map_split if on_disk else _read_split, builder)
        splits = {role: read(role) for role in ("train", "valid", "test")}
        facts = builder.info.metadata
        name, out_dim = facts["name"], facts["out_dim"]
        about = parse(facts["about"]) if "about" in facts else {}
    train, valid, test = splits["train"], splits["valid"], splits["test"]
    try:
        return Task(name, train, valid, test, out_dim, **about)
    except DataError as error:  # does not name the folder
        raise DataError(folder, expected="a valid task", got=f"{error}"[:500]) from error


def _read_split(builder: Any, role: str) -> Split:
    dtypes = {key: feature.np_dtype for key, feature in builder.info.features.items()}
    rows = list(builder.as_data_source(role))
    arrays = {key: _as_array([row[key] for row in rows], dtypes[key]) for key in dtypes}
    return _to_split(arrays)


def _map_split(builder: Any, role: str) -> Split:
    """A split whose inputs are read on demand."""
    found: dict[str, Any] = {**open_columns(builder, role)}
    small = {key: column for key, column in found.items() if not key.startswith("inputs/")}
    return _to_split(found | {key: _as_array(c[:], c.dtype) for key, c in small.items()})


def _check_features(path: Path) -> None:
    """Raises ValueError for a class of another package, which would be imported."""

    def check(node: dict) -> dict:
        for key in ("pythonClassName", "python_class_name"):
            if not node.get(key, OWN_FEATURES).startswith(OWN_FEATURES):
                raise ValueError(f"a feature of class {node[key]!r}")
        return node

    content = _read_json(path, check)
    if "type" in content:
        raise ValueError("the features of tensorflow_datasets before 4.4")  # with other keys


def _check_shards(path: Path) -> None:
    """Raises ValueError if more shards are listed than exist: the package would open each."""
    claimed = sum(len(split["shardLengths"]) for split in _read_json(path)["splits"])
    if claimed > (found := sum(1 for _ in path.parent.iterdir())):
        raise ValueError(f"{found} files, though {path.name} lists {claimed} shards")


def _read_json(path: Path, hook: Callable[[dict], dict] | None = None) -> dict:
    if path.stat().st_size > MAX_SMALL:
        raise ValueError(f"{path.name} of {path.stat().st_size} bytes")
    return json.loads(path.read_text(encoding="utf-8"), object_hook=hook)


def _read_public(folder: str | Path | None, seed: int) -> Task:
    if importlib.util.find_spec("tensorflow") is None:
        raise UsageError(
            "source",
            expected='"prepared", as TensorFlow is not installed',
            got="'public'",
            fix="Install tensorflow, or use the task mnist_fsdd, which reads the published files.",
        )
    written = {}
    for name, split in (("train", "train"), ("t10k", "test")):
        rows = list(_load_public("mnist", split, folder))
        pixels, digit = (np.stack([row[key] for row in rows]) for key in ("image", "label"))
        written[name] = Images(pixels, digit)
    rows = list(_load_public("spoken_digit", "train", folder))
    rows.sort(key=lambda row: row["audio/filename"])
    names = [row["audio/filename"].decode().removesuffix(".wav").split("_") for row in rows]
    waves = [(row["audio"] / INT16_SCALE).astype(np.float32) for row in rows]
    spoken = Recordings(
        audio=np.stack([spoken_features(wave, 8000, "spoken_digit") for wave in waves]),
        digit=np.array([row["label"] for row in rows]),
        speaker=np.array([name[1] for name in names]),
        take=np.array([int(name[2]) for name in names]),
    )
    return pair("tfds/mnist_spoken_digit", written, spoken, official_roles(spoken.take), seed)


def _load_public(name: str, split: str, folder: str | Path | None) -> Iterable[dict]:
    import tensorflow_datasets

    # Downloads must match the size and the sha256 that the catalogue has pinned.
    checked = tensorflow_datasets.download.DownloadConfig(force_checksums_validation=True)
    rows = tensorflow_datasets.load(
        name,
        split=split,
        data_dir=folder,
        shuffle_files=False,
        download_and_prepare_kwargs={"download_config": checked},
    )
    return tensorflow_datasets.as_numpy(rows)


def _as_array(values: Any, dtype: np.dtype) -> np.ndarray:
    is_text = isinstance(values[0], bytes)
    return np.array([v.decode() for v in values]) if is_text else np.array(values, dtype)


def _to_split(arrays: Mapping[str, np.ndarray]) -> Split:
    """The inverse of ``columns``."""
    part = lambda kind: {
        key.removeprefix(kind): array for key, array in arrays.items() if key.startswith(kind)
    }
    return Split(
        inputs=part("inputs/"),
        target=arrays["target"],
        group=arrays["group"],
        present=part("present/"),
        meta=part("meta/"),
    )


def _kinds(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple]:
    """{column: (shape of one row, dtype)}; no dtype for text, whose width differs by split."""
    return {
        key: (array.shape[1:], None if array.dtype.kind == "U" else array.dtype)
        for key, array in arrays.items()
    }


def _check_kinds(name: str, kinds: Mapping[str, dict]) -> dict[str, tuple]:
    for role, found in kinds.items():
        if found != kinds["train"]:
            raise DataError(f"task {name!r}, {role}", expected=f"{kinds['train']}", got=f"{found}")
    for key, (shape, dtype) in kinds["train"].items():
        exact = shape == () if dtype is None else dtype == np.float32 or dtype.kind in "iub"
        if not exact:
            raise DataError(
                f"task {name!r}, {key}",
                expected="integers, float32, bool or one string per row",
                got=f"{dtype or 'strings'} of shape {shape}",
                fix="Cast it first: the file format would lose precision.",
            )
    return kinds["train"]
