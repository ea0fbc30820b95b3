"""A task from a dataset of another library: splits that are sequences of mappings."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from mmjax.errors import DataError, UnknownNameError, look_up
from mmjax.own_data import as_array, as_group, check_mapping, encode_target
from mmjax.splits import ROLES, SYNONYMS, as_roles, deal
from mmjax.task import Task
from mmjax.tasks.files import pixels_of
from mmjax.tasks.samples import Stacked, stack
from mmjax.tasks.sound import Sound

Rows = Sequence[Mapping[str, Any]]

_SPLITS = (*ROLES, *SYNONYMS)


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
    check_mapping("modalities", modalities)
    splits = dict(dataset) if isinstance(dataset, Mapping) else {"": dataset}
    rows = [row for key, part in splits.items() for row in _rows(part, f"{name} {key}".strip())]
    if not rows:
        raise DataError(name, expected="at least one row", got="none")
    read = partial(_read_column, rows, name)
    found = {
        modality: _samples(read(column), name, column) for modality, column in modalities.items()
    }
    columns = [target] if isinstance(target, str) else list(target)
    values = [as_array(f"{name}, column {column!r}", read(column)) for column in columns]
    values = values[0] if len(values) == 1 else np.stack(values, axis=1)
    groups = as_group(read(group)) if group else np.arange(len(rows))
    return Task.from_arrays(
        {modality: stacked.values for modality, stacked in found.items()},
        values,
        name=name,
        group=groups,
        present={modality: stacked.present for modality, stacked in found.items()},
        split=_roles(splits, groups, values, seed),
        seed=seed,
    )


def _rows(part: Rows, where: str) -> Sequence[Mapping[str, Any]]:
    """By their number: data sources have no other order."""
    try:
        rows = [part[index] for index in range(len(part))]
    except (KeyError, TypeError):  # no len, or other keys
        rows = [None]
    if not all(isinstance(row, Mapping) for row in rows):
        expected = "a sequence of rows that are mappings"
        fix = "A table of pandas has them as table.to_dict('records')."
        raise DataError(where, expected=expected, got=type(part).__name__, fix=fix)
    return rows


def _roles(
    splits: Mapping[str, Rows], group: np.ndarray, target: np.ndarray, seed: int
) -> np.ndarray | None:
    """The role of each row; None where all are to be dealt out."""
    if len(splits) == 1:
        return None
    for split in splits:
        look_up("split", split, dict.fromkeys(_SPLITS))
    role = as_roles(np.repeat([*splits], [*map(len, splits.values())]), len(group))
    if "valid" in role or "train" not in role:
        return role
    train = np.flatnonzero(role == "train")
    dealt = deal(group[train], encode_target(target[train]).strata, seed)
    role[train[dealt == "valid"]] = "valid"
    return role


def _read_column(rows: Sequence[Mapping[str, Any]], name: str, column: str) -> list[Any]:
    for number, row in enumerate(rows):
        if column not in row:
            raise UnknownNameError(f"column of row {number} of {name}", column, map(str, row))
    return [row[column] for row in rows]


def _samples(values: Sequence[Any], name: str, column: str) -> Stacked:
    where = f"{name}, column {column!r}"
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
    if isinstance(value, Mapping) or hasattr(value, "get_all_samples"):  # that of torchcodec
        samples = np.atleast_2d(np.asarray(value["array"], np.float32))
        channel = int(np.argmin(samples.shape))  # the first, or the last
        return Sound(samples.mean(axis=channel), int(value["sampling_rate"]))
    if hasattr(value, "getbands"):  # a Pillow image
        return pixels_of(value)
    array = np.atleast_1d(value)
    return array if array.dtype == np.uint8 else array.astype(np.float32)
