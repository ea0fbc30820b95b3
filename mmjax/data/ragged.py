"""Samples of unequal length or size: sequences are padded, pictures are resized.

Padding is NaN in all values of the frames past the end of a row.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from mmjax.data.coerce import check_one_shape
from mmjax.errors import DataError, tell

MAX_VALUES = 1 << 30
"""Most values of a modality, because a single long sample pads all others."""

_CHANNELS = 4  # of what is taken for a picture unless it is stated

PADDED_NDIM = (3, 5)
"""Axes of the inputs, [rows, ...], that can be padded: sequences and videos."""

Samples = Mapping[int, np.ndarray]
"""{row: its sample}, of the rows that have one."""


def level(
    where: str, samples: Samples, rank: int | None = None, size: tuple[int, int] | None = None
) -> Samples:
    """Brings samples to one shape; those that have it already are returned unchanged.

    Sequences [length, features] and videos [time, height, width, channels] that differ in length
    become floats, padded to the longest with NaN. Pictures [height, width, channels] that differ in
    size are resized to the median height and width, and become colour if some are grey and others
    in colour; a line on stderr says so.

    Args:
        where: what an error or a report calls them.
        samples: by row.
        rank: number of axes of a sample if it is known; samples may lack the last one.
        size: height and width of pictures, instead of the medians.

    Raises:
        DataError: samples differ in another way, one is empty, or together they are too large.

    Example:
        >>> padded = level("steps", {0: np.ones((1, 2)), 1: np.ones((2, 2))})
        >>> padded[0].tolist()
        [[1.0, 1.0], [nan, nan]]
    """
    first, *others = {sample.shape for sample in samples.values()}
    if not others and size in (None, first[:2]):
        return samples
    for row, sample in samples.items():
        if sample.size == 0:
            fix = "Drop the row, or give None to mark the modality as missing."
            got = f"shape {sample.shape} in row {row}"
            raise DataError(where, expected="samples with values", got=got, fix=fix)
    if {sample.ndim for sample in samples.values()} == {1, 2}:  # such as files of a single line
        samples = {row: x[None] if x.ndim == 1 else x for row, x in samples.items()}
    if rank is not None:
        samples = {row: x[..., None] if x.ndim == rank - 1 else x for row, x in samples.items()}
    ranks = {sample.ndim for sample in samples.values()}
    if size is not None and ranks != {3}:
        got = f"samples of shape {first}"
        raise DataError(where, expected="pictures, as a size is stated", got=got)
    fix = "Crop or pad them first, or state their kind: 'sequence' of numbers in a row, say."
    if ranks == {3} and (rank == 3 or max(x.shape[2] for x in samples.values()) <= _CHANNELS):
        samples = _resize_all(where, _as_colour(where, samples), size)
    elif ranks in ({2}, {4}):
        check_one_shape(f"{where}, frames", {row: x[0] for row, x in samples.items()}, fix)
        samples = _pad_all(where, samples)
    return check_one_shape(where, samples, fix)


def _pad_all(where: str, samples: Samples) -> Samples:
    longest = max(len(sample) for sample in samples.values())
    _check_total(where, (longest, *next(iter(samples.values())).shape[1:]), len(samples))
    return {row: lengthen(where, x[None], longest)[0] for row, x in samples.items()}


def lengthen(where: str, values: np.ndarray, length: int) -> np.ndarray:
    """Pads rows [rows, frames, ...] to a length; the bytes of videos become floats from 0 to 1.

    Raises:
        DataError: the rows are longer.

    Example:
        >>> lengthen("steps", np.ones((1, 1, 2)), 2).tolist()
        [[[1.0, 1.0], [nan, nan]]]
    """
    if values.shape[1] > length:
        fix = "Crop longer rows."
        expected = f"at most {length} frames, the length of the longest row of the task"
        raise DataError(where, expected=expected, got=str(values.shape[1]), fix=fix)
    if values.dtype == np.uint8 and values.ndim == 5:
        values = values / np.float32(255)
    values = values if values.dtype.kind == "f" else values.astype(np.float64)
    widths = [(0, 0), (0, length - values.shape[1])] + [(0, 0)] * (values.ndim - 2)
    return np.pad(values, widths, constant_values=np.nan)


def _as_colour(where: str, pictures: Samples) -> Samples:
    channels = Counter(picture.shape[2] for picture in pictures.values())
    if channels.keys() != {1, 3}:
        return pictures
    tell(f"{where}: {channels[1]} of {len(pictures)} pictures are grey; all are treated as colour")
    return {row: np.broadcast_to(x, (*x.shape[:2], 3)) for row, x in pictures.items()}


def _resize_all(where: str, pictures: Samples, size: tuple[int, int] | None) -> Samples:
    if len({picture.shape[2] for picture in pictures.values()}) > 1:
        return pictures
    sizes = np.array([picture.shape[:2] for picture in pictures.values()])
    height, width = size or np.percentile(sizes, 50, axis=0, method="lower").astype(int).tolist()
    _check_total(where, (height, width, next(iter(pictures.values())).shape[2]), len(pictures))
    others = int((sizes != [height, width]).any(axis=1).sum())
    if size is None and others:
        count = f"{others} of {len(pictures)} pictures"
        fix = "to override, resize them first (a folder or a dataset takes sizes)"
        tell(f"{where}: resized {count} to {height} x {width}, the median; {fix}")
    return {row: resize(picture, height, width) for row, picture in pictures.items()}


def resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes [height, width, channels] by Pillow's antialiased linear interpolation.

    Bytes stay bytes; other numbers become float32.

    Example:
        >>> resize(np.arange(16.0).reshape(4, 4, 1), 1, 1).tolist()
        [[[7.5]]]
    """
    from PIL import Image

    if picture.shape[:2] == (height, width):
        return picture
    if picture.dtype != np.uint8:
        picture = picture.astype(np.float32)
    planes = [np.ascontiguousarray(picture[..., i]) for i in range(picture.shape[2])]
    linear, size = Image.Resampling.BILINEAR, (width, height)
    return np.stack([np.asarray(Image.fromarray(x).resize(size, linear)) for x in planes], axis=-1)


