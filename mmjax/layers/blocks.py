"""Attention, the transformer block, and what a chain of blocks has read."""

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
from mmjax.layers.normalisation import LayerNorm
from mmjax.layers.tokens import show_weights
from mmjax.types import Tokens

_FLOW = "flow"  # what a block shows: how much of each token that it reads is in each that it makes


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
        split = lambda n, x: DenseGeneral(heads, use_bias=False, name=n)(x)
        q, k, v = split("query", queries), split("key", context), split("value", context)
        mask = mask[:, None] if mask.ndim == 2 else mask
        out = DenseGeneral(width, axis=(-2, -1), use_bias=False, name="out")
        return out(attend(q, k, v, mask)), attention_weights(q, k, mask)


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
        hidden = down(nn.gelu(up(LayerNorm()(values))))
        return Tokens(values + drop(hidden), x.mask)


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
