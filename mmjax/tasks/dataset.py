"""A task from a dataset of another library: splits that are sequences of mappings."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mmjax.errors import DataError, UnknownNameError
from mmjax.own_data import deal, encode_target
from mmjax.task import Task
from mmjax.tasks.files import pixels_of
from mmjax.tasks.samples import Sound, Stacked, stack

Rows = Sequence[Mapping[str, Any]]

_ROLES = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid"}
_ROLES |= {"test": "test"}


def from_dataset(
    dataset: Mapping[str, Rows] | Rows,
    *,
    modalities: Mapping[str, str],
    target: str | Sequence[str],
    group: str | None = None,
    name: str = "dataset",
    seed: int = 0,
) -> Task:
    """Makes a task of a dataset that gives its rows as mappings.

    That is a ``Dataset`` or ``DatasetDict`` of Hugging Face datasets, a data source of
    tensorflow_datasets or a mapping of several, or lists of dicts. All rows are read into memory.

    A value is numbers in the shape of a sample, a Pillow image, or a recording as a mapping with
    ``array`` and ``sampling_rate``, which becomes MFCCs; None where a row lacks the modality. A
    dataset without splits is split as ``Task.from_arrays`` does it; one without validation gives up
    a part of its training rows.

    Args:
        dataset: {"train", "validation" (or "valid", "val", "dev"), "test": rows}, or rows.
        modalities: {modality: column}.
        target: column of classes, of vectors of labels 0 and 1, or of floats; or columns of labels
            or of floats.
        group: column of what must not be split apart, such as speakers.
        name: of the task.
        seed: of the split.

    Raises:
        DataError: samples do not fit together, or to a task.
        UnknownNameError: there is no such column or split.
    """
    splits = dict(dataset) if isinstance(dataset, Mapping) else {"": dataset}
    rows = [row for part in splits.values() for row in _rows(part)]
    if not rows:
        raise DataError(name, expected="at least one row", got="none")
    targets = [target] if isinstance(target, str) else list(target)
    for column in (*modalities.values(), *targets, *([group] if group else [])):
        if column not in rows[0]:
            raise UnknownNameError("column", column, map(str, rows[0]))
    found = {
        modality: _read_column([row[column] for row in rows], f"{name}, column {column!r}")
        for modality, column in modalities.items()
    }
    values = [np.array([_plain(row[column]) for row in rows]) for column in targets]
    values = values[0] if len(values) == 1 else np.stack(values, axis=1)
    groups = np.array([_plain(row[group]) for row in rows]) if group else np.arange(len(rows))
    return Task.from_arrays(
        {modality: stacked.values for modality, stacked in found.items()},
        values,
        name=name,
        group=groups,
        present={modality: stacked.present for modality, stacked in found.items()},
        split=_roles(splits, groups, values, seed),
        seed=seed,
    )


def _rows(part: Rows) -> Iterable[Mapping[str, Any]]:
    """By their number: data sources have no other order."""
    return (part[index] for index in range(len(part)))


def _roles(
    splits: Mapping[str, Rows], group: np.ndarray, target: np.ndarray, seed: int
) -> np.ndarray | None:
    """The role of each row; None where all are to be dealt out."""
    if len(splits) == 1:
        return None
    for split in splits:
        if split not in _ROLES:
            raise UnknownNameError("split", split, _ROLES)
    role = np.concatenate([np.full(len(part), _ROLES[key]) for key, part in splits.items()])
    if "valid" in role:
        return role
    train = np.flatnonzero(role == "train")
    dealt = deal(group[train], encode_target(target[train]), seed)
    role[train[dealt == "valid"]] = "valid"
    return role


def _read_column(values: Sequence[Any], where: str) -> Stacked:
    try:
        return stack([_sample(value) for value in values], where)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        expected = "numbers, images, or recordings with array and sampling_rate"
        got = f"{type(error).__name__}: {error}"[:300]
        raise DataError(where, expected=expected, got=got) from error


def _sample(value: Any) -> np.ndarray | Sound | None:
    """A value as ``stack`` takes it."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        samples = np.asarray(value["array"], np.float32)
        return Sound(samples.reshape(len(samples), -1).mean(axis=1), int(value["sampling_rate"]))
    if hasattr(value, "getbands"):  # a Pillow image
        return pixels_of(value)
    array = np.atleast_1d(value)
    return array if array.dtype == np.uint8 else array.astype(np.float32)


def _plain(value: Any) -> Any:
    """Text of bytes, which tensorflow_datasets gives."""
    return value.decode() if isinstance(value, bytes) else value
