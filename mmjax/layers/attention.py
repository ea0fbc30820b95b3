"""Scaled dot-product attention, formulated to suit the backend.

On CPU, XLA spends most of its time on the weights, [batch, heads, queries, keys], which are much
larger than everything else: passes over them are kept to a minimum, and every product has the
layout that is fastest there. C++ kernels, where there are any, keep the weights of one
head in cache.
"""

import math

import jax
import jax.numpy as jnp

from mmjax.layers import kernels


def attention_weights(queries: jax.Array, keys: jax.Array, mask: jax.Array) -> jax.Array:
    """Softmax of the scaled dot products over the unmasked keys: [batch, heads, queries, keys].

    Zeros where the mask is false, hence everywhere for a query that may attend to nothing.

    Args:
        queries: [batch, queries, heads, width].
        keys: [batch, keys, heads, width].
        mask: [batch, queries or 1, keys] bool.
    """
    scores = jnp.einsum("bqhd,bkhd->bhqk", queries * _scale(queries), keys)
    scores = jnp.where(mask[:, None], scores, -jnp.inf)
    highest = scores.max(axis=-1, keepdims=True)
    weights = jnp.exp(scores - jnp.where(highest > -jnp.inf, highest, 0))
    return weights / jnp.maximum(weights.sum(axis=-1, keepdims=True), jnp.finfo(scores.dtype).tiny)


@jax.custom_vjp
def attend(queries: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array) -> jax.Array:
    """The values averaged under each query's attention weights: [batch, queries, heads, width].

    Args:
        queries: [batch, queries, heads, width].
        keys: [batch, keys, heads, width].
        values: [batch, keys, heads, width].
        mask: [batch, queries or 1, keys] bool, true where a query may attend; the output of a query
            that may attend to nothing is zeros.
    """
    return _forward(queries, keys, values, mask)[0]


def _scale(queries):
    return 1 / math.sqrt(queries.shape[-1])


def _forward(queries, keys, values, mask):
    if kernels.usable(queries, keys, values):
        read, shared = kernels.attend(queries, keys, values, mask)
    else:
        shared = attention_weights(queries, keys, mask)
        read = jnp.einsum("bhqk,bkhd->bhqd", shared, values).swapaxes(1, 2)
    return read, (queries, keys, values, mask, read, shared)


def _backward(saved, cotangent):
    queries, keys, values, mask, read, weights = saved
    if kernels.usable(queries, keys, values):
        return *kernels.attend_gradient(queries, keys, values, mask, read, weights, cotangent), None
    d_weights = jnp.einsum("bqhd,bkhd->bhqk", cotangent, values)
    # The mean of d_weights under the weights, computed from much smaller arrays.
    mean = (cotangent * read).sum(axis=-1).swapaxes(1, 2)[..., None]
    d_scores = weights * (d_weights - mean)
    scale = _scale(queries)
    # Products with the keys as last axis are faster than those with the width of a head.
    d_queries = jnp.einsum("bhqk,bkhd->bhqd", d_scores, keys * scale).swapaxes(1, 2)
    d_keys = jnp.einsum("bhqk,bqhd->bhdk", d_scores, queries * scale)
    d_values = jnp.einsum("bhqk,bqhd->bhdk", weights, cotangent)
    return d_queries, jnp.moveaxis(d_keys, -1, 1), jnp.moveaxis(d_values, -1, 1), None


attend.defvjp(_forward, _backward)
