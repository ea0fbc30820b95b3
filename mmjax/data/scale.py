"""Mean and standard deviation of inputs and of numbers to predict, over training rows."""

from typing import NamedTuple

import numpy as np

from mmjax.data.chunks import chunks_where


class Scale(NamedTuple):
    """Mean and standard deviation, [numbers] or [features] each, over training rows."""

    mean: np.ndarray
    deviation: np.ndarray

    def standardise(self, values: np.ndarray) -> np.ndarray:
        """Numbers [rows, out_dim] as models learn them, float32."""
        return ((values - self.mean) / self.deviation).astype(np.float32)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Numbers [rows, out_dim] as they were before."""
        return values * self.deviation + self.mean


def find_input_scale(values: np.ndarray, present: np.ndarray) -> Scale:
    """The scale of each feature of training inputs over the rows that have them, float32.

    Args:
        values: [rows, ..., features], which may be on disk.
        present: [rows] bool.
    """
    total, squares = np.zeros((2, values.shape[-1]))
    count = 0
    for rows in chunks_where(values, present):
        seen = rows.reshape(-1, values.shape[-1]).astype(np.float64)
        total, squares = total + seen.sum(axis=0), squares + np.square(seen).sum(axis=0)
        count += len(seen)
    mean = total / max(count, 1)
    deviation = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0))
    varies = deviation > 1e-6 * np.abs(mean)  # and not by rounding alone
    return Scale(mean.astype(np.float32), np.where(varies, deviation, 1).astype(np.float32))


def find_byte_scale(values: np.ndarray, present: np.ndarray, standardise: bool) -> Scale | None:
    """The scale of bytes, which come to models divided by 255; None for pictures, which stay so.

    Pictures are images of other bytes than 0 and 1. Those of 0 and 1 alone, such as masks and
    one-hot sequences, become 0 and 1 again; sequences of others are numbers like any.

    Args:
        values: uint8 [rows, ..., features], which may be on disk.
        present: [rows] bool.
        standardise: whether numbers are standardised.
    """
    unit = np.float32(1 / 255)
    zero, one = (np.full(values.shape[-1], x, np.float32) for x in (0, unit))
    if all(rows.max(initial=0) <= 1 for rows in chunks_where(values, present)):
        return Scale(zero, one)
    if len(values.shape) == 4:
        return None
    mean, deviation = find_input_scale(values, present) if standardise else (zero, one / unit)
    return Scale(mean * unit, deviation * unit)


def find_scale(values: np.ndarray) -> Scale:
    """The scale of training numbers [rows, out_dim]; one that does not vary has deviation one."""
    values = values.astype(np.float64)
    # Squares of what is very small or large would be zero or infinite; powers of two are exact.
    unit = np.exp2(np.frexp(np.abs(values).max(axis=0))[1] - 1)
    mean, deviation = unit * (values / unit).mean(axis=0), unit * (values / unit).std(axis=0)
    return Scale(mean, np.where(deviation > 0, deviation, 1))
