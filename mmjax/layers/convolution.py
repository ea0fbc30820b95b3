"""Convolution and pooling, fast on every kind of hardware.

XLA's native implementations are best on GPU and TPU. On CPU their gradients are tens of times
slower than the same computation written as matrix products and element-wise selections, above all
inside ``lax.scan``. C++ kernels, where there are any, replace both.
"""

import math
from collections.abc import Sequence
from functools import partial, reduce
from itertools import product

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from mmjax.layers import kernels
from mmjax.layers.initializers import lecun_normal, zeros
from mmjax.layers.platform import platform

Padding = str | Sequence[tuple[int, int]]


class Conv(nn.Module):
    """Convolution over [batch, *space, features], with the parameters and semantics of ``nn.Conv``.

    Attributes:
        features: number of output features.
        kernel_size: size of the window in each spatial dimension.
        strides: step of the window, one number or one per dimension.
        padding: "SAME", "VALID", or (before, after) per dimension.
        use_bias: whether to add a bias.
        pool: window sizes of non-overlapping max pooling of the result; no pooling if empty.
    """

    features: int
    kernel_size: Sequence[int]
    strides: int | Sequence[int] = 1
    padding: Padding = "SAME"
    use_bias: bool = True
    pool: Sequence[int] = ()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [batch, *space, in] to [batch, *out, features]."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", lecun_normal, shape)
        x, kernel = nn.dtypes.promote_dtype(x, kernel)
        y = conv(x, kernel, self.strides, self.padding, self.pool)
        if not self.use_bias:
            return y
        bias = self.param("bias", zeros, (self.features,))
        return y + along_last(bias.astype(y.dtype), y)


def conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    pool: Sequence[int] = (),
) -> jax.Array:
    """Cross-correlates [batch, *space, in] with a kernel [*window, in, out].

    With ``pool``, the result is max-pooled over non-overlapping windows of that size.
    """
    space, window = x.shape[1:-1], kernel.shape[:-2]
    strides = (strides,) * len(space) if isinstance(strides, int) else tuple(strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(space, window, strides, padding)
    pads = tuple((low, high) for low, high in padding)
    if pool and math.prod(pool) <= kernels.MAX_POOL and kernels.usable(x, kernel):
        return _conv_and_pool(x, kernel, strides, pads, tuple(pool))
    compute = _cpu_conv if platform() == "cpu" else _native_conv
    y = compute(x, kernel, strides, pads)
    return max_pool(y, pool) if pool else y


def _native_conv(x, kernel, strides, padding, dilation=None):
    letters = "DHW"[-len(strides) :]
    layout = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    return lax.conv_general_dilated(
        x, kernel, strides, padding, lhs_dilation=dilation, dimension_numbers=layout
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _cpu_conv(x, kernel, strides, padding):
    # Without a gradient, as in prediction, XLA's own convolution is fastest for every shape.
    return _native_conv(x, kernel, strides, padding)


def along_last(vector, x):
    """[features] reshaped to the rank of ``x``, for arithmetic without rank promotion."""
    return vector.reshape((1,) * (x.ndim - 1) + (-1,))


def _cpu_conv_forward(x, kernel, strides, padding):
    return _to_differentiate(x, kernel, strides, padding), (x, kernel)


def _to_differentiate(x, kernel, strides, padding):
    window = kernel.shape[:-2]
    if kernels.usable(x, kernel):
        return kernels.convolve(x, kernel, strides, padding, (1,) * len(strides))
    if x.shape[-1] == 1:
        x = _pad(x, padding)
        sizes = _num_windows(x.shape[1:-1], window, strides)
        offsets = list(product(*map(range, window)))
        return sum(_shift(x, o, sizes, strides) * along_last(kernel[o][0], x) for o in offsets)
    if len(window) == 1:
        patches = _patches(x, window, strides, padding)
        return patches @ kernel.reshape(-1, kernel.shape[-1])
    return _native_conv(x, kernel, strides, padding)


def _cpu_conv_backward(strides, padding, saved, cotangent):
    geometry = (*saved, strides, padding, cotangent)
    return _input_gradient(*geometry), _kernel_gradient(*geometry)


_cpu_conv.defvjp(_cpu_conv_forward, _cpu_conv_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv_and_pool(x, kernel, strides, padding, pool):
    return _native_max_pool(_native_conv(x, kernel, strides, padding), pool)


def _conv_and_pool_forward(x, kernel, strides, padding, pool):
    pooled = kernels.convolve_and_pool(x, kernel, strides, padding, pool)
    return pooled.values, (x, kernel, pooled.chosen)


def _conv_and_pool_backward(strides, padding, pool, saved, cotangent):
    x, kernel, chosen = saved
    padded = [n + sum(pads) for n, pads in zip(x.shape[1:-1], padding, strict=True)]
    sizes = _num_windows(padded, kernel.shape[:-2], strides)
    shape = (len(x), *sizes, kernel.shape[-1])
    cotangent = kernels.Unpooled(shape, pool, cotangent, chosen)
    return _cpu_conv_backward(strides, padding, (x, kernel), cotangent)


_conv_and_pool.defvjp(_conv_and_pool_forward, _conv_and_pool_backward)


def _input_gradient(x, kernel, strides, padding, cotangent):
    """Convolves the cotangent with the flipped, transposed kernel."""
    window, space = kernel.shape[:-2], x.shape[1:-1]
    flipped = jnp.flip(kernel, range(len(window))).swapaxes(-1, -2)
    pads = []
    for size, k, stride, (low, _), out in zip(
        space, window, strides, padding, cotangent.shape[1:-1], strict=True
    ):
        before = k - 1 - low
        pads.append((before, size + k - 1 - before - ((out - 1) * stride + 1)))
    ones = (1,) * len(window)
    if kernels.usable(x, kernel):
        return kernels.convolve(cotangent, flipped, ones, pads, dilation=strides)
    return _native_conv(cotangent, flipped, ones, pads, dilation=strides)


def _kernel_gradient(x, kernel, strides, padding, cotangent):
    """Transposed patches times cotangent, one matrix product per offset in the first dimension.

    A single product over all offsets would copy the input once per entry of the window.
    """
    window, features = kernel.shape[:-2], x.shape[-1]
    if kernels.usable(x, kernel):
        return kernels.kernel_gradient(x, cotangent, window, strides, padding)
    flat = cotangent.reshape(-1, cotangent.shape[-1])
    if len(window) == 1 or features == 1:
        patches = _patches(x, window, strides, padding)
        return (patches.reshape(-1, patches.shape[-1]).T @ flat).reshape(kernel.shape)
    x = _pad(x, padding)
    sizes = cotangent.shape[1:-1]
    rows = []
    for i in range(window[0]):
        shifts = [
            _shift(x, (i, *rest), sizes, strides) for rest in product(*map(range, window[1:]))
        ]
        patches = jnp.concatenate(shifts, axis=-1)
        rows.append(patches.reshape(-1, patches.shape[-1]).T @ flat)
    return jnp.stack(rows).reshape(kernel.shape)


def _patches(x, window, strides, padding):
    """The window around each output position: [batch, *out, prod(window) * features]."""
    x = _pad(x, padding)
    sizes = _num_windows(x.shape[1:-1], window, strides)
    shifts = [_shift(x, offset, sizes, strides) for offset in product(*map(range, window))]
    return jnp.concatenate(shifts, axis=-1)


def _num_windows(space, window, strides):
    return [(n - k) // s + 1 for n, k, s in zip(space, window, strides, strict=True)]


def _pad(x, padding):
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*p, 0) for p in padding), (0, 0, 0)])


def _shift(x, offset, sizes, strides):
    """``sizes`` entries from ``offset`` on, ``strides`` apart."""
    stops = [o + (n - 1) * s + 1 for o, n, s in zip(offset, sizes, strides, strict=True)]
    return lax.slice(x, (0, *offset, 0), (len(x), *stops, x.shape[-1]), (1, *strides, 1))


def max_pool(x: jax.Array, window: Sequence[int]) -> jax.Array:
    """Non-overlapping max pooling of [batch, *space, features]; remainders are dropped."""
    if platform() != "cpu":
        return _native_max_pool(x, window)
    return _cpu_max_pool(x, tuple(window))


def _native_max_pool(x, window):
    return nn.max_pool(x, tuple(window), strides=tuple(window))


# Without a gradient, as in prediction, XLA's own pooling is faster.
_cpu_max_pool = jax.custom_vjp(_native_max_pool, nondiff_argnums=(1,))


def _choose_largest(x, window):
    # The gradient of a chain of selects is a chain of selects; that of reduce_window is a scatter.
    sizes = _num_windows(x.shape[1:-1], window, window)
    shifts = [_shift(x, offset, sizes, window) for offset in product(*map(range, window))]
    return reduce(lambda a, b: jnp.where(a >= b, a, b), shifts)


def _cpu_max_pool_forward(x, window):
    return jax.vjp(lambda x: _choose_largest(x, window), x)


def _cpu_max_pool_backward(window, pull, cotangent):
    return pull(cotangent)


_cpu_max_pool.defvjp(_cpu_max_pool_forward, _cpu_max_pool_backward)
