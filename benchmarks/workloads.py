"""What the benchmarks time, the same for every side. Imports neither JAX nor PyTorch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

CLASSES = 10
LEARNING_RATE, WARMUP, CLIP = 3e-3, 0.1, 1.0
MIN_STEPS, PATIENCE = 8, 10  # of a comparison: steps between validations, those without progress
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
        work: ``train``, a step of every seed; ``predict``, a pass over the validation rows;
            ``first``, an epoch and its predictions on them, from nothing; or ``compare``, a whole
            comparison.
        model: ``conv``: two stages of convolution and a vector of 128 per modality, concatenated,
            one hidden layer of 128; ``transformer-WIDTH`` or ``bottleneck-WIDTH``: two layers over
            49 patches of the image and 39 frames of the sequence. Of a comparison, a key of
            ``COMPARISONS``, which says the rest.
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


class Comparison(NamedTuple):
    """What a comparison trains, apart from a baseline for each modality.

    Attributes:
        task: a built-in task of mmjax, or ``small``, from ``make_small``.
        fusions: names of fusions.
        seeds: number of seeds.
        steps: of each seed at most.
        batch_size: rows of a step at most.
    """

    task: str
    fusions: tuple[str, ...]
    seeds: int
    steps: int
    batch_size: int = 64

    def steps_per_round(self, rows: int) -> int:
        """Steps between validations: an epoch, or as many as have ``MIN_STEPS``."""
        per_epoch = rows // min(rows, self.batch_size)
        return per_epoch * math.ceil(MIN_STEPS / per_epoch)


CORE = (
    *("early", "concat", "sum", "product", "attention_pool", "gmu"),
    *("transformer", "cross_attention", "late_mean", "product_of_experts"),
)
COMPARISONS = {
    "digits": Comparison("digits", CORE, seeds=5, steps=200),
    "small": Comparison("small", ("concat", "gmu"), seeds=5, steps=100),
    "tiny": Comparison("synthetic", ("sum",), seeds=1, steps=2),
    "tiny-small": Comparison("small", ("gmu",), seeds=2, steps=9),
}


def make_small() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """40 rows of 120 and of 21 numbers, which depend on their class, and their classes."""
    rng, target = np.random.default_rng(0), np.arange(40) % 4
    draw = lambda rows, size: rng.standard_normal((rows, size), np.float32)
    numbers = lambda size: draw(4, size)[target] + draw(40, size)
    return {"a": numbers(120), "b": numbers(21)}, target


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
