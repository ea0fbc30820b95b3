"""C++ layers for CPU, enabled by MMJAX_KERNELS=1 in the environment.

They support float32 arrays and convolutions with one or two spatial dimensions, and work inside
``lax.scan``, ``lax.map`` and ``vmap``. They have no derivatives; callers define those. XLA does not
see their operations, and leaves them out of its cost analysis of a program (see
``mmjax.analysis.cost``).
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import UsageError
from mmjax.layers.kernels.build import load
from mmjax.layers.platform import platform

__all__ = [
    "VARIABLE",
    "Unpooled",
    "attend",
    "attend_gradient",
    "convolve",
    "convolve_and_pool",
    "enabled",
    "kernel_gradient",
    "layer_norm",
    "layer_norm_gradient",
    "usable",
]

VARIABLE = "MMJAX_KERNELS"


def enabled() -> bool:
    """Whether the environment enables the kernels.

    Raises:
        UsageError: the variable is neither 0 nor 1.
    """
    value = os.environ.get(VARIABLE, "0")
    if value not in ("0", "1"):
        raise UsageError(VARIABLE, expected="0 or 1", got=repr(value))
    return value == "1"


def usable(*arrays: jax.Array) -> bool:
    """Whether the kernels are enabled, and support these arrays and this backend."""
    made_for = all(x.dtype == jnp.float32 and x.ndim in (3, 4) for x in arrays)
    return enabled() and made_for and platform() == "cpu"


class Unpooled(NamedTuple):
    """Zeros except for one entry per window: the gradient of a max-pooled array.

    Attributes:
        shape: [batch, *space, features] of the whole array; incomplete windows are left out.
        window: [*window], size in each spatial dimension.
        values: [batch, *(space // window), features], the entries.
        chosen: [batch, *(space // window), features] uint8, the position of each entry in its
            window.
    """

    shape: tuple[int, ...]
    window: tuple[int, ...]
    values: jax.Array
    chosen: jax.Array


def convolve(
    x: jax.Array | Unpooled,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> jax.Array:
    """Cross-correlates [batch, *space, in] with a kernel [*window, in, out].

    ``dilation`` is the distance of neighbours in ``x``, with zeros in between.
    """
    return _convolve(x, kernel, strides, padding, dilation, window=(1,) * len(strides)).values


def convolve_and_pool(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    window: Sequence[int],
) -> Unpooled:
    """The output of ``convolve``, max-pooled over non-overlapping windows."""
    return _convolve(x, kernel, strides, padding, (1,) * len(strides), window)


def _convolve(x, kernel, strides, padding, dilation, window):
    sizes = [
        max(0, ((n - 1) * d + 1 + sum(pads) - k) // s + 1)
        for n, d, pads, k, s in zip(
            x.shape[1:-1], dilation, padding, kernel.shape[:-2], strides, strict=True
        )
    ]
    around = lambda space: (x.shape[0], *space, kernel.shape[-1])
    pooled = around(n // w for n, w in zip(sizes, window, strict=True))
    choices = pooled if max(window) > 1 else (0,) * len(pooled)
    chosen = jax.ShapeDtypeStruct(_image_shape(choices), jnp.uint8)
    call = _call("mmjax_convolve", _floats(_image_shape(pooled)), chosen)
    images, attributes = _operand(x, "x_")
    attributes |= _attributes(y_size=sizes, y_window=window)
    attributes |= _attributes(strides=strides, padding=padding, dilation=dilation)
    y, chosen = call(*images, _windows(kernel), **attributes)
    return Unpooled(around(sizes), tuple(window), y.reshape(pooled), chosen.reshape(choices))


def kernel_gradient(
    x: jax.Array,
    cotangent: jax.Array | Unpooled,
    window: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
) -> jax.Array:
    """The gradient of the kernel, [*window, in, out], for a cotangent [batch, *out, features]."""
    shape = (*window, x.shape[-1], cotangent.shape[-1])
    images, attributes = _operand(cotangent)
    attributes |= _attributes(strides=strides, padding=padding)
    call = _call("mmjax_kernel_gradient", _floats((*_plane(window), *shape[-2:])))
    return call(x.reshape(_image_shape(x.shape)), *images, **attributes).reshape(shape)


def attend(
    queries: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Attention, as in ``mmjax.layers.attention``, and what its gradient needs.

    That is the logarithm of the normaliser of the weights, [batch, heads, queries].
    """
    batch, length, heads, _ = queries.shape
    call = _call("mmjax_attend", _floats(queries.shape), _floats((batch, heads, length)))
    return tuple(call(queries, keys, values, mask))


def attend_gradient(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    mask: jax.Array,
    read: jax.Array,
    normaliser: jax.Array,
    cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The gradients of queries, keys and values for a cotangent of the output."""
    results = (_floats(x.shape) for x in (queries, keys, values))
    call = _call("mmjax_attend_gradient", *results)
    return tuple(call(queries, keys, values, mask, read, normaliser, cotangent))


def layer_norm(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalised vectors [..., features], and mean and 1 / deviation of each, [..., 1]."""
    rows = _rows(x)
    each = _floats((len(rows),))
    call = _call("mmjax_layer_norm", _floats(rows.shape), each, each)
    y, mean, inverse = call(rows, scale, bias, epsilon=np.float32(epsilon))
    return y.reshape(x.shape), *(part.reshape(*x.shape[:-1], 1) for part in (mean, inverse))


def layer_norm_gradient(
    x: jax.Array, scale: jax.Array, mean: jax.Array, inverse: jax.Array, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The gradients of x, scale and bias for a cotangent [..., features]."""
    rows, width = _rows(x), _floats(scale.shape)
    call = _call("mmjax_layer_norm_gradient", _floats(rows.shape), width, width)
    dx, *others = call(rows, scale, mean.ravel(), inverse.ravel(), _rows(cotangent))
    return dx.reshape(x.shape), *others


def _rows(x):
    return x.reshape(-1, x.shape[-1])


def _call(target, *results):
    load()
    results = results if len(results) > 1 else results[0]
    return jax.ffi.ffi_call(target, results, vmap_method="sequential")


def _floats(shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _plane(sizes, missing=1):
    """Sizes in two dimensions: a sequence is an image of height 1."""
    return (*([missing] * (2 - len(sizes))), *sizes)


def _image_shape(shape):
    return (shape[0], *_plane(shape[1:-1]), shape[-1])


def _windows(kernel):
    return kernel.reshape(*_plane(kernel.shape[:-2]), *kernel.shape[-2:])


def _operand(x, prefix=""):
    """Values, choices (empty for a plain array), and the attributes that describe them."""
    if not isinstance(x, Unpooled):
        x = Unpooled(x.shape, (1,) * (x.ndim - 2), x, jnp.zeros((0,) * x.ndim, jnp.uint8))
    images = [part.reshape(_image_shape(part.shape)) for part in (x.values, x.chosen)]
    return images, _attributes(**{f"{prefix}size": x.shape[1:-1], f"{prefix}window": x.window})


def _attributes(padding=None, **steps):
    planes = {name: np.array(_plane(values), np.int64) for name, values in steps.items()}
    if padding is not None:
        planes["padding"] = np.array(_plane(padding, (0, 0)), np.int64).ravel()
    return planes