def _check_total(where: str, shape: tuple[int, ...], rows: int) -> None:
    """Raises DataError, before they are made, for samples that would not fit in memory."""
    total = rows * np.prod(shape, dtype=np.float64)
    if total > MAX_VALUES:
        got = f"{rows} samples that would all take shape {shape}"
        fix = "Crop the long ones, or shrink the large ones."
        raise DataError(where, expected="samples that fit in memory", got=got, fix=fix)


def is_padding(values: np.ndarray) -> np.ndarray:
    """Which frames of [rows, length, ...] are padding, [rows, length]: NaN up to the end.

    The first frame of a row never is.

    Example:
        >>> is_padding(np.array([[[1.0], [2.0]], [[3.0], [np.nan]]])).tolist()
        [[False, False], [False, True]]
    """
    bare = np.isnan(values).all(axis=tuple(range(2, values.ndim)))
    tail = np.logical_and.accumulate(bare[:, ::-1], axis=1)[:, ::-1]
    tail[:, 0] = False
    return tail


def has_padding(values: np.ndarray, present: np.ndarray) -> bool:
    """Whether a row of an input that is present, [rows, ...], is padded.

    Example:
        >>> has_padding(np.float32([[[1.0], [np.nan]]]), np.array([True]))
        True
    """
    if values.ndim not in PADDED_NDIM or values.dtype != np.float32 or values.size == 0:
        return False
    rows = np.flatnonzero(present)
    ends = np.isnan(values[rows, -1]).all(axis=tuple(range(1, values.ndim - 1)))
    return bool(is_padding(values[rows[ends]]).any())


def tell_lengths(where: str, values: np.ndarray, present: np.ndarray) -> None:
    """Reports on stderr the lengths of the rows of an input that is padded.

    Example:
        >>> tell_lengths("steps", np.float32([[[1.0], [np.nan]]]), np.array([True]))  # on stderr
    """
    lengths = (~is_padding(values[present])).sum(axis=1)
    found = f"rows have {lengths.min()} to {lengths.max()} frames, the rest is NaN and masked"
    tell(f"{where}: {found}; crop or fill them to override")
