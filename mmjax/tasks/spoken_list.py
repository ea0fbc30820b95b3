"""Ten spoken digits in a row, and a written one: long sequences of which only a part matters."""

from pathlib import Path

import numpy as np

from mmjax.data.splits import make_rng
from mmjax.data.task import Split, Task
from mmjax.tasks.real_digits import Part, read_parts, remove_energy

LENGTH = 10
"""Recordings per row, 39 frames each."""
OFTEN, SELDOM = 3, 2
"""How often the digit in question is spoken, and how often any other one at most."""


def spoken_list(data: str | Path | None = None, *, seed: int = 0) -> Task:
    """Which digit is spoken most often, and also written?

    ``audio`` is float32 [390, 13]: MFCCs of ten recordings in sequence, in random order, of which
    three say the digit, and seven say others, none more than twice. ``image`` is float32 [28, 28,
    1]: the same digit, with 75 % of its energy removed, as in `av_mnist`. The evidence in the sound
    is in any three of ten places, and the image is ambiguous.

    Each image is in one row, and ``group`` is the row. Recordings recur in many rows of a split, in
    changing company, so that no grouping separates them: intervals account for other images only.

    Reference: Ilse et al., Attention-based Deep Multiple Instance Learning (arXiv:1802.04712,
    2018), where a few of its digits determine the class of a bag.

    Args:
        data: folder with ``mnist/`` and ``fsdd/recordings/``.
        seed: of the combinations.

    Raises:
        DataError: a folder or file is missing or malformed, or a split lacks a digit.
        UsageError: ``seed`` is not a non-negative integer.
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

    splits = {role: split(part) for role, part in parts.items()}
    return Task("spoken_list", splits["train"], splits["valid"], splits["test"], out_dim=10)
