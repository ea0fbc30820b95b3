"""The sum of a written and a spoken digit: a regression task."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mmjax.data.scale import find_scale
from mmjax.data.splits import make_rng
from mmjax.data.task import Split, Task
from mmjax.tasks.real_digits import Part, read_parts


def digit_sum(data: str | Path | None = None, *, seed: int = 0) -> Task:
    """What is the sum of the written and the spoken digit?

    Inputs are "image" and "audio" as in `mnist_fsdd`, with its split, except that the two digits
    are drawn independently. The target is a number. A single modality reveals one summand only, so
    that its R2 cannot exceed about 0.5.

    Each image is in one row. ``group`` is the recording, and ``meta`` has both digits.

    Reference: Manhaeve et al., DeepProbLog (arXiv:1805.10872, 2018), who add two images.

    Args:
        data: folder with ``mnist/`` and ``fsdd/recordings/``.
        seed: of the pairs.

    Raises:
        DataError: a folder or file is missing or malformed, or a split lacks a digit.
        UsageError: ``seed`` is not a non-negative integer.
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
    train, valid, test = splits["train"], splits["valid"], splits["test"]
    return Task("digit_sum", train, valid, test, out_dim=1, names=("sum",), scale=scale)
