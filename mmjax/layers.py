"""What two or more encoders, fusions or methods share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.random import threefry_2x32

from mmjax import kernels
from mmjax.attention import attend, attention_weights
from mmjax.convolution import conv
from mmjax.errors import UsageError
from mmjax.initializers import lecun_normal, normal, zeros
from mmjax.normalisation import LayerNorm
from mmjax.types import Tokens


def _dot_general(x, kernel, dimension_numbers, precision=None):
    """``lax.dot_general``; for tokens with kernels, a convolution that sees one of them at a time.

    Sums over the last dimensions of x, [batch, length, ...], and the first of the layer's kernel.
    """
    summed = len(dimension_numbers[0][0])
    by_token = x.reshape(*x.shape[:-summed], -1)
    matrix = kernel.reshape(1, by_token.shape[-1], -1)
    if by_token.ndim == 3 and kernels.usable(by_token, matrix):
        y = conv(by_token, matrix, padding="VALID")
        return y.reshape(*y.shape[:-1], *kernel.shape[summed:])
    return lax.dot_general(x, kernel, dimension_numbers, precision=precision)


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
_FLOW = "flow"  # what a block shows: how much of each token that it reads is in each that it makes


def show_weights(module: nn.Module, weights: jax.Array) -> None:
    """Shows how much each modality counts, [batch, modality], names sorted, to whoever asks."""
    module.sow("intermediates", MODALITY_WEIGHTS, weights)


def show_rollout(module: nn.Module, blocks: Sequence[str], sources: np.ndarray) -> None:
    """Shows as the weights of modalities what the first output of a chain of blocks has read.

    Attention, averaged over heads, is multiplied through the blocks. A block of self-attention
    counts half as what it reads and half as what its tokens were before.
    Reference: Abnar and Zuidema, Quantifying Attention Flow in Transformers (arXiv:2005.00928).

    Args:
        module: the module whose compact method calls it.
        blocks: names of each ``TransformerBlock`` in it; each reads the output of the one before,
            and those with queries of their own have learned ones.
        sources: [tokens that the first block reads, modality] 1 where a token is of a modality,
            names sorted; learned tokens are of none.
    """
    if not module.is_mutable_collection("intermediates"):
        return
    shares = jnp.asarray(sources, jnp.float32)[None]
    for name in blocks:
        (flow,) = module.variables["intermediates"][name][_FLOW]
        shares = flow @ shares
    read = shares[:, 0]
    total = read.sum(axis=1, keepdims=True)
    show_weights(module, read / jnp.where(total > 0, total, 1))


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


def over_tokens(layer: Callable[[jax.Array], jax.Array], x: jax.Array, dims: int = 1) -> jax.Array:
    """Applies a layer to each vector of [batch, length, features], or to more dimensions of each.

    Without kernels the layer sees a matrix: on CPU the gradient of a product with more dimensions
    copies both of its operands.
    """
    if kernels.usable(x):
        return layer(x)
    y = layer(x.reshape(-1, *x.shape[-dims:]))
    return y.reshape(*x.shape[:-dims], *y.shape[1:])


class Attention(nn.Module):
    """Multi-head scaled dot-product attention from queries to valid context tokens.

    A row whose context has no valid token gets zeros. Keys and queries have no bias: softmax
    ignores a key's bias, which would be a parameter without a gradient.
    Reference: Vaswani et al., Attention Is All You Need (arXiv:1706.03762).

    Attributes:
        num_heads: number of heads; must divide the width of the queries.
    """

    num_heads: int = 4

    @nn.compact
    def __call__(
        self, queries: jax.Array, context: jax.Array, mask: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Attends from [batch, queries, width] to [batch, length, width].

        The mask says which keys may be read: [batch, length], or [batch, queries, length].

        Returns:
            what is read, [batch, queries, width]; the weights, [batch, heads, queries, length].
        """
        width = queries.shape[-1]
        if width % self.num_heads:
            raise UsageError(
                "num_heads", expected=f"a divisor of the width {width}", got=str(self.num_heads)
            )
        heads = (self.num_heads, width // self.num_heads)
        split = lambda n, x: over_tokens(DenseGeneral(heads, use_bias=False, name=n), x)
        q, k, v = split("query", queries), split("key", context), split("value", context)
        mask = mask[:, None] if mask.ndim == 2 else mask
        out = DenseGeneral(width, axis=(-2, -1), use_bias=False, name="out")
        read = over_tokens(out, attend(q, k, v, mask), dims=2)
        return read, attention_weights(q, k, mask)


class Dropout(nn.Dropout):
    """Dropout with two draws from each random number of 32 bits, which are what it costs on CPU.

    The rate, below one, is rounded to a multiple of 2 ** -16. Both words of a hash are used, where
    ``jax.random.bits`` makes one of them.
    Reference: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011), Threefry.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Zeroes entries of [..., features] in training."""
        return self.drop(x, self.rate) if self.rate and not self.deterministic else x

    def drop(self, x: jax.Array, rate: float | jax.Array) -> jax.Array:
        """Zeroes entries at a rate and scales the others up."""
        key = jax.random.key_data(self.make_rng(self.rng_collection))[:2]
        words = threefry_2x32(key, lax.iota(jnp.uint32, (x.size + 1) // 2))
        halves = lax.bitcast_convert_type(words, jnp.uint16).reshape(-1)[: x.size]
        dropped = jnp.minimum(jnp.round(jnp.float32(rate) * 2**16), 2**16 - 1)
        keep = halves.reshape(x.shape) >= dropped.astype(jnp.uint16)
        return jnp.where(keep, x / (1 - dropped / 2**16).astype(x.dtype), 0)


def dropout_at(rate: jax.Array) -> AbstractContextManager:
    """Inside it, every Dropout in training has this rate, unless its own is zero.

    The rate may be an array: then it can differ between the lanes of one program.
    """

    def intercept(call, args, kwargs, context):
        module = context.module
        drops = isinstance(module, nn.Dropout) and context.method_name == "__call__"
        if not drops or not module.rate or module.deterministic:
            return call(*args, **kwargs)
        if isinstance(module, Dropout):
            return module.drop(*args, rate)
        keep = jax.random.bernoulli(module.make_rng(module.rng_collection), 1 - rate, args[0].shape)
        return jnp.where(keep, args[0] / (1 - rate).astype(args[0].dtype), 0)

    return nn.intercept_methods(intercept)


_COMPUTED_AGAIN = ContextVar("computed_again", default=False)


@contextmanager
def blocks_computed_again() -> Iterator[None]:
    """Inside it, a TransformerBlock keeps nothing for its gradient but what it is given.

    Reference: Chen et al., Training Deep Nets with Sublinear Memory Cost (arXiv:1604.06174).
    """
    before = _COMPUTED_AGAIN.set(True)
    try:
        yield
    finally:
        _COMPUTED_AGAIN.reset(before)


class TransformerBlock(nn.Module):
    """Pre-norm attention and feed-forward, each with a residual.

    With a ``context`` it is cross-attention from ``x`` to the context, else self-attention.
    Reference: Xiong et al., On Layer Normalization in the Transformer (arXiv:2002.04745).

    Attributes:
        num_heads: heads of the attention.
        expansion: hidden width of the feed-forward layer, in widths of ``x``.
        dropout: probability of zeroing a unit of either residual in training.
    """

    num_heads: int = 4
    expansion: int = 2
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self,
        x: Tokens,
        context: Tokens | None = None,
        *,
        reads: jax.Array | None = None,
        train: bool,
    ) -> Tokens:
        """Maps tokens of some width to tokens of that width; the mask of ``x`` stays.

        ``reads`` [queries, keys] bool says which valid tokens each token may attend to, else all.
        """

        def block(self, x, context, reads):
            return self._apply(x, context, reads, train)

        return (nn.remat(block) if _COMPUTED_AGAIN.get() else block)(self, x, context, reads)

    def _apply(self, x, context, reads, train):
        width = x.values.shape[-1]
        drop = Dropout(self.dropout, deterministic=not train)
        queries = LayerNorm()(x.values)
        if context is None:
            keys, mask = queries, x.mask
        else:
            keys, mask = LayerNorm(name="norm_context")(context.values), context.mask
        if reads is not None:
            mask = mask[:, None] & reads[None]
        read, weights = Attention(self.num_heads)(queries, keys, mask)
        flow = weights.mean(axis=1)  # over heads
        if context is None:
            flow = (flow + jnp.eye(flow.shape[1])[None]) / 2  # the residual keeps each token's own
        self.sow("intermediates", _FLOW, flow)
        values = x.values + drop(read)
        down, up = Dense(width), Dense(width * self.expansion)
        hidden = over_tokens(lambda y: down(nn.gelu(up(y))), LayerNorm()(values))
        return Tokens(values + drop(hidden), x.mask)
