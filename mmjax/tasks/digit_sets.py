"""Several digits at once, written and spoken: a multi-label task."""

from pathlib import Path

import numpy as np

from mmjax.data.splits import make_rng
from mmjax.data.task import Split, Task
from mmjax.tasks.real_digits import Part, read_parts

COUNT = 2
"""Digits per image, and per recording."""


def digit_sets(data: str | Path | None = None, *, seed: int = 0) -> Task:
    """Which digits are written or spoken here?

    ``image`` is uint8 [28, 56, 1], two images side by side; ``audio`` is float32 [78, 13], the
    MFCCs of two recordings in sequence. All four digits are drawn independently, with the split of
    `mnist_fsdd`; the labels are the digits that occur, of which a single modality reveals two.

    Each image is in one row, and ``group`` is the row. Recordings recur in many rows of a split, in
    changing company, so that no grouping separates them: intervals account for other images only.

    Reference: Sabour et al., Dynamic Routing Between Capsules (arXiv:1710.09829, 2017), whose
    MultiMNIST has two digits in an image.

    Args:
        data: folder with ``mnist/`` and ``fsdd/recordings/``.
        seed: of the combinations.

    Raises:
        DataError: a folder or file is missing or malformed, or a split lacks a digit.
        UsageError: ``seed`` is not a non-negative integer.
    """
    rng = make_rng(seed)

    def split(part: Part) -> Split:
        rows = len(part.written) // COUNT
        images = rng.permutation(len(part.written))[: rows * COUNT].reshape(rows, COUNT)
        said = rng.integers(0, 10, (rows, COUNT))
        digits = np.concatenate([part.written[images], said], axis=1)
        return Split(
            inputs={
                "image": np.concatenate(list(part.pixels[images].swapaxes(0, 1)), axis=2),
                "audio": part.hear(part.recordings_of(said, rng)),
            },
            target=(digits[:, :, None] == np.arange(10)).any(axis=1).astype(np.int32),
            group=np.arange(rows),
            meta={"digits": digits},
        )

    splits = {role: split(part) for role, part in read_parts(data).items()}
    names = tuple(map(str, range(10)))
    train, valid, test = splits["train"], splits["valid"], splits["test"]
    return Task("digit_sets", train, valid, test, out_dim=10, names=names)
