"""What two or more encoders, fusions or methods share."""

from collections.abc import Mapping, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from mmjax import kernels
from mmjax.convolution import conv
from mmjax.initializers import lecun_normal, normal, zeros
from mmjax.types import Tokens


def _dot_general(x, kernel, dimension_numbers, precision=None):
    """Sums over the last dimensions of x, [batch, ..., features], and a kernel's first.

    As a product of matrices: on CPU the gradient of one with more dimensions copies both of its
    operands. With kernels, tokens go through a convolution that sees one of them at a time.
    """
    summed = len(dimension_numbers[0][0])
    leading, out = x.shape[:-summed], kernel.shape[summed:]
    vectors = x.reshape(*leading, -1)
    matrix = kernel.reshape(vectors.shape[-1], -1)
    if vectors.ndim == 3 and kernels.usable(vectors, matrix[None]):
        y = conv(vectors, matrix[None], padding="VALID")
    else:
        rows = vectors.reshape(-1, vectors.shape[-1])
        y = lax.dot_general(rows, matrix, (((1,), (0,)), ((), ())), precision=precision)
    return y.reshape(*leading, *out)


_AS_FLAX = {"kernel_init": lecun_normal, "bias_init": zeros, "dot_general": _dot_general}
Dense = partial(nn.Dense, **_AS_FLAX)
DenseGeneral = partial(nn.DenseGeneral, **_AS_FLAX)


def as_float(x: jax.Array) -> jax.Array:
    """Floats as they are; unsigned integers scaled to [0, 1], so that data may stay uint8."""
    if jnp.issubdtype(x.dtype, jnp.unsignedinteger):
        return x.astype(jnp.float32) / jnp.iinfo(x.dtype).max
    return x


def as_sequence(x: jax.Array) -> jax.Array:
    """[batch, length, features]: a vector has length one, an image is its rows."""
    return x[:, None] if x.ndim == 2 else x.reshape(*x.shape[:2], -1)


def all_valid(values: jax.Array) -> Tokens:
    """Tokens of which none is masked."""
    return Tokens(values, jnp.ones(values.shape[:2], bool))


def join(*parts: Tokens) -> Tokens:
    """The tokens of all parts, one part after the other: [batch, total length, features]."""
    return Tokens(*(jnp.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True)))


def learned_tokens(module: nn.Module, name: str, shape: tuple[int, int], batch: int) -> Tokens:
    """Learned tokens (length, width), the same for each sample: [batch, length, width].

    Makes the parameter ``name`` in the module whose compact method calls it.
    """
    values = module.param(name, normal(0.02), shape)
    return all_valid(jnp.broadcast_to(values[None], (batch, *shape)))


def sinusoidal_positions(length: int, width: int) -> jax.Array:
    """Sines and cosines of the position, at wavelengths from 2 pi to 20000 pi: [length, width].

    Reference: Vaswani et al., Attention Is All You Need (arXiv:1706.03762), section 3.5.
    """
    rate = 10_000.0 ** (-jnp.arange(0, width, 2) / width)
    angle = jnp.arange(length)[:, None] * rate[None]
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1).reshape(length, -1)[:, :width]


def zero_masked(tokens: Tokens) -> Tokens:
    """The same tokens with exact zeros where the mask is false, whatever stood there."""
    return tokens._replace(values=jnp.where(tokens.mask[..., None], tokens.values, 0))


def is_present(tokens: Mapping[str, Tokens]) -> jax.Array:
    """Which modalities each sample has: [batch, modality] bool, names sorted."""
    return jnp.stack([tokens[n].mask.any(axis=1) for n in sorted(tokens)], axis=1)


def masked_mean(tokens: Tokens) -> jax.Array:
    """Mean over the valid tokens, zeros where there is none: [batch, features]."""
    total = zero_masked(tokens).values.sum(axis=1)
    count = tokens.mask.sum(axis=1, keepdims=True)
    return total / jnp.maximum(count, 1).astype(total.dtype)


def mean_where(counts: jax.Array, values: jax.Array, axis: int | None = None) -> jax.Array:
    """Mean of the values where ``counts``, of the same shape, is true; zero where it never is."""
    total = jnp.where(counts, values, 0).sum(axis)
    return total / jnp.maximum(counts.sum(axis), 1).astype(total.dtype)


def masked_softmax(scores: jax.Array, mask: jax.Array, axis: int) -> jax.Array:
    """Softmax over the entries where ``mask`` is true; zeros elsewhere, and where none is true."""
    scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    return jnp.where(mask, nn.softmax(scores, axis=axis), 0)


def promise(module: nn.Module, what: str, residual: jax.Array) -> None:
    """States that ``residual`` is zero up to rounding; ``mmjax.testing`` holds the module to it."""
    module.sow("intermediates", f"promise: {what}", residual)


MODALITY_WEIGHTS = "modality_weights"


def show_weights(module: nn.Module, weights: jax.Array) -> None:
    """Shows how much each modality counts, [batch, modality], names sorted, to whoever asks."""
    module.sow("intermediates", MODALITY_WEIGHTS, weights)


class MLP(nn.Module):
    """Dense layers with ReLU, and dropout, after all but the last.

    Attributes:
        widths: output size of each layer.
        dropout: probability of zeroing a hidden unit in training.
    """

    widths: Sequence[int]
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps [..., features] to [..., widths[-1]]."""
        *hidden, last = self.widths
        for width in hidden:
            x = nn.relu(Dense(width)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return Dense(last)(x)
