"""A task from a dataset of another library, whose splits are sequences of mappings."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from mmjax.data.code_table import Table
from mmjax.data.codings import is_coded, make_coding
from mmjax.data.coerce import as_array, as_plain, check_mapping, find_missing, name_columns
from mmjax.data.coerce_inputs import InputKind, name_others, sample_rank
from mmjax.data.splits import ROLES, SYNONYMS
from mmjax.data.targets import Kind
from mmjax.data.task import Task
from mmjax.errors import DataError, UnknownNameError, UsageError, look_up
from mmjax.tasks.readers.files import pixels_of
from mmjax.tasks.readers.samples import stack, stack_cells
from mmjax.tasks.readers.sound import Sound
from mmjax.types import Coding

Rows = Sequence[Mapping[str, Any]]

_SPLITS = (*ROLES, *SYNONYMS)
_SAMPLES = "numbers, images, or recordings with array and sampling_rate"


def from_dataset(
    dataset: Mapping[str, Rows] | Rows,
    *,
    modalities: Mapping[str, str | Sequence[str]],
    target: str | Sequence[str],
    group: str | None = None,
    name: str = "dataset",
    seed: int = 0,
    kind: Kind | None = None,
    kinds: Mapping[str, InputKind | Coding] | None = None,
    sizes: Mapping[str, tuple[int, int]] | None = None,
) -> Task:
    """Makes a task from a dataset whose rows are mappings.

    This may be a Hugging Face ``Dataset`` or ``DatasetDict``, a data source of tensorflow_datasets
    or a mapping of several, or lists of dicts. All rows are read into memory.

    A value is an array of numbers, a Pillow image, or a recording as a mapping with ``array`` and
    ``sampling_rate``, which becomes MFCCs; or what the kind of its modality reads: text, a list of
    token ids, or a cell of a table. None or NaN marks a missing modality. Splits and kinds
    are handled as in ``Task.from_arrays``; samples of unequal length, size or sampling rate as in
    the task ``folder``.

    Args:
        dataset: {"train", "validation" (or "valid", "val", "dev"), "test": rows}, or rows.
        modalities: {modality: column, or several columns: of numbers to join into one vector, or of
            a table}.
        target: column of classes, of vectors of labels 0 and 1, or of floats; or columns of labels
            or of floats.
        group: column of what must stay in one split, such as speakers.
        name: of the task.
        seed: of the split.
        kind: what the target is, as for ``Task.from_arrays``.
        kinds: what the modalities are, likewise.
        sizes: {modality: (height, width)} to resize pictures to.

    Raises:
        DataError: samples differ in shape otherwise, or do not make a valid task.
        UnknownNameError: there is no such column, split or kind.
        UsageError: the target is not a column.

    Example:
        >>> rows = [{"pulse": 60 + i, "notes": [i % 3, 1], "ill": i % 2} for i in range(50)]
        >>> rows[7]["notes"] = None  # this row lacks the modality
        >>> task = from_dataset(
        ...     rows,
        ...     modalities={"notes": "notes", "vitals": ["pulse"]},
        ...     target="ill",
        ...     kind="classes",
        ... )
        >>> task.shapes, sum(int((~s.present["notes"]).sum()) for s in task.splits.values())
        ({'notes': (2,), 'vitals': (1,)}, 1)
    """
    check_mapping("modalities", modalities, "column")
    if not target or not isinstance(target, str | Sequence):
        raise UsageError("target", expected="the name of a column, or several", got=repr(target))
    splits = dict(dataset) if isinstance(dataset, Mapping) else {"": dataset}
    parts = {key: _rows(part, f"{name} {key}".strip()) for key, part in splits.items()}
    rows = [row for part in parts.values() for row in part]
    if not rows:
        raise DataError(name, expected="at least one row", got="none")
    ids = [f"{key} {number}".strip() for key, part in parts.items() for number in range(len(part))]
    read = partial(_read_column, rows, ids, name)
    where = f"{name}, column"
    kinds, sizes = kinds or {}, sizes or {}
    pictures = {m: columns for m, columns in modalities.items() if not is_coded(kinds.get(m))}
    for modality in sizes:
        look_up("modality of sizes", modality, pictures)
    found = {}
    for modality, columns in modalities.items():
        cells, place = {n: read(n) for n in _listed(columns, modality)}, f"{where} {columns!r}"
        stated = kinds.get(modality)
        if stated is not None and is_coded(stated):
            table = isinstance(make_coding(stated), Table)
            found[modality] = stack_cells(cells, place, table=table)
        else:
            samples = _samples([*cells.values()], place, ids)
            found[modality] = stack(samples, place, sample_rank(stated), sizes.get(modality))
    values = [as_array(f"{where} {column!r}", read(column)) for column in _listed(target, "target")]
    return Task.from_arrays(
        {modality: stacked.values for modality, stacked in found.items()},
        values[0] if len(values) == 1 else np.stack(values, axis=1),
        name=name,
        group=read(group) if group else None,
        present={modality: stacked.present for modality, stacked in found.items()},
        split=_split_of_rows(parts),
        meta={"id": ids},
        seed=seed,
        kind=kind,
        kinds=kinds,
    )


def _listed(columns: str | Sequence[str], of: str) -> list[str]:
    return [columns] if isinstance(columns, str) else name_columns(of, columns)


def _rows(part: Rows, where: str) -> Sequence[Mapping[str, Any]]:
    """The rows by index, because data sources cannot be iterated over."""
    rows: list[Any]
    try:
        rows = [part[index] for index in range(len(part))]
    except (KeyError, TypeError):  # no len, or other keys
        rows = [None]
    if not all(isinstance(row, Mapping) for row in rows):
        expected = "a sequence of rows that are mappings"
        fix = "Convert a pandas table by table.to_dict('records')."
        raise DataError(where, expected=expected, got=type(part).__name__, fix=fix)
    return rows


def _split_of_rows(parts: Mapping[str, Sequence[Any]]) -> np.ndarray | None:
    """The split of each row by its name; None if the rows are still to be split."""
    if len(parts) == 1:
        return None
    for split in parts:
        look_up("split", split, dict.fromkeys(_SPLITS))
    return np.repeat([*parts], [*map(len, parts.values())])


def _read_column(
    rows: Sequence[Mapping[str, Any]], ids: Sequence[str], name: str, column: str
) -> list[Any]:
    for row, number in zip(rows, ids, strict=True):
        if column not in row:
            raise UnknownNameError(f"column of row {number} of {name}", column, map(str, row))
    return [row[column] for row in rows]


def _samples(
    columns: Sequence[Sequence[Any]], where: str, ids: Sequence[str]
) -> list[np.ndarray | Sound | None]:
    """The samples of a modality, from one or several columns."""
    samples = []
    for row, values in zip(ids, zip(*columns, strict=True), strict=True):
        try:
            parts = [_sample(where, row, value) for value in values]
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            got = f"{type(error).__name__}: {error}"[:300] + f", in row {row}"
            raise DataError(where, expected=_SAMPLES, got=got) from error
        samples.append(parts[0] if len(parts) == 1 else _join(parts))
    return samples


def _join(parts: Sequence[Any]) -> np.ndarray | None:
    """The numbers of several columns as one vector; None if all are missing."""
    if all(part is None for part in parts):
        return None
    return np.concatenate([[np.nan] if part is None else part for part in parts])


def _sample(where: str, row: str, value: Any) -> np.ndarray | Sound | None:
    """Converts a value for ``stack``."""
    if isinstance(value, Mapping) or hasattr(value, "get_all_samples"):  # a torchcodec decoder
        samples = np.atleast_2d(_numbers(where, row, value["array"])).astype(np.float32)
        if samples.size == 0:
            fix = "Drop the row, or give None to mark the modality as missing."
            got = f"an empty one in row {row}"
            raise DataError(where, expected="recordings with samples", got=got, fix=fix)
        channel = int(np.argmin(samples.shape))  # the first, or the last
        return Sound(samples.mean(axis=channel), int(value["sampling_rate"]))
    if hasattr(value, "getbands"):  # a Pillow image
        return pixels_of(value)
    array = as_plain(where, value)
    if array.ndim == 0 and find_missing(array).all():
        return None
    return np.atleast_1d(_numbers(where, row, array))


def _numbers(where: str, row: str, value: Any) -> np.ndarray:
    array = as_plain(where, value)
    if array.dtype.kind not in "fiub":
        got, fix = name_others(array)
        raise DataError(where, expected=_SAMPLES, got=f"{got} in row {row}", fix=fix)
    return array
