"""Stacks the samples of files and datasets into one array per modality."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.coerce import find_gaps
from mmjax.errors import DataError
from mmjax.tasks.readers.mfcc import mfcc
from mmjax.tasks.readers.sound import Sound

FRAME, HOP = 0.05, 0.02625
"""Length of a frame of sound and hop between frames in seconds: 39 frames per second."""

_MAX_VALUES = 1 << 30  # of a modality, because a single long recording pads all others


class Stacked(NamedTuple):
    """One modality: ``values`` [rows, ...], zeros in rows that lack it, and ``present`` [rows]."""

    values: np.ndarray
    present: np.ndarray


def stack(samples: Sequence[np.ndarray | Sound | None], where: object) -> Stacked:
    """Stacks the samples of all rows into one array.

    Recordings become MFCCs [frames, 13]; shorter ones are padded with silence. If some images are
    grey and others in colour, all become colour. Samples that differ in shape otherwise are
    rejected: a loader cannot guess how to crop a picture or pad a series of measurements.

    Args:
        samples: all recordings or all arrays; None where a row lacks the modality.
        where: what an error calls them.

    Raises:
        DataError: there are no samples, they differ in shape or sampling rate, or recordings and
            arrays are mixed.

    Example:
        >>> stacked = stack([np.ones((2, 2, 3)), None, np.zeros((2, 2, 1))], "photo")
        >>> stacked.values.shape, stacked.present.tolist()
        ((3, 2, 2, 3), [True, False, True])
    """
    present = np.array([sample is not None for sample in samples], bool)
    there = [sample for sample in samples if sample is not None]
    sounds = [sample for sample in there if isinstance(sample, Sound)]
    arrays = [sample for sample in there if not isinstance(sample, Sound)]
    if not there:
        raise DataError(where, expected="at least one sample", got="none")
    if sounds and arrays:
        raise DataError(where, expected="either recordings or arrays", got="both")
    found = _features(sounds, where) if sounds else _alike(arrays, where)
    values = np.zeros((len(samples), *found.shape[1:]), found.dtype)
    values[present] = found
    return Stacked(values, present)


def stack_cells(columns: Mapping[str, Sequence[Any]], where: object, *, table: bool) -> Stacked:
    """Stacks what a coding reads: the rows of a table, or a text or a list of ids for each row.

    Args:
        columns: {name: its cells}, where None and NaN are missing. A row without any cell lacks the
            modality.
        where: what an error calls them.
        table: whether the rows become a structured array; otherwise there is one column.

    Raises:
        DataError: there are several columns, but no table.

    Example:
        >>> cells = {"age": [31, None, 50], "city": ["Oslo", None, None]}
        >>> stack_cells(cells, "patient", table=True).present.tolist()
        [True, False, True]
    """
    if not table and len(columns) != 1:
        expected, fix = "one column", "Join them, or state the kind 'table'."
        raise DataError(where, expected=expected, got=", ".join(columns)[:300], fix=fix)
    arrays = []
    for cells in columns.values():
        arrays.append(np.empty(len(cells), object))
        arrays[-1][:] = [*cells]
    present = ~np.logical_and.reduce([find_gaps(array) for array in arrays])
    if not table:
        return Stacked(arrays[0], present)
    rows = np.empty(len(present), [(name, object) for name in columns])
    for name, array in zip(columns, arrays, strict=True):
        rows[name] = array
    return Stacked(rows, present)


def _features(sounds: Sequence[Sound], where: object) -> np.ndarray:
    rates = sorted({sound.rate for sound in sounds})
    if len(rates) > 1:
        raise DataError(
            where, expected="one sampling rate", got=f"{rates[0]} and {rates[-1]} Hz",
            fix="Resample the recordings first.",
        )  # fmt: skip
    longest = max(len(sound.samples) for sound in sounds)
    if longest * len(sounds) > _MAX_VALUES:
        got = f"{len(sounds)}, all padded to the longest, {longest / rates[0]:.0f} s"
        fix = "Crop the long ones."
        raise DataError(where, expected="recordings that fit in memory", got=got, fix=fix)
    window, hop = (max(2, round(seconds * rates[0])) for seconds in (FRAME, HOP))
    pad = lambda samples: np.pad(samples, (0, longest - len(samples)))
    return np.stack([mfcc(pad(s.samples), s.rate, window=window, hop=hop) for s in sounds])


def _alike(arrays: Sequence[np.ndarray], where: object) -> np.ndarray:
    channels = {array.shape[-1] for array in arrays if array.ndim == 3}
    if channels == {1, 3}:
        arrays = [np.broadcast_to(a, (*a.shape[:-1], 3)) if a.ndim == 3 else a for a in arrays]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise DataError(
            where,
            expected="samples of one shape",
            got=f"{len(shapes)} shapes, {shapes[0]} and {shapes[-1]} among them",
            fix="Crop, scale or pad them first, in whatever way suits the data.",
        )
    return np.stack(arrays)
