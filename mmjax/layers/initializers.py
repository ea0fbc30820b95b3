"""Flax's initialisers, bit by bit, compiled as a few programs rather than one per shape.

A comparison starts with hundreds of parameters of different shapes, each of which would otherwise
take a third of a second to compile. JAX's draws are a function of the position in the flattened
array, so a shorter array is a prefix of a longer one, and a few lengths serve all shapes.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Initializer = Callable[..., jax.Array | np.ndarray]

_LENGTHS = (2**12, 2**16, 2**20)
_CUT_DEVIATION = np.float32(0.87962566103423978)  # of a normal truncated at 2 deviations


def normal(stddev: float) -> Initializer:
    """Like ``flax.linen.initializers.normal``."""

    def init(key, shape, dtype=jnp.float32):
        return _draw(jax.random.normal, key, shape, dtype) * np.asarray(stddev, dtype)

    return init


def variance_scaling(scale: float) -> Initializer:
    """Like ``flax.linen.initializers.variance_scaling`` with fan-in and truncated normal."""
    cut_normal = lambda key, shape, dtype: jax.random.truncated_normal(key, -2, 2, shape, dtype)

    def init(key, shape, dtype=jnp.float32):
        fan_in = math.prod(shape[:-1])
        deviation = np.sqrt(np.float32(scale / max(1, fan_in))) / _CUT_DEVIATION
        return _draw(cut_normal, key, shape, dtype) * np.asarray(deviation, dtype)

    return init


def lecun_normal(key: Any, shape: Sequence[int], dtype: Any = jnp.float32) -> Any:
    """Like ``flax.linen.initializers.lecun_normal()``, the default of Flax's layers."""
    return _unit_variance(key, shape, dtype)


def zeros(key: Any, shape: Sequence[int], dtype: Any = jnp.float32) -> Any:
    """Like ``flax.linen.initializers.zeros``."""
    return np.zeros(shape, dtype)


def ones(key: Any, shape: Sequence[int], dtype: Any = jnp.float32) -> Any:
    """Like ``flax.linen.initializers.ones``."""
    return np.ones(shape, dtype)


_unit_variance = variance_scaling(1.0)


def _draw(sample, key, shape, dtype):
    """Draws [*shape] from a key; under tracing, within a larger program, exactly that shape."""
    if isinstance(key, jax.core.Tracer):
        return sample(key, shape, dtype)
    size = math.prod(shape)
    length = next((n for n in _LENGTHS if n >= size), size)
    return np.asarray(sample(key, (length,), dtype))[:size].reshape(shape)
