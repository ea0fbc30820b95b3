"""Tokens and their padding masks, as used by encoders, fusions, objectives and methods."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.layers.initializers import normal
from mmjax.types import Array, Tokens


def as_float(x: jax.Array) -> jax.Array:
    """Floats unchanged; unsigned integers scaled to [0, 1], so that data may stay uint8."""
    if jnp.issubdtype(x.dtype, jnp.unsignedinteger):
        return x.astype(jnp.float32) / jnp.iinfo(x.dtype).max
    return x


def as_sequence(x: jax.Array) -> jax.Array:
    """[batch, length, features]: a vector becomes one token, an image a sequence of its rows."""
    return x[:, None] if x.ndim == 2 else x.reshape(*x.shape[:2], -1)


def all_valid(values: jax.Array) -> Tokens:
    """Tokens without padding."""
    return Tokens(values, jnp.ones(values.shape[:2], bool))


def join(*parts: Tokens) -> Tokens:
    """Concatenates tokens along their length: [batch, total length, features]."""
    return Tokens(*(jnp.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True)))


def learned_tokens(module: nn.Module, name: str, shape: tuple[int, int], batch: int) -> Tokens:
    """Learned tokens of shape (length, width), shared by all samples: [batch, length, width].

    Creates the parameter ``name`` in the calling compact method.
    """
    values = module.param(name, normal(0.02), shape)
    return all_valid(jnp.broadcast_to(values[None], (batch, *shape)))


def sinusoidal_positions(length: int, width: int) -> jax.Array:
    """Sinusoidal position encodings with wavelengths from 2 pi to 20000 pi: [length, width].

    Reference: Vaswani et al., Attention Is All You Need (arXiv:1706.03762), section 3.5.
    """
    rate = 10_000.0 ** (-jnp.arange(0, width, 2) / width)
    angle = jnp.arange(length)[:, None] * rate[None]
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1).reshape(length, -1)[:, :width]


def zero_masked(tokens: Tokens) -> Tokens:
    """The same tokens with exact zeros wherever the mask is false, even in place of NaN."""
    return tokens._replace(values=jnp.where(tokens.mask[..., None], tokens.values, 0))


def is_present(tokens: Mapping[str, Tokens]) -> jax.Array:
    """Which modalities each sample has: [batch, modality] bool, sorted by name."""
    return jnp.stack([tokens[n].mask.any(axis=1) for n in sorted(tokens)], axis=1)


def masked_mean(tokens: Tokens) -> jax.Array:
    """Mean over the valid tokens, zeros where there are none: [batch, features]."""
    total = zero_masked(tokens).values.sum(axis=1)
    count = tokens.mask.sum(axis=1, keepdims=True)
    return total / jnp.maximum(count, 1).astype(total.dtype)


def mean_where(counts: Array, values: jax.Array, axis: int | None = None) -> jax.Array:
    """Mean of the values where ``counts``, of the same shape, is true; zero where it never is."""
    total = jnp.where(counts, values, 0).sum(axis)
    return total / jnp.maximum(counts.sum(axis), 1).astype(total.dtype)


def masked_softmax(scores: jax.Array, mask: jax.Array, axis: int) -> jax.Array:
    """Softmax over the entries where ``mask`` is true; zeros elsewhere, even if all are masked."""
    scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    return jnp.where(mask, nn.softmax(scores, axis=axis), 0)


def promise(module: nn.Module, what: str, residual: jax.Array) -> None:
    """States that ``residual`` is zero up to rounding, which ``mmjax.testing`` then checks."""
    module.sow("intermediates", f"promise: {what}", residual)


MODALITY_WEIGHTS = "modality_weights"


def show_weights(module: nn.Module, weights: jax.Array) -> None:
    """Sows the modality weights, [batch, modality] sorted by name, for reports to collect."""
    module.sow("intermediates", MODALITY_WEIGHTS, weights)
