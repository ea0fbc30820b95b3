"""Samples one by one, as files and datasets have them, made into one array for each modality."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmjax.errors import DataError
from mmjax.tasks.readers.mfcc import mfcc
from mmjax.tasks.readers.sound import Sound

FRAME, HOP = 0.05, 0.02625
"""Seconds of a frame of sound, and from one to the next: 39 frames a second, as in the tasks."""

_MAX_VALUES = 1 << 30  # of a modality: recordings are padded, and one may be very long


class Stacked(NamedTuple):
    """One modality: ``values`` [rows, ...], zeros in rows that lack it, and ``present`` [rows]."""

    values: np.ndarray
    present: np.ndarray


def stack(samples: Sequence[np.ndarray | Sound | None], where: object) -> Stacked:
    """One array of the samples of all rows.

    Recordings become MFCCs [frames, 13]; shorter ones are padded with silence, which is what stands
    after a recording anyway. Images where some are grey and others are not become colour all.
    Samples that differ in shape otherwise are refused: how a picture is best cropped, or what
    stands after the last of some measurements, is not for a loader to guess.

    Args:
        samples: all recordings or all arrays; None where a row lacks the modality.
        where: what an error calls them.

    Raises:
        DataError: there are none; they differ in shape, or in their rate; or are of both kinds.
    """
    present = np.array([sample is not None for sample in samples], bool)
    there = [sample for sample in samples if sample is not None]
    if not there:
        raise DataError(where, expected="at least one sample", got="none")
    sounds = [isinstance(sample, Sound) for sample in there]
    if any(sounds) and not all(sounds):
        raise DataError(where, expected="recordings alone, or arrays alone", got="both")
    found = _features(there, where) if all(sounds) else _alike(there, where)
    values = np.zeros((len(samples), *found.shape[1:]), found.dtype)
    values[present] = found
    return Stacked(values, present)


def _features(sounds: Sequence[Sound], where: object) -> np.ndarray:
    rates = sorted({sound.rate for sound in sounds})
    if len(rates) > 1:
        raise DataError(
            where, expected="one rate", got=f"{rates[0]} and {rates[-1]} samples a second",
            fix="Bring all recordings to one rate first.",
        )  # fmt: skip
    longest = max(len(sound.samples) for sound in sounds)
    if longest * len(sounds) > _MAX_VALUES:
        got = f"{len(sounds)} of them, of which the longest has {longest / rates[0]:.0f} s"
        fix = "Cut the long ones: shorter ones are padded to the longest."
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
            fix="Crop, scale, cut or pad them first, in the way that fits the data.",
        )
    return np.stack(arrays)
