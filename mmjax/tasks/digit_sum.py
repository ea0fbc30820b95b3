"""A written and a spoken digit, and their sum: a number to be told."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mmjax.data.scale import find_scale
from mmjax.data.splits import make_rng
from mmjax.data.task import Split, Task
from mmjax.tasks.real_digits import Part, read_parts


def digit_sum(data: str | Path | None = None, *, seed: int = 0) -> Task:
    """What is the sum of the digit that is written and the digit that is spoken?

    Inputs are "image" and "audio" as in `mnist_fsdd`, with its split, but for the digits, which are
    drawn independently of each other. The target is a number. A modality alone leaves the other
    summand open: the best that it can reach is an R2 of about a half.

    Each image is in one row. ``group`` is the recording, and ``meta`` has both digits.

    Reference: Manhaeve et al., DeepProbLog (arXiv:1805.10872, 2018), who add two images.

    Args:
        data: folder with ``mnist/`` and ``fsdd/recordings/``.
        seed: of the pairs.

    Raises:
        DataError: a folder or file is missing or malformed, or a split lacks a digit.
        UsageError: ``seed`` cannot be one.
    """
    rng = make_rng(seed)

    def split(part: Part) -> Split:
        said = rng.permutation(np.arange(len(part.written)) % 10)
        recording = part.recordings_of(said, rng)
        return Split(
            inputs={"image": part.pixels, "audio": part.audio[recording]},
            target=(part.written + said).astype(np.float32)[:, None],
            group=recording,
            meta={"written": part.written, "said": said},
        )

    splits = {role: split(part) for role, part in read_parts(data).items()}
    scale = find_scale(splits["train"].target)
    splits = {role: replace(s, target=scale.standardise(s.target)) for role, s in splits.items()}
    return Task("digit_sum", **splits, out_dim=1, names=("sum",), scale=scale)
