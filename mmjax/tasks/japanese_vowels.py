"""Spoken vowels of unequal length, from the package sktime."""

from pathlib import Path

from mmjax.data.task import Task
from mmjax.tasks.readers.time_series import read_archive


def japanese_vowels(data: str | Path | None = None, *, seed: int = 0) -> Task:
    """Which of nine men says "ae"? 640 utterances of 7 to 29 frames.

    A frame has twelve cepstral coefficients of linear prediction: the first six, the coarse shape
    of the spectrum, are ``coarse``, the others ``fine``. Both are float32 [29, 6], padded and
    masked. The archive's test part is the test split; a part of the others is for validation.

    Reference: Kudo et al., Multidimensional curve classification using passing-through regions
    (Pattern Recognition Letters 20, 1999).

    Args:
        data: the wheel of ``sktime``, or a folder with its files ``JapaneseVowels_TRAIN.ts`` and
            ``JapaneseVowels_TEST.ts``; by default the installed package.
        seed: of the split into training and validation.

    Raises:
        UsageError: ``sktime`` is not installed, and no data is named.
        DataError: a file is missing or malformed.
    """
    series, split = read_archive("JapaneseVowels", data)
    rows = series.values
    return Task.from_arrays(
        {"coarse": [row[:, :6] for row in rows], "fine": [row[:, 6:] for row in rows]},
        series.label,
        name="japanese_vowels",
        split=split,
        seed=seed,
        kind="classes",
        kinds=dict.fromkeys(("coarse", "fine"), "sequence"),
    )
