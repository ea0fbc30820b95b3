"""The recordings of spoken digits that ship with mmjax.

docs/spoken_digits.md describes how they were made, and their licence.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

RECORDINGS = Path(__file__).with_suffix(".npz")


class Recordings(NamedTuple):
    """The shipped recordings.

    Attributes:
        waveforms: float32 [samples] at 8 kHz with peak 1, one for each recording.
        digit: [recording].
        speaker: [recording].
    """

    waveforms: tuple[np.ndarray, ...]
    digit: np.ndarray
    speaker: np.ndarray


def load_recordings() -> Recordings:
    """Reads the shipped recordings, clean and at full length.

    Example:
        >>> recordings = load_recordings()
        >>> len(recordings.waveforms) == len(recordings.digit), sorted({*recordings.digit.tolist()})
        (True, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    with np.load(RECORDINGS, allow_pickle=False) as file:
        ends = np.cumsum(file["length"], dtype=int)
        waveforms = np.split(from_mu_law(file["samples"]), ends[:-1])
        return Recordings(tuple(waveforms), file["digit"].astype(int), file["speaker"].astype(int))


def to_mu_law(waveform: np.ndarray) -> np.ndarray:
    """Compresses [-1, 1] to uint8 by the continuous mu-law of ITU-T G.711, mu = 255.

    Example:
        >>> to_mu_law(np.array([-1.0, 0.0, 1.0])).tolist()
        [0, 128, 255]
    """
    compressed = np.sign(waveform) * np.log1p(255 * np.abs(waveform)) / np.log(256)
    return np.round((compressed + 1) * 127.5).astype(np.uint8)


def from_mu_law(code: np.ndarray) -> np.ndarray:
    """Expands the codes of ``to_mu_law`` to float32 in [-1, 1].

    Example:
        >>> from_mu_law(to_mu_law(np.array([-1.0, 0.5]))).round(2).tolist()
        [-1.0, 0.5]
    """
    compressed = np.arange(256) / 127.5 - 1
    levels = np.sign(compressed) * np.expm1(np.abs(compressed) * np.log(256)) / 255
    return levels.astype(np.float32)[code]
