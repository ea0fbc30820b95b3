"""Layer normalisation with a custom gradient.

Automatic differentiation would store and pass over several arrays as large as the input, which on
CPU takes longer than the arithmetic. C++ kernels, where there are any, pass over each array once.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from mmjax.layers import kernels
from mmjax.layers.convolution import along_last
from mmjax.layers.initializers import ones, zeros

EPSILON = 1e-6


class LayerNorm(nn.Module):
    """``flax.linen.LayerNorm`` with its default settings: same parameters, same values.

    Reference: Ba et al., Layer Normalization (arXiv:1607.06450).
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [..., features] to the same shape."""
        scale = self.param("scale", ones, (x.shape[-1],))
        bias = self.param("bias", zeros, (x.shape[-1],))
        return layer_norm(*nn.dtypes.promote_dtype(x, scale, bias))


@jax.custom_vjp
def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """Normalises [..., features] to mean 0 and variance 1; scale and bias are [features]."""
    return _forward(x, scale, bias)[0]


def _forward(x, scale, bias):
    if kernels.usable(x):
        y, mean, inverse = kernels.layer_norm(x, scale, bias, EPSILON)
        return y, (x, scale, mean, inverse)
    mean = x.mean(axis=-1, keepdims=True)
    variance = jnp.maximum(jnp.square(x).mean(axis=-1, keepdims=True) - jnp.square(mean), 0)
    inverse = lax.rsqrt(variance + EPSILON)
    y = (x - mean) * (inverse * along_last(scale, x)) + along_last(bias, x)
    return y, (x, scale, mean, inverse)


def _backward(saved, cotangent):
    x, scale, mean, inverse = saved
    if kernels.usable(x):
        return kernels.layer_norm_gradient(x, scale, mean, inverse, cotangent)
    normed, scaled = (x - mean) * inverse, cotangent * along_last(scale, x)
    along = (scaled * normed).mean(axis=-1, keepdims=True)
    dx = inverse * (scaled - scaled.mean(axis=-1, keepdims=True) - normed * along)
    rows = tuple(range(x.ndim - 1))
    return dx, (cotangent * normed).sum(rows), cotangent.sum(rows)


layer_norm.defvjp(_forward, _backward)
