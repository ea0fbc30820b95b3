"""Standardisation of inputs and of numeric targets, with statistics of the training rows."""

from typing import NamedTuple

import numpy as np

from mmjax.data.chunks import chunks_where


class Scale(NamedTuple):
    """Mean and standard deviation, [numbers] or [features] each, over training rows.

    Example:
        >>> scale = find_scale(np.array([[10.0], [14.0]]))
        >>> scale.standardise(np.array([[10.0], [16.0]])).ravel().tolist()
        [-1.0, 2.0]
        >>> scale.restore(np.array([[-1.0], [2.0]])).ravel().tolist()
        [10.0, 16.0]
    """

    mean: np.ndarray
    deviation: np.ndarray

    def standardise(self, values: np.ndarray) -> np.ndarray:
        """Numbers [rows, out_dim] as models learn them: mean 0, deviation 1, float32."""
        return ((values - self.mean) / self.deviation).astype(np.float32)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """The inverse of ``standardise``: numbers [rows, out_dim] in their own units."""
        return values * self.deviation + self.mean


def find_input_scale(values: np.ndarray, present: np.ndarray) -> Scale:
    """The scale of each feature of an input, float32, over the rows in which it is present.

    NaN, which is padding or a missing cell, does not count.

    Args:
        values: [rows, ..., features], which may be on disk.
        present: [rows] bool.

    Example:
        >>> there = np.array([True, True, False])
        >>> find_input_scale(np.float32([[1.0], [3.0], [99.0]]), there).mean.tolist()
        [2.0]
    """
    total, squares, count = np.zeros((3, values.shape[-1]))
    for rows in chunks_where(values, present):
        seen = rows.reshape(-1, values.shape[-1]).astype(np.float64)
        there = ~np.isnan(seen)
        seen = np.where(there, seen, 0)
        total, squares = total + seen.sum(axis=0), squares + np.square(seen).sum(axis=0)
        count += there.sum(axis=0)
    mean = total / np.maximum(count, 1)
    deviation = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
    varies = deviation > 1e-6 * np.abs(mean)  # by more than rounding
    return Scale(mean.astype(np.float32), np.where(varies, deviation, 1).astype(np.float32))


def find_byte_scale(values: np.ndarray, present: np.ndarray, standardise: bool) -> Scale | None:
    """The scale of an input of bytes, which reaches models divided by 255.

    Images and videos with bytes other than 0 and 1 have none (None): they stay between 0 and 1.
    Bytes that are all 0 and 1, such as masks and one-hot sequences, become 0 and 1 again; other
    sequences of bytes are treated as numbers.

    Args:
        values: uint8 [rows, ..., features], which may be on disk.
        present: [rows] bool.
        standardise: whether numbers are standardised.

    Example:
        >>> images = np.full((2, 8, 8, 1), 200, np.uint8)
        >>> find_byte_scale(images, np.ones(2, bool), standardise=True) is None
        True
    """
    unit = np.float32(1 / 255)
    zero, one = (np.full(values.shape[-1], x, np.float32) for x in (0, unit))
    if all(rows.max(initial=0) <= 1 for rows in chunks_where(values, present)):
        return Scale(zero, one)
    if len(values.shape) >= 4:
        return None
    mean, deviation = find_input_scale(values, present) if standardise else (zero, one / unit)
    return Scale(mean * unit, deviation * unit)


def find_scale(values: np.ndarray) -> Scale:
    """The scale of numbers [rows, out_dim]; a constant one has deviation 1.

    Example:
        >>> find_scale(np.array([[1.0, 5.0], [3.0, 5.0]])).deviation.tolist()
        [1.0, 1.0]
    """
    values = values.astype(np.float64)
    # Squares of very small or large numbers under- or overflow; scaling by powers of two is exact.
    unit = np.exp2(np.frexp(np.abs(values).max(axis=0))[1] - 1)
    mean, deviation = unit * (values / unit).mean(axis=0), unit * (values / unit).std(axis=0)
    return Scale(mean, np.where(deviation > 0, deviation, 1))
