"""Flax's initialisers, bit by bit, compiled as a few programs rather than one per shape.

A comparison starts with hundreds of parameters of different shapes, each of which would otherwise
take a third of a second to compile. JAX's draws are a function of the position in the flattened
array, so a shorter array is a prefix of a longer one, and a few lengths serve all shapes.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive, jaxpr_as_fun
from jax.interpreters import batching, mlir
from jax.interpreters.partial_eval import dce_jaxpr

T = TypeVar("T")

Initializer = Callable[..., jax.Array | np.ndarray]

_LENGTHS = (2**12, 2**16, 2**20)
_CUT_DEVIATION = np.float32(0.87962566103423978)  # of a normal truncated at 2 deviations


def normal(stddev: float) -> Initializer:
    """Like ``flax.linen.initializers.normal``."""

    def init(key, shape, dtype=jnp.float32):
        return _draw("normal", key, shape, dtype, stddev)

    return init


def variance_scaling(scale: float) -> Initializer:
    """Like ``flax.linen.initializers.variance_scaling`` with fan-in and truncated normal."""

    def init(key, shape, dtype=jnp.float32):
        fan_in = math.prod(shape[:-1])
        deviation = np.sqrt(np.float32(scale / max(1, fan_in))) / _CUT_DEVIATION
        return _draw("cut_normal", key, shape, dtype, deviation)

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


def drawing(function: Callable[..., T], **jit_options: Any) -> Callable[..., T]:
    """Jits a function that initialises parameters, or runs it from programs that models share.

    It is traced once for arguments of the same shapes. What computes nothing but draws of the
    initialisers above is then not compiled; initialisers of other libraries are, since operation by
    operation they would need many programs.
    """
    jitted: Any = jax.jit(function, **jit_options)

    def run(*arguments):
        traced = jitted.trace(*arguments)
        outputs, structure = jax.tree.flatten(traced.out_info)
        needed, _ = dce_jaxpr(traced.jaxpr.jaxpr, [True] * len(outputs), instantiate=True)
        if any(equation.primitive.name == "jit" for equation in needed.eqns):
            return jitted(*arguments)
        evaluate = jaxpr_as_fun(traced.jaxpr.replace(jaxpr=needed))
        return jax.tree.unflatten(structure, evaluate(*jax.tree.leaves(arguments)))

    return run


_SAMPLES = {
    "normal": jax.random.normal,
    "cut_normal": lambda key, shape, dtype: jax.random.truncated_normal(key, -2, 2, shape, dtype),
}


def _draw(kind, key, shape, dtype, scale):
    """Draws [*shape] from a key; within a larger program, exactly that shape."""
    which = {"kind": kind, "shape": tuple(shape), "dtype": jnp.dtype(dtype)}
    return _draw_p.bind(key, scale=float(scale), **which)


def _draw_traced(keys, *, kind, shape, dtype, scale):
    draw = lambda key: _SAMPLES[kind](key, shape, dtype) * np.asarray(scale, dtype)
    for _ in keys.shape:
        draw = jax.vmap(draw)
    return draw(keys)


def _draw_now(keys, *, kind, shape, dtype, scale):
    size = math.prod(shape)
    length = next((n for n in _LENGTHS if n >= size), size)
    draw = _program(kind, length, dtype)
    drawn = [np.asarray(draw(key))[:size] for key in keys.reshape(-1)]
    return np.stack(drawn).reshape((*keys.shape, *shape)) * np.asarray(scale, dtype)


@cache
def _program(kind, length, dtype):
    return jax.jit(lambda key: _SAMPLES[kind](key, (length,), dtype))


def _draw_batched(arguments, axes, **which):
    (keys,), (axis,) = arguments, axes
    return _draw_p.bind(jnp.moveaxis(keys, axis, 0), **which), 0


# A primitive, so that the parameters of a traced model can be drawn without compiling it.
_draw_p = Primitive("draw")
_draw_p.def_impl(_draw_now)
_draw_p.def_abstract_eval(
    lambda keys, *, shape, dtype, **_: jax.core.ShapedArray((*keys.shape, *shape), dtype)
)
batching.primitive_batchers[_draw_p] = _draw_batched
mlir.register_lowering(_draw_p, mlir.lower_fun(_draw_traced, multiple_results=False))
