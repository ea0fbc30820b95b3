"""C++ layers for CPU, used by default where they can be compiled.

They support float32 arrays and convolutions with one or two spatial dimensions, and work inside
``lax.scan``, ``lax.map`` and ``vmap``. They have no derivatives; callers define those, but only the
first. XLA does not see their operations: programs are counted as traced ``without`` them.

MMJAX_KERNELS=0 in the environment turns them off; with MMJAX_KERNELS=1 it is an error if they are
not available.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import UsageError, tell
from mmjax.layers.kernels.build import load
from mmjax.layers.platform import platform

__all__ = [
    "MAX_POOL",
    "VARIABLE",
    "Unpooled",
    "attend",
    "attend_gradient",
    "available",
    "convolve",
    "convolve_and_pool",
    "kernel_gradient",
    "layer_norm",
    "layer_norm_gradient",
    "usable",
    "version",
    "without",
]

VARIABLE = "MMJAX_KERNELS"
MAX_POOL = 256  # entries of a window to pool: a byte says which one was the largest
_off = jax.make_user_context(False)  # one that JAX's caches of programs distinguish
_loading = threading.Lock()
_tell_once = cache(tell)


def available() -> bool:
    """Whether the kernels are loaded; the first call compiles them, which takes seconds.

    All programs of a process get the same answer, because results differ in the last digits. If
    the kernels cannot be loaded, a line says why, once.

    Raises:
        UsageError: MMJAX_KERNELS is neither 0 nor 1.
        BuildError: it is 1, and the kernels cannot be compiled.
        OSError: it is 1, and the cache folder cannot be used, or the library cannot be loaded.
        RuntimeError: it is 1, and the user has no home folder, or XLA rejects the library.
    """
    setting = os.environ.get(VARIABLE)
    if setting not in (None, "0", "1"):
        raise UsageError(VARIABLE, expected="0 or 1", got=repr(setting))
    if setting == "0" or _off.value:
        return False
    with _loading:
        loaded = _load()
    if isinstance(loaded, str):
        return True
    if setting == "1":
        raise loaded
    first = str(loaded).partition("\n")[0].removesuffix(":")
    _tell_once(f"training without C++ kernels, slower ({VARIABLE}=0 accepts that): {first}")
    return False


@cache
def _load() -> str | Exception:
    """What identifies the kernels, or why there are none."""
    try:
        return load()
    except (OSError, RuntimeError) as error:  # among the latter, BuildError and XLA's own
        return error


def usable(*arrays: jax.Array) -> bool:
    """Whether the kernels are available, and support these arrays and this backend."""
    made_for = all(x.dtype == jnp.float32 and x.ndim in (3, 4) for x in arrays)
    return made_for and platform() == "cpu" and available()


@contextmanager
def without() -> Iterator[None]:
    """What is traced within does not use the kernels: to count it, or to run it elsewhere."""
    with _off(True):
        yield


def version() -> str:
    """The kernels that programs of this process use, by a digest of their sources."""
    used = jax.default_backend() == "cpu" and available()
    return f"kernels {_load()}" if used else "no kernels"


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
