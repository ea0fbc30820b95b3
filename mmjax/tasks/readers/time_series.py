"""Time series in the ts format of the UEA and UCR archives."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmjax.errors import DataError
from mmjax.tasks.readers.packages import File, read_package


class Series(NamedTuple):
    """Labelled series of several dimensions.

    Attributes:
        values: a list of float32 [length, dimensions].
        label: [rows] of text.
    """

    values: list[np.ndarray]
    label: np.ndarray


def parse_ts(file: File) -> Series:
    """Series in lines of dimensions with ":" between them and the class at the end.

    Reference: Bagnall et al., The UEA multivariate time series classification archive, 2018
    (arXiv:1811.00075).

    Args:
        file: in UTF-8.

    Raises:
        DataError: it is not such a file; a row has timestamps, missing values or dimensions of
            different length; rows differ in their number of dimensions; or a value is not finite.

    Example:
        >>> text = b"@problemName toy\\n@classLabel true a b\\n@data\\n1,2:3,4:a\\n5:6:b\\n"
        >>> series = parse_ts(File("toy.ts", text))
        >>> series.values[0].tolist(), series.label.tolist()
        ([[1.0, 3.0], [2.0, 4.0]], ['a', 'b'])
    """

    def refuse(got: str) -> DataError:
        return DataError(file.where, expected="time series in the ts format", got=got[:200])

    try:
        lines = [line.strip() for line in file.content.decode().splitlines()]
        starts = [line.lower() for line in lines].index("@data")
        rows = [line.split(":") for line in lines[starts + 1 :] if line]
        parsed = [[np.array(part.split(","), np.float64) for part in row[:-1]] for row in rows]
    except (UnicodeDecodeError, ValueError) as error:
        raise refuse(f"{error}") from error
    for number, row in enumerate(parsed, start=1):
        if not row or len(row) != len(parsed[0]) or len({len(part) for part in row}) > 1:
            lengths = [len(part) for part in row]
            raise refuse(f"row {number} with {len(row)} dimensions of lengths {lengths}")
        if not all((np.abs(part) < np.finfo(np.float32).max).all() for part in row):
            raise refuse(f"row {number} with values that are not finite in float32")
    if not parsed:
        raise refuse("no rows")
    values = [np.stack(row, axis=1).astype(np.float32) for row in parsed]
    return Series(values, np.array([row[-1] for row in rows]))


def read_archive(name: str, data: str | Path | None) -> tuple[Series, np.ndarray]:
    """A dataset of the archive as the package sktime has it, training rows first.

    Args:
        name: of the dataset.
        data: as in ``read_package``.

    Returns:
        the series, and the split of each row, "train" or "test".

    Raises:
        UsageError: as in ``read_package``.
        DataError: as in ``read_package`` and ``parse_ts``.
    """
    files = read_package(
        "sktime", f"datasets/data/{name}", [f"{name}_TRAIN.ts", f"{name}_TEST.ts"], data
    )
    train, test = map(parse_ts, files.values())
    split = np.repeat(["train", "test"], [len(train.label), len(test.label)])
    label = np.concatenate([train.label, test.label])
    return Series([*train.values, *test.values], label), split
