"""Encoders of token ids."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.encoders.coded import read_ids
from mmjax.layers import Dense, masked_mean, sinusoidal_positions
from mmjax.layers.blocks import attend_within
from mmjax.layers.initializers import normal
from mmjax.types import Removable, Tokens


def _embed(encoder: nn.Module, x: jax.Array, vocabulary: int | None, width: int) -> Tokens:
    """A vector for each id, as a submodule of the calling encoder; padding is masked."""
    ids, size = read_ids(encoder, x, vocabulary)
    embed = nn.Embed(size, width, embedding_init=normal(1.0))
    return Tokens(embed(jnp.maximum(ids, 0)), ids >= 0)


class TextEncoder(nn.Module):
    """Embeds token ids, adds their positions, and applies self-attention.

    Padding is masked. Reference: Vaswani et al., Attention Is All You Need (arXiv:1706.03762).

    Attributes:
        width: width of the tokens.
        num_layers: number of transformer blocks.
        dropout: probability of zeroing a unit of a residual in training.
        vocabulary: number of ids; ``make_model`` sets that of the task.
        positions: whether tokens carry their positions.

    Example:
        >>> import jax
        >>> from mmjax.encoders import TextEncoder
        >>> key, ids = jax.random.key(0), jax.numpy.array([[3, 1, 2], [4, -1, -1]])
        >>> encoder = TextEncoder(width=16, num_layers=1, vocabulary=5)
        >>> tokens, _ = encoder.init_with_output(key, ids, train=False)
        >>> tokens.values.shape, tokens.mask.sum(axis=1).tolist()  # the second row is padded
        ((2, 3, 16), [3, 1])
    """

    removable: ClassVar[Removable] = {"positions": {"positions": False}}
    width: int = 64
    num_layers: int = 2
    dropout: float = 0.1
    vocabulary: int | None = None
    positions: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Tokens:
        """Maps ids [batch, length] to tokens [batch, length, width]."""
        tokens = _embed(self, x, self.vocabulary, self.width)
        if self.positions:
            positions = sinusoidal_positions(*tokens.values.shape[1:]).astype(tokens.values.dtype)
            tokens = tokens._replace(values=tokens.values + positions[None])
        return attend_within(tokens, self.num_layers, self.dropout, train=train)


class Bag(nn.Module):
    """Averages the embeddings of token ids, and maps the mean to a single token.

    The order of the ids has no influence. The token of an empty row is masked.

    Reference: Joulin et al., Bag of Tricks for Efficient Text Classification (arXiv:1607.01759).

    Attributes:
        width: width of the embeddings and of the token.
        vocabulary: number of ids; ``make_model`` sets that of the task.

    Example:
        >>> import jax
        >>> from mmjax.encoders import Bag
        >>> key, ids = jax.random.key(0), jax.numpy.array([[3, 1, 2], [-1, -1, -1]])
        >>> tokens, _ = Bag(width=16, vocabulary=5).init_with_output(key, ids, train=False)
        >>> tokens.values.shape, tokens.mask.tolist()  # the second row is empty
        ((2, 1, 16), [[True], [False]])
    """

    width: int = 64
    vocabulary: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Tokens:
        """Maps ids [batch, length] to tokens [batch, 1, width]."""
        tokens = _embed(self, x, self.vocabulary, self.width)
        hidden = nn.relu(Dense(self.width)(masked_mean(tokens)))
        return Tokens(hidden[:, None], tokens.mask.any(axis=1, keepdims=True))
