"""Corruptions of sequences and vectors whose features have mean 0 and standard deviation 1.

Sequences may end in frames of NaN, which is padding: fractions are those of the other frames.
"""

import jax
import jax.numpy as jnp

from mmjax.analysis.corruptions.corruption import (
    SHARES,
    add_noise,
    row_wise,
    shifted,
    strength,
    stretch,
)


@row_wise
def sequence_noise(key: jax.Array, steps: jax.Array, severity: jax.Array) -> jax.Array:
    """Adds white Gaussian noise at a signal-to-noise ratio of 20, 15, 10, 5 or 0 dB.

    The ratio is that of the mean squares over all steps and features, exact for each row.
    """
    return add_noise(key, steps, severity, where=~jnp.isnan(steps))


@row_wise
def sequence_shift(key: jax.Array, steps: jax.Array, severity: jax.Array) -> jax.Array:
    """Shifts by 0.05, 0.1, 0.15, 0.2 or 0.25 of the length either way, repeating the end step."""
    used = _num_used(steps)
    return steps[jnp.clip(shifted(key, len(steps), severity, used), 0, used - 1)]


@row_wise
def time_masking(key: jax.Array, steps: jax.Array, severity: jax.Array) -> jax.Array:
    """Sets a stretch of 0.1, 0.2, 0.3, 0.4 or 0.5 of all steps to the mean, 0.

    Reference: Park et al., SpecAugment (arXiv:1904.08779), section 2.
    """
    share, place = strength(SHARES, severity), jax.random.uniform(key)
    masked = stretch(len(steps), share, place, _num_used(steps))
    return jnp.where(masked[:, None], 0, steps)


@row_wise
def feature_masking(key: jax.Array, steps: jax.Array, severity: jax.Array) -> jax.Array:
    """Sets a band of 0.1, 0.2, 0.3, 0.4 or 0.5 of all features to the mean, 0.

    Reference: Park et al., SpecAugment (arXiv:1904.08779), section 2.
    """
    masked = stretch(steps.shape[1], strength(SHARES, severity), jax.random.uniform(key))
    return jnp.where(masked[None], 0, steps)


@row_wise
def vector_noise(key: jax.Array, vector: jax.Array, severity: jax.Array) -> jax.Array:
    """Adds Gaussian noise of 0.25, 0.5, 1, 1.5 or 2 standard deviations of each feature."""
    deviation = strength((0.25, 0.5, 1, 1.5, 2), severity)
    return vector + deviation * jax.random.normal(key, vector.shape)


@row_wise
def feature_dropout(key: jax.Array, vector: jax.Array, severity: jax.Array) -> jax.Array:
    """Sets each feature to its mean, 0, with probability 0.1, 0.2, 0.3, 0.4 or 0.5."""
    keep = jax.random.uniform(key, vector.shape) >= strength(SHARES, severity)
    return jnp.where(keep, vector, 0)


def _num_used(steps: jax.Array) -> jax.Array:
    """Number of steps that are not padding, []."""
    return (~jnp.isnan(steps[:, 0])).sum()
