"""Attention, the transformer block, and attention rollout through a chain of blocks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import UsageError
from mmjax.layers.attention import attend, attention_weights
from mmjax.layers.dense import Dense, DenseGeneral
from mmjax.layers.dropout import Dropout
from mmjax.layers.initializers import zeros
from mmjax.layers.normalisation import LayerNorm
from mmjax.layers.tokens import show_weights
from mmjax.types import Tokens

_FLOW = "flow"  # sown by each block: the share of every input token in every output token


class Attention(nn.Module):
    """Multi-head scaled dot-product attention from queries to valid context tokens.

    A row whose context has no valid token gets zeros. Keys and queries have no bias: the softmax is
    invariant to a bias of the keys, which would be a parameter without a gradient.

    Reference: Vaswani et al., Attention Is All You Need (arXiv:1706.03762).

    Attributes:
        num_heads: number of heads; must divide the width of the queries.
    """

    num_heads: int = 4

    @nn.compact
    def __call__(
        self, queries: jax.Array, context: jax.Array, mask: jax.Array
    ) -> tuple[jax.Array, jax.Array | None]:
        """Attends from [batch, queries, width] to [batch, length, width].

        The mask says which keys may be attended to: [batch, length], or [batch, queries, length].

        Returns:
            The output, [batch, queries, width], and the weights, [batch, heads, queries, length],
            if intermediates are collected.
        """
        width = queries.shape[-1]
        if width % self.num_heads:
            raise UsageError(
                "num_heads", expected=f"a divisor of the width {width}", got=str(self.num_heads)
            )
        heads = (self.num_heads, width // self.num_heads)
        split = lambda n, x: DenseGeneral(heads, use_bias=False, name=n)(x)
        q, k, v = split("query", queries), split("key", context), split("value", context)
        mask = mask[:, None] if mask.ndim == 2 else mask
        out = DenseGeneral(width, axis=(-2, -1), use_bias=False, name="out")
        # XLA would drop weights that nobody reads, but tracing them takes a while.
        seen = self.is_mutable_collection("intermediates")
        return out(attend(q, k, v, mask)), attention_weights(q, k, mask) if seen else None


_COMPUTED_AGAIN = ContextVar("computed_again", default=False)


@contextmanager
def blocks_computed_again() -> Iterator[None]:
    """Within this context, a TransformerBlock stores only its inputs for the backward pass.

    Reference: Chen et al., Training Deep Nets with Sublinear Memory Cost (arXiv:1604.06174).
    """
    before = _COMPUTED_AGAIN.set(True)
    try:
        yield
    finally:
        _COMPUTED_AGAIN.reset(before)


class TransformerBlock(nn.Module):
    """Pre-norm attention and feed-forward layers, each with a residual connection.

    With a ``context`` it is cross-attention from :math:`x` to the context, otherwise
    self-attention.

    Reference: Xiong et al., On Layer Normalization in the Transformer (arXiv:2002.04745).

    Attributes:
        num_heads: number of attention heads.
        expansion: hidden width of the feed-forward layer, as a multiple of the width of :math:`x`.
        dropout: probability of zeroing a unit of either residual in training.
        gated: whether each residual is multiplied by the tanh of a learned scalar, zero at first.
    """

    num_heads: int = 4
    expansion: int = 2
    dropout: float = 0.0
    gated: bool = False

    @nn.compact
    def __call__(
        self,
        x: Tokens,
        context: Tokens | None = None,
        *,
        reads: jax.Array | None = None,
        train: bool,
    ) -> Tokens:
        """Maps tokens to tokens of the same width, with the mask of ``x``.

        ``reads`` [queries, keys] bool restricts which valid tokens each token may attend to.
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
        if weights is not None:
            flow = weights.mean(axis=1)  # over heads
            if context is None:  # the residual keeps each token's own
                flow = (flow + jnp.eye(flow.shape[1])[None]) / 2
            self.sow("intermediates", _FLOW, flow)
        values = x.values + self._gate("gate_read", drop(read))
        down, up = Dense(width), Dense(width * self.expansion)
        hidden = down(nn.gelu(up(LayerNorm()(values))))
        return Tokens(values + self._gate("gate_hidden", drop(hidden)), x.mask)

    def _gate(self, name, residual):
        return residual * jnp.tanh(self.param(name, zeros, ())) if self.gated else residual


def attend_within(tokens: Tokens, num_layers: int, dropout: float, *, train: bool) -> Tokens:
    """Self-attention in several blocks, then a LayerNorm, as submodules of the calling module."""
    for _ in range(num_layers):
        tokens = TransformerBlock(dropout=dropout)(tokens, train=train)
    return tokens._replace(values=LayerNorm()(tokens.values))


def show_rollout(module: nn.Module, blocks: Sequence[str], sources: np.ndarray) -> None:
    """Sows attention rollout from the first output token as the modality weights.

    Attention, averaged over heads, is multiplied through the blocks. A self-attention block counts
    half as attention and half as its residual connection.

    Reference: Abnar and Zuidema, Quantifying Attention Flow in Transformers (arXiv:2005.00928).

    Args:
        module: the module whose compact method calls this.
        blocks: names of its transformer blocks, in order; each reads the output of the previous
            one, and queries that are not its input tokens are learned.
        sources: [tokens that the first block reads, modality] one-hot, modalities sorted by name;
            learned tokens belong to none.
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
