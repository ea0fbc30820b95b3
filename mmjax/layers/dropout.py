"""Dropout with cheap random numbers, and dropout with a rate given at run time."""

from contextlib import AbstractContextManager

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.random import threefry_2x32


class Dropout(nn.Dropout):
    """Dropout with two draws per 32-bit random number, since on CPU their generation dominates.

    The rate, below one, is rounded to a multiple of 2 ** -16. Both words of a hash are used, where
    ``jax.random.bits`` merges them. It serves transformer blocks only, whose arrays are large,
    [batch, length, features]; elsewhere, mostly on one vector per row, Flax's own is used.

    Reference: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011), Threefry.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # type: ignore[override]  # fewer arguments
        """Zeroes entries of [..., features] in training."""
        return self.drop(x, self.rate) if self.rate and not self.deterministic else x

    def drop(self, x: jax.Array, rate: float | jax.Array) -> jax.Array:
        """Zeroes entries at a rate and scales up the others."""
        key = jax.random.key_data(self.make_rng(self.rng_collection))[:2]
        words = threefry_2x32(key, lax.iota(jnp.uint32, (x.size + 1) // 2))
        halves = lax.bitcast_convert_type(words, jnp.uint16).reshape(-1)[: x.size]
        dropped = jnp.minimum(jnp.round(jnp.float32(rate) * 2**16), 2**16 - 1)
        keep = halves.reshape(x.shape) >= dropped.astype(jnp.uint16)
        return jnp.where(keep, x / (1 - dropped / 2**16).astype(x.dtype), 0)


def dropout_at(rate: jax.Array) -> AbstractContextManager:
    """Within this context, every Dropout in training has this rate, unless its own is zero.

    The rate may be an array, and so differ between the lanes of one program.
    """

    def intercept(call, args, kwargs, context):
        module = context.module
        drops = isinstance(module, nn.Dropout) and context.method_name == "__call__"
        if not drops or not module.rate or module.deterministic:
            return call(*args, **kwargs)
        if isinstance(module, Dropout):
            return module.drop(args[0], rate)
        keep = jax.random.bernoulli(module.make_rng(module.rng_collection), 1 - rate, args[0].shape)
        return jnp.where(keep, args[0] / (1 - rate).astype(args[0].dtype), 0)

    return nn.intercept_methods(intercept)
