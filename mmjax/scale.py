"""Mean and standard deviation of inputs and of numbers to predict, over training rows."""

from typing import NamedTuple

import numpy as np

from mmjax.on_disk import chunks_where


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


def find_scale(values: np.ndarray) -> Scale:
    """The scale of training numbers [rows, out_dim]; one that does not vary has deviation one."""
    mean, deviation = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    return Scale(mean, np.where(deviation > 0, deviation, 1))
