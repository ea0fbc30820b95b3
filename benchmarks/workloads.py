"""What the benchmarks time, the same for every side. Imports neither JAX nor PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

CLASSES = 10
LEARNING_RATE, WARMUP, CLIP = 3e-3, 0.1, 1.0
_VALID_ROWS = 1000

FLOPS = 6 * (
    # image: two convolutions, a dense layer
    28 * 28 * 9 * 32
    + 14 * 14 * 9 * 32 * 64
    + 7 * 7 * 64 * 128
    # audio: the same
    + 39 * 5 * 13 * 64
    + 19 * 5 * 64 * 128
    + 9 * 128 * 128
    # fusion
    + 256 * 128
    + 128 * CLASSES
) - 2 * (28 * 28 * 9 * 32 + 39 * 5 * 13 * 64)  # no gradient of the inputs
"""Matrix-product operations of ``conv`` in training, a sample, forward and backward."""

Work = Callable[[int], object]
"""Does the work so many times, and returns when its results are there."""


class Arrays(NamedTuple):
    """Rows as NumPy arrays.

    Attributes:
        audio: [rows, 39, 13] float32.
        image: [rows, 28, 28, 1] uint8.
        target: [rows] int64 classes.
    """

    audio: np.ndarray
    image: np.ndarray
    target: np.ndarray


@dataclass(frozen=True)
class Case:
    """One kind of work.

    Attributes:
        work: ``train``, a step of every seed; ``predict``, a pass over the validation rows; or
            ``first``, an epoch and its predictions on them, from nothing.
        model: ``conv``: two stages of convolution and a vector of 128 per modality, concatenated,
            one hidden layer of 128; ``transformer-WIDTH`` or ``bottleneck-WIDTH``: two layers over
            49 patches of the image and 39 frames of the sequence.
        batch_size: rows of a step, or of a forward pass.
        seeds: models that are trained.
        rows: training rows.
        dtype: of the computation in training, ``float32`` or ``bfloat16``.
        platform: where it is done, ``cpu`` or ``cuda``.
    """

    work: str
    model: str
    batch_size: int = 128
    seeds: int = 1
    rows: int = 10_000
    dtype: str = "float32"
    platform: str = "cpu"

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.rows // self.batch_size

    @property
    def samples(self) -> int:
        """Rows times seeds in one unit of the work."""
        if self.work == "predict":
            return _VALID_ROWS
        return self.batch_size * self.seeds * (self.steps if self.work == "first" else 1)


def make_arrays(rows: int, seed: int) -> Arrays:
    """Random rows in the shapes of handwritten and spoken digits."""
    rng = np.random.default_rng(seed)
    return Arrays(
        rng.standard_normal((rows, 39, 13), np.float32),
        rng.integers(0, 256, (rows, 28, 28, 1), np.uint8),
        np.arange(rows) % CLASSES,
    )


def make_splits(case: Case) -> tuple[Arrays, Arrays]:
    """Training and validation rows of a case."""
    return make_arrays(case.rows, seed=0), make_arrays(_VALID_ROWS, seed=1)
