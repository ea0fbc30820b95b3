"""Convolution and attention in C++ for CPU, on request: MMJAX_KERNELS=1 in the environment.

They take float32 arrays, convolutions with one or two dimensions of space, and work inside
``lax.scan``, ``lax.map`` and ``vmap``. They have no derivatives: those are for the caller to
define. XLA does not see their operations, so that what it counts of a program (see ``mmjax.cost``)
leaves them out.
"""

import os
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import UsageError
from mmjax.kernels.build import load

VARIABLE = "MMJAX_KERNELS"


def enabled() -> bool:
    """Whether the environment asks for the kernels.

    Raises:
        UsageError: the variable is neither 0 nor 1.
    """
    value = os.environ.get(VARIABLE, "0")
    if value not in ("0", "1"):
        raise UsageError(VARIABLE, expected="0 or 1", got=repr(value))
    return value == "1"


def usable(*arrays: jax.Array) -> bool:
    """Whether the kernels are asked for, and made for such arrays and this backend."""
    made_for = all(x.dtype == jnp.float32 and x.ndim in (3, 4) for x in arrays)
    return enabled() and made_for and jax.default_backend() == "cpu"


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> jax.Array:
    """Cross-correlates [batch, *space, in] with a kernel [*window, in, out].

    ``dilation`` is the distance of neighbours in ``x``, with zeros in between.
    """
    space, window = x.shape[1:-1], kernel.shape[:-2]
    sizes = [
        max(0, ((n - 1) * d + 1 + sum(pads) - k) // s + 1)
        for n, d, pads, k, s in zip(space, dilation, padding, window, strides, strict=True)
    ]
    out = (len(x), *_plane(sizes), kernel.shape[-1])
    attributes = _attributes(strides=strides, padding=padding, dilation=dilation)
    y = _call("mmjax_convolve", out)(_images(x), _windows(kernel), **attributes)
    return y.reshape(len(x), *sizes, kernel.shape[-1])


def kernel_gradient(
    x: jax.Array,
    cotangent: jax.Array,
    window: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
) -> jax.Array:
    """The gradient [*window, in, out] that a cotangent [batch, *out, features] pulls back."""
    channels = (x.shape[-1], cotangent.shape[-1])
    attributes = _attributes(strides=strides, padding=padding)
    call = _call("mmjax_kernel_gradient", (*_plane(window), *channels))
    return call(_images(x), _images(cotangent), **attributes).reshape(*window, *channels)


def attend(
    queries: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """What each query reads, as ``mmjax.attention.attend`` says, and what its gradient needs.

    That is the logarithm of the normaliser of the weights, [batch, heads, queries].
    """
    batch, length, heads, _ = queries.shape
    return _call("mmjax_attend", queries.shape, (batch, heads, length))(queries, keys, values, mask)


def attend_gradient(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    mask: jax.Array,
    read: jax.Array,
    normaliser: jax.Array,
    cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The gradients of queries, keys and values that a cotangent of what is read pulls back."""
    call = _call("mmjax_attend_gradient", queries.shape, keys.shape, values.shape)
    return tuple(call(queries, keys, values, mask, read, normaliser, cotangent))


def _call(target, *shapes):
    load()
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    results = results if len(results) > 1 else results[0]
    return jax.ffi.ffi_call(target, results, vmap_method="sequential")


def _plane(sizes, missing=1):
    """Sizes in two dimensions: a sequence is an image of height 1."""
    return (*([missing] * (2 - len(sizes))), *sizes)


def _images(x):
    return x.reshape(len(x), *_plane(x.shape[1:-1]), x.shape[-1])


def _windows(kernel):
    return kernel.reshape(*_plane(kernel.shape[:-2]), *kernel.shape[-2:])


def _attributes(padding, **steps):
    planes = {name: np.array(_plane(values), np.int64) for name, values in steps.items()}
    return {"padding": np.array(_plane(padding, (0, 0)), np.int64).ravel(), **planes}
