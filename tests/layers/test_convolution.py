"""Convolution and pooling against Flax, gradients included."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.layers.convolution import Conv, max_pool

pytestmark = pytest.mark.usefixtures("formulation")

CONVOLUTIONS = [
    # size, features in and out, window, strides, padding
    ((7,), 3, 4, (3,), 1, "SAME"),
    ((8,), 3, 2, (5,), 2, "SAME"),
    ((9,), 1, 4, (4,), 3, "VALID"),
    ((6,), 2, 3, (3,), 2, ((2, 1),)),
    ((6, 7), 1, 4, (3, 3), 1, "SAME"),
    ((6, 7), 3, 2, (3, 2), 1, "VALID"),
    ((8, 9), 3, 4, (3, 3), 2, "SAME"),
    ((8, 7), 2, 3, (2, 3), (2, 3), "VALID"),
    ((5, 6), 2, 2, (3, 4), (1, 2), ((0, 2), (1, 3))),
    ((7, 7), 3, 2, (1, 1), 2, "SAME"),
    ((4, 5, 6), 1, 3, (3, 3, 3), 1, "SAME"),
    ((5, 4, 6), 2, 3, (3, 2, 3), (1, 2, 1), "VALID"),
]


def draw(*shape, seed=0, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    ("size", "fan_in", "fan_out", "window", "strides", "padding"), CONVOLUTIONS
)
def test_conv_is_flax_conv(size, fan_in, fan_out, window, strides, padding, dtype):
    x = draw(2, *size, fan_in, dtype=dtype)
    kernel = draw(*window, fan_in, fan_out, seed=1, dtype=dtype)
    params = {"kernel": kernel, "bias": draw(fan_out, seed=2, dtype=dtype)}
    fields = {"features": fan_out, "kernel_size": window, "strides": strides, "padding": padding}

    def value_and_gradients(conv):
        y, pull = jax.vjp(lambda p, x: conv.apply({"params": p}, x), params, x)
        return y, pull(draw(*y.shape, seed=3, dtype=y.dtype))

    got = jax.jit(lambda: value_and_gradients(Conv(**fields)))()
    want = jax.jit(lambda: value_and_gradients(nn.Conv(**fields)))()
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == jnp.float32 else {"rtol": 0.05, "atol": 0.2}
    assert jax.tree.map(jnp.result_type, got) == jax.tree.map(jnp.result_type, want)
    as_float = lambda tree: [np.asarray(a, np.float32) for a in jax.tree.leaves(tree)]
    for a, b in zip(as_float(got), as_float(want), strict=True):
        np.testing.assert_allclose(a, b, **close)


@pytest.mark.parametrize(
    ("size", "window"), [((7,), (2,)), ((6, 6), (2, 2)), ((7, 5), (3, 2)), ((4, 5, 6), (2, 2, 2))]
)
def test_max_pool_is_flax_max_pool(size, window):
    shape = (2, *size, 3)
    distinct = np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape)
    x = jnp.asarray(distinct, jnp.float32)
    flax_pool = lambda x: nn.max_pool(x, window, strides=window)
    got, pull_got = jax.vjp(lambda x: max_pool(x, window), x)
    want, pull_want = jax.vjp(flax_pool, x)
    cotangent = draw(*want.shape)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(pull_got(cotangent)[0], pull_want(cotangent)[0])


@pytest.mark.parametrize(
    ("size", "window"), [((7,), (2,)), ((6, 6), (2, 2)), ((7, 5), (3, 2)), ((4, 5, 6), (2, 2, 2))]
)
def test_a_pooled_convolution_is_one_after_the_other(size, window):
    x, params = draw(2, *size, 3), {"params": {"kernel": draw(*window, 3, 4, seed=1)}}
    got = Conv(4, window, use_bias=False, pool=window).apply(params, x)
    y = nn.Conv(4, window, use_bias=False).apply(params, x)
    want = nn.max_pool(y, window, strides=window)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
