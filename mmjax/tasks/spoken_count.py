"""A written digit, and ten spoken ones: long sequences, and a question about them."""

from pathlib import Path

import numpy as np

from mmjax.task import Split, Task
from mmjax.tasks.parts import Part, read_parts
from mmjax.tasks.readers import make_rng

LENGTH = 10
"""Recordings in a row, 39 frames each."""
MOST = 4
"""Times that the written digit is spoken at most."""


def spoken_count(data: str | Path | None = None, *, seed: int = 0) -> Task:
    """How often is the digit that is written spoken here?

    ``image`` is uint8 [28, 28, 1], as in `mnist_fsdd`; ``audio`` is float32 [390, 13], the MFCCs of
    ten recordings one after the other. The class is the number of those that say the digit of the
    image, from 0 to 4, each as often as the next; the other recordings say other digits, and all
    are in random order. The image alone tells nothing, and the audio alone little: what is heard
    counts only in the light of what is seen.

    Each image is in one row, and ``group`` is the row. Recordings are in many rows of a split, with
    ever other ones, so that no grouping could tell them apart: intervals are over other images.

    Reference: Zhang et al., Learning to Count Objects in Natural Images for Visual Question
    Answering (arXiv:1802.05766, 2018), for counting what a question names.

    Args:
        data: folder with ``mnist/`` and ``fsdd/recordings/``.
        seed: of what is put together.

    Raises:
        DataError: a folder or file is missing or malformed, or a split lacks a digit.
        UsageError: ``seed`` cannot be one.
    """
    rng = make_rng(seed)

    def split(part: Part) -> Split:
        rows = len(part.written)
        target = rng.permutation(np.arange(rows) % (MOST + 1))
        other = (part.written[:, None] + rng.integers(1, 10, (rows, LENGTH))) % 10
        first = np.arange(LENGTH) < target[:, None]
        said = rng.permuted(np.where(first, part.written[:, None], other), axis=1)
        return Split(
            inputs={"image": part.pixels, "audio": part.hear(part.recordings_of(said, rng))},
            target=target,
            group=np.arange(rows),
            meta={"written": part.written, "said": said},
        )

    splits = {role: split(part) for role, part in read_parts(data).items()}
    return Task("spoken_count", **splits, out_dim=MOST + 1)
