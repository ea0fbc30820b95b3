"""Layer normalisation against Flax, for the tests with and without kernels."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.layers.normalisation import LayerNorm

SHAPES = [(2, 3, 8), (1, 40, 17), (5, 7, 1), (3, 89, 64), (0, 4, 8)]


def check_layer_norm(*shape):
    """Holds values and gradients to those of ``flax.linen.LayerNorm``."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    x, cotangent = 3 * draw(*shape) + 1, draw(*shape)
    params = {"scale": draw(shape[-1]), "bias": draw(shape[-1])}

    def value_and_gradients(norm):
        y, pull = jax.vjp(lambda p, x: norm.apply({"params": p}, x), params, x)
        return y, pull(cotangent)

    got, want = (jax.jit(lambda m=m: value_and_gradients(m()))() for m in (LayerNorm, nn.LayerNorm))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    jax.tree.map(close, got, want)
