"""Images of MNIST and recordings of the Free Spoken Digit Dataset, dealt out to splits.

What the tasks are made of that put more than one digit into a row, or more modalities.
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
"""Of the variance of images whose energy is removed."""


class Part(NamedTuple):
    """The images and the recordings of one split; no other split has any of them.

    Attributes:
        name: of the split.
        pixels: uint8 [images, 28, 28, 1].
        written: [images] the digit of each.
        audio: float32 [recordings, 39, 13], MFCCs standardised by the training recordings.
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
        """A recording of each of the digits, in their shape, each as often as the next.

        Raises:
            DataError: nobody says one of them.
        """
        return match(digit, self.said, np.ones(len(self.said), bool), self.name, rng)

    def hear(self, recordings: np.ndarray) -> np.ndarray:
        """MFCCs of recordings [rows, count] one after the other: float32 [rows, 39 * count, 13]."""
        return self.audio[recordings].reshape(len(recordings), -1, self.audio.shape[-1])


def read_parts(data: str | Path | None) -> dict[str, Part]:
    """{"train", "valid", "test": Part}, split as `mnist_fsdd` does it with ``split="official"``.

    Raises:
        DataError: a folder or file is missing or malformed.
    """
    folder = data_folder(data)
    written, spoken = read_images(folder), read_recordings(find(folder, *RECORDINGS))
    roles = official_roles(spoken.take)
    _, audio = standardise(spoken.audio[roles == "train"], spoken.audio)
    parts = {}
    for role, (source, rows) in image_roles(written).items():
        images, heard = written[source], roles == role
        parts[role] = Part(
            name=role,
            pixels=images.pixels[rows],
            written=images.digit[rows].astype(np.int64),
            audio=audio[heard],
            waveform=spoken.waveform[heard],
            said=spoken.digit[heard],
        )
    return parts


def remove_energy(parts: Mapping[str, Part]) -> dict[str, np.ndarray]:
    """The images of each split on principal components of the training images: float32, as theirs.

    They are the fewest components that have ``KEPT`` of the variance.
    """
    train = parts["train"].pixels
    directions = principal_directions(train, KEPT)
    mean = (train / np.float32(255)).mean(axis=0)

    def project(pixels: np.ndarray) -> np.ndarray:
        flat = (pixels / np.float32(255) - mean).reshape(len(pixels), -1)
        return (flat @ directions @ directions.T).reshape(pixels.shape) + mean

    return {role: project(part.pixels) for role, part in parts.items()}


def principal_directions(pixels: np.ndarray, share: float) -> np.ndarray:
    """The fewest principal components with that share of the variance: float32 [pixels, number].

    Args:
        pixels: uint8 [images, ...].
        share: of the variance, from 0 to 1.
    """
    flat = pixels.reshape(len(pixels), -1).astype(np.float64)
    variance, directions = np.linalg.eigh(np.cov(flat, rowvar=False))
    variance, directions = variance[::-1], directions[:, ::-1]
    number = 1 + int(np.searchsorted(np.cumsum(variance) / variance.sum(), share))
    return directions[:, :number].astype(np.float32)
