"""Sizes of attention, and what each formulation of it is held to."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import softmax

from mmjax.layers.attention import attend

ATTENTIONS = [
    # batch, queries, keys, heads, width, queries of the mask
    (1, 1, 1, 1, 1, 1),
    (3, 5, 7, 2, 16, 1),
    (2, 90, 89, 4, 16, 1),
    (2, 33, 17, 3, 5, 33),
    (4, 20, 50, 2, 40, 20),
    (40, 2, 3, 1, 8, 2),
]


def attention_with_gradients(batch, queries, keys, heads, width, rows, attend=attend):
    """Makes ``() -> (what is read, gradients)`` on random tokens, some of which may not be read."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(2 * rng.normal(size=shape), jnp.float32)
    q, cotangent = draw(batch, queries, heads, width), draw(batch, queries, heads, width)
    k, v = draw(batch, keys, heads, width), draw(batch, keys, heads, width)
    mask = rng.random((batch, rows, keys)) < 0.6
    mask[0, 0] = False  # nothing to read
    mask = jnp.asarray(mask)

    def compute():
        read, pull = jax.vjp(lambda q, k, v: attend(q, k, v, mask), q, k, v)
        return read, pull(cotangent)

    return compute


def plain_attention(q, k, v, mask):
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1])
    where = jnp.broadcast_to(mask[:, None], scores.shape)
    # A row of which nothing is read is read evenly first, so that its gradient is finite.
    weights = nn.softmax(jnp.where(where, scores, -1e30), axis=-1)
    return jnp.einsum("bhqk,bkhd->bqhd", jnp.where(where, weights, 0), v)


def check_attention(*sizes):
    """Values and gradients are those of a plain softmax, differentiated by JAX."""
    got = jax.jit(attention_with_gradients(*sizes))()
    want = jax.jit(attention_with_gradients(*sizes, attend=plain_attention))()
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    jax.tree.map(close, got, want)


def check_extreme_scores():
    """Scores far apart, and larger than what an exponential can hold, with and without a mask."""
    scores = np.array([0.0, -30.0, -80.0, -200.0, 300.0])
    for valid in (4, 5):
        keys = jnp.zeros((1, 5, 1, 5)).at[0, :, 0, 0].set(scores * np.sqrt(5))
        mask = jnp.asarray(np.arange(5) < valid)[None, None]
        got = attend(jnp.ones((1, 1, 1, 5)), keys, jnp.eye(5).reshape(1, 5, 1, 5), mask)
        want = np.append(softmax(scores[:valid]), np.zeros(5 - valid))
        np.testing.assert_allclose(got.ravel(), want, rtol=1e-5, atol=1e-37)
