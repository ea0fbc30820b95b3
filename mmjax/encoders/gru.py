"""A recurrent encoder."""

from typing import Any

import flax.linen as nn
import jax

from mmjax.layers import as_sequence, masked_by
from mmjax.types import Tokens


class GRU(nn.Module):
    """Bidirectional recurrent encoder for sequences; an image is read row by row.

    Reference: Cho et al., Learning Phrase Representations using RNN Encoder-Decoder
    (arXiv:1406.1078).

    Attributes:
        width: size of the state in each direction.

    Example:
        >>> import jax
        >>> from mmjax.encoders import GRU
        >>> key, frames = jax.random.key(0), jax.numpy.ones((2, 20, 13))
        >>> encoder = GRU(width=16)
        >>> tokens, _ = jax.eval_shape(lambda: encoder.init_with_output(key, frames, train=False))
        >>> tokens.values.shape  # both directions
        (2, 20, 32)
    """

    width: int = 32

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None, *, train: bool) -> Tokens:
        """Maps [batch, length, features] to tokens [batch, length, 2 * width].

        With a mask [batch, length], both directions read only the valid frames, the first of a row.
        """
        forward, backward = (nn.RNN(nn.GRUCell(self.width, name=n)) for n in ("ahead", "back"))
        lengths = None if mask is None else mask.sum(axis=1)
        states: Any = nn.Bidirectional(forward, backward)(as_sequence(x), seq_lengths=lengths)
        return masked_by(mask, states)
