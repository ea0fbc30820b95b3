"""What a smart watch measures, from the package sktime."""

from pathlib import Path

import numpy as np

from mmjax.data.task import Task
from mmjax.tasks.readers.time_series import read_archive


def basic_motions(data: str | Path | None = None, *, seed: int = 0) -> Task:
    """Is the wearer of a watch standing, walking, running or playing badminton?

    ``accelerometer`` and ``gyroscope`` are float32 [100, 3], three axes over ten seconds, 80 times.
    The archive's test half is the test split; a part of its training half is for validation.

    Reference: Bagnall et al., The UEA multivariate time series classification archive, 2018
    (arXiv:1811.00075).

    Args:
        data: the wheel of ``sktime``, or a folder with its files ``BasicMotions_TRAIN.ts`` and
            ``BasicMotions_TEST.ts``; by default the installed package.
        seed: of the split into training and validation.

    Raises:
        UsageError: ``sktime`` is not installed, and no data is named.
        DataError: a file is missing or malformed.
    """
    series, split = read_archive("BasicMotions", data)
    values = np.stack(series.values)
    return Task.from_arrays(
        {"accelerometer": values[..., :3], "gyroscope": values[..., 3:]},
        series.label,
        name="basic_motions",
        split=split,
        seed=seed,
        kind="classes",
        kinds=dict.fromkeys(("accelerometer", "gyroscope"), "sequence"),
    )
