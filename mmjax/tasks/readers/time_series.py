"""Time series in the ts format of the UEA and UCR archives."""

from typing import NamedTuple

import numpy as np

from mmjax.errors import DataError


class Series(NamedTuple):
    """Labelled series of several dimensions.

    Attributes:
        values: a list of float32 [length, dimensions].
        label: [rows] of text.
    """

    values: list[np.ndarray]
    label: np.ndarray


def parse_ts(content: bytes, where: str) -> Series:
    """Series in lines of dimensions with ":" between them and the class at the end.

    Reference: Bagnall et al., The UEA multivariate time series classification archive, 2018
    (arXiv:1811.00075).

    Args:
        content: of the file.
        where: what an error calls it.

    Raises:
        DataError: it is not such a file; a row has timestamps, missing values or dimensions of
            different length; or rows differ in their number of dimensions.

    Example:
        >>> text = b"@problemName toy\\n@classLabel true a b\\n@data\\n1,2:3,4:a\\n5:6:b\\n"
        >>> series = parse_ts(text, "toy.ts")
        >>> series.values[0].tolist(), series.label.tolist()
        ([[1.0, 3.0], [2.0, 4.0]], ['a', 'b'])
    """

    def refuse(got: str) -> DataError:
        return DataError(where, expected="time series in the ts format", got=got[:200])

    try:
        lines = [line.strip() for line in content.decode().splitlines()]
        starts = [line.lower() for line in lines].index("@data")
        rows = [line.split(":") for line in lines[starts + 1 :] if line]
        parsed = [[np.array(part.split(","), np.float32) for part in row[:-1]] for row in rows]
    except (UnicodeDecodeError, ValueError) as error:
        raise refuse(f"{error}") from error
    for number, row in enumerate(parsed, start=1):
        if not row or len(row) != len(parsed[0]) or len({len(part) for part in row}) > 1:
            lengths = [len(part) for part in row]
            raise refuse(f"row {number} with {len(row)} dimensions of lengths {lengths}")
    if not parsed:
        raise refuse("no rows")
    return Series([np.stack(row, axis=1) for row in parsed], np.array([row[-1] for row in rows]))
