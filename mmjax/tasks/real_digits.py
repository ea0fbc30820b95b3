"""Images of MNIST and recordings of the Free Spoken Digit Dataset, by split.

The material of the tasks that put several digits, or more modalities, into a row.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmjax.tasks.mnist_fsdd import (
    RECORDINGS,
    image_roles,
    match,
    official_roles,
    read_images,
    read_recordings,
)
from mmjax.tasks.readers.formats import data_folder, find
from mmjax.tasks.readers.mfcc import standardise

KEPT = 0.25
"""Fraction of the variance that is left of images whose energy is removed."""


class Part(NamedTuple):
    """The images and the recordings of one split, which are in no other split.

    Attributes:
        name: of the split.
        pixels: uint8 [images, 28, 28, 1].
        written: [images] the digit of each.
        audio: float32 [recordings, 39, 13], MFCCs standardised on the training recordings.
        waveform: float32 [recordings, 8000].
        said: [recordings] the digit of each.
    """

    name: str
    pixels: np.ndarray
    written: np.ndarray
    audio: np.ndarray
    waveform: np.ndarray
    said: np.ndarray

    def recordings_of(self, digit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A recording for each of the digits, in their shape; all are used equally often.

        Raises:
            DataError: there is no recording of a digit.
        """
        return match(digit, self.said, np.ones(len(self.said), bool), self.name, rng)

    def hear(self, recordings: np.ndarray) -> np.ndarray:
        """MFCCs of recordings [rows, count] in sequence: float32 [rows, 39 * count, 13]."""
        return self.audio[recordings].reshape(len(recordings), -1, self.audio.shape[-1])


def read_parts(data: str | Path | None) -> dict[str, Part]:
    """{"train", "valid", "test": Part}, split as in `mnist_fsdd` with ``split="official"``.

    Raises:
        DataError: a folder or file is missing or malformed.
    """
    folder = data_folder(data)
    written, spoken = read_images(folder), read_recordings(find(folder, *RECORDINGS))
    roles, waveform = official_roles(spoken.take), spoken.waveform
    assert waveform is not None  # read_recordings keeps it
    _, audio = standardise(spoken.audio[roles == "train"], spoken.audio)
    parts = {}
    for role, (source, rows) in image_roles(written).items():
        images, heard = written[source], roles == role
        parts[role] = Part(
            name=role,
            pixels=images.pixels[rows],
            written=images.digit[rows].astype(np.int64),
            audio=audio[heard],
            waveform=waveform[heard],
            said=spoken.digit[heard],
        )
    return parts


def remove_energy(parts: Mapping[str, Part]) -> dict[str, np.ndarray]:
    """The images of each split, projected onto principal components of the training images.

    These are the fewest components that hold ``KEPT`` of the variance. The images become float32.
    """
    train = parts["train"].pixels
    directions = principal_directions(train, KEPT)
    mean = (train / np.float32(255)).mean(axis=0)

    def project(pixels: np.ndarray) -> np.ndarray:
        flat = (pixels / np.float32(255) - mean).reshape(len(pixels), -1)
        return (flat @ directions @ directions.T).reshape(pixels.shape) + mean

    return {role: project(part.pixels) for role, part in parts.items()}


def principal_directions(pixels: np.ndarray, share: float) -> np.ndarray:
    """The fewest principal components with a share of the variance: float32 [pixels, number].

    Args:
        pixels: uint8 [images, ...].
        share: of the variance, from 0 to 1.
    """
    flat = pixels.reshape(len(pixels), -1).astype(np.float64)
    variance, directions = np.linalg.eigh(np.cov(flat, rowvar=False))
    variance, directions = variance[::-1], directions[:, ::-1]
    number = 1 + int(np.searchsorted(np.cumsum(variance) / variance.sum(), share))
    return directions[:, :number].astype(np.float32)
