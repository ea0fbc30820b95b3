"""Stacks the samples of files and datasets into one array per modality."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax.data.coerce import find_gaps
from mmjax.data.ragged import MAX_VALUES, level
from mmjax.errors import DataError, tell
from mmjax.tasks.readers.mfcc import mfcc
from mmjax.tasks.readers.sound import Sound

FRAME, HOP = 0.05, 0.02625
"""Length of a frame of sound and hop between frames in seconds: 39 frames per second."""

_FINEST = 1 << 16  # parts of a sample that resampling computes with


class Stacked(NamedTuple):
    """One modality: ``values`` [rows, ...], zeros in rows that lack it, and ``present`` [rows]."""

    values: np.ndarray
    present: np.ndarray


def stack(
    samples: Sequence[np.ndarray | Sound | None],
    where: object,
    rank: int | None = None,
    size: tuple[int, int] | None = None,
) -> Stacked:
    """Stacks the samples of all rows into one array.

    Recordings become MFCCs [frames, 13]; shorter ones are padded with silence, and those of another
    sampling rate than most are resampled. Arrays that differ in length or size are brought to one
    shape as in ``data.ragged.level``.

    Args:
        samples: all recordings or all arrays; None where a row lacks the modality.
        where: what an error or a report calls them.
        rank: number of axes of a sample, if known.
        size: height and width of pictures, in place of their medians.

    Raises:
        DataError: there are no samples, they differ in shape otherwise, or recordings and arrays
            are mixed.

    Example:
        >>> stacked = stack([np.ones((2, 2, 3)), None, np.zeros((2, 2, 3))], "photo")
        >>> stacked.values.shape, stacked.present.tolist()
        ((3, 2, 2, 3), [True, False, True])
    """
    present = np.array([sample is not None for sample in samples], bool)
    sounds = {row: s for row, s in enumerate(samples) if isinstance(s, Sound)}
    arrays = {row: s for row, s in enumerate(samples) if not (s is None or isinstance(s, Sound))}
    if not present.any():
        raise DataError(where, expected="at least one sample", got="none")
    if sounds and arrays:
        raise DataError(where, expected="either recordings or arrays", got="both")
    found = _features(sounds, where) if sounds else level(str(where), arrays, rank, size)
    made = np.stack([*found.values()])
    values = np.zeros((len(samples), *made.shape[1:]), made.dtype)
    values[present] = made
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


def _features(sounds: Mapping[int, Sound], where: object) -> dict[int, np.ndarray]:
    rate = _choose_rate([sound.rate for sound in sounds.values()], where)
    longest = max(math.ceil(len(s.samples) * rate / s.rate) for s in sounds.values())
    if longest * len(sounds) > MAX_VALUES:
        got = f"{len(sounds)}, all padded to the longest, {longest / rate:.0f} s"
        fix = "Crop the long ones."
        raise DataError(where, expected="recordings that fit in memory", got=got, fix=fix)
    window, hop = (max(2, round(seconds * rate)) for seconds in (FRAME, HOP))
    pad = lambda samples: np.pad(samples, (0, longest - len(samples)))
    heard = {row: resample(sound, rate) for row, sound in sounds.items()}
    return {row: mfcc(pad(x), rate, window=window, hop=hop) for row, x in heard.items()}


def _choose_rate(rates: Sequence[int], where: object) -> int:
    """The rate of most recordings, of several the lowest; reports on stderr if there are others.

    Raises:
        DataError: one is not positive, or their ratio is of too large numbers.
    """
    counts = Counter(rates)
    rate = min(counts, key=lambda r: (-counts[r], r))
    for other in counts:
        if other < 1 or max(other, rate) // math.gcd(other, rate) > _FINEST:
            expected = "positive sampling rates in a ratio of small whole numbers"
            fix = "Resample the recordings first."
            raise DataError(where, expected=expected, got=f"{rate} and {other} Hz", fix=fix)
    if len(counts) > 1:
        others = f"{len(rates) - counts[rate]} of {len(rates)} recordings"
        tell(f"{where}: resampled {others} to {rate} Hz, the rate of most; resample to override")
    return rate


def resample(sound: Sound, rate: int) -> np.ndarray:
    """The samples of a recording at another rate, float32, filtered against aliasing.

    Example:
        >>> resample(Sound(np.zeros(100, np.float32), 16000), 8000).shape
        (50,)
    """
    if sound.rate == rate:
        return sound.samples
    from scipy.signal import resample_poly  # a second

    common = math.gcd(rate, sound.rate)
    return resample_poly(sound.samples, rate // common, sound.rate // common).astype(np.float32)
