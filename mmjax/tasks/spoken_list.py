"""Ten spoken digits in a row, and a written one: long sequences, of which a part counts."""

from pathlib import Path

import numpy as np

from mmjax.data.splits import make_rng
from mmjax.data.task import Split, Task
from mmjax.tasks.real_digits import Part, read_parts, remove_energy

LENGTH = 10
"""Recordings in a row, 39 frames each."""
OFTEN, SELDOM = 3, 2
"""Times that the digit in question is spoken, and times that another one is at most."""


def spoken_list(data: str | Path | None = None, *, seed: int = 0) -> Task:
    """Which digit is spoken most often, and written, too?

    ``audio`` is float32 [390, 13]: MFCCs of ten recordings one after the other, in random order, of
    which three say the digit, and seven say others, none more than twice. ``image`` is float32 [28,
    28, 1]: the same digit, with 75 % of its energy removed, as in `av_mnist`. What is heard lies
    in any three of ten places, and what is seen leaves several digits possible.

    Each image is in one row, and ``group`` is the row. Recordings are in many rows of a split, with
    ever other ones, so that no grouping could tell them apart: intervals are over other images.

    Reference: Ilse et al., Attention-based Deep Multiple Instance Learning (arXiv:1802.04712,
    2018), whose bags of digits are told by a few of them.

    Args:
        data: folder with ``mnist/`` and ``fsdd/recordings/``.
        seed: of what is put together.

    Raises:
        DataError: a folder or file is missing or malformed, or a split lacks a digit.
        UsageError: ``seed`` cannot be one.
    """
    rng, parts = make_rng(seed), read_parts(data)
    images = remove_energy(parts)

    def split(part: Part) -> Split:
        digit = part.written[:, None]
        others = (digit + np.repeat(np.arange(1, 10), SELDOM)) % 10
        others = rng.permuted(others, axis=1)[:, : LENGTH - OFTEN]
        said = np.concatenate([np.repeat(digit, OFTEN, axis=1), others], axis=1)
        said = rng.permuted(said, axis=1)
        return Split(
            inputs={
                "image": images[part.name],
                "audio": part.hear(part.recordings_of(said, rng)),
            },
            target=part.written,
            group=np.arange(len(said)),
            meta={"said": said},
        )

    return Task("spoken_list", **{role: split(part) for role, part in parts.items()}, out_dim=10)
