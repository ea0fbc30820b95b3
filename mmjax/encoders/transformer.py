"""Encoders that apply self-attention to the tokens of one modality."""

from typing import ClassVar

import flax.linen as nn
import jax

from mmjax.encoders.sides import check_sides
from mmjax.layers import Dense, as_sequence, masked_by, sinusoidal_positions
from mmjax.layers.blocks import attend_within
from mmjax.types import Removable, Tokens


class Transformer(nn.Module):
    """Projects each frame, adds its position, and applies self-attention over the frames.

    Reference: Vaswani et al., Attention Is All You Need (arXiv:1706.03762).

    Attributes:
        width: width of the tokens.
        num_layers: number of transformer blocks.
        dropout: probability of zeroing a unit of a residual in training.
        positions: whether tokens carry their positions.

    Example:
        >>> import jax
        >>> from mmjax.encoders import Transformer
        >>> key, frames = jax.random.key(0), jax.numpy.ones((2, 20, 13))
        >>> encoder = Transformer(width=16, num_layers=1)
        >>> tokens, _ = jax.eval_shape(lambda: encoder.init_with_output(key, frames, train=False))
        >>> tokens.values.shape
        (2, 20, 16)
    """

    removable: ClassVar[Removable] = {"positions": {"positions": False}}
    width: int = 64
    num_layers: int = 2
    dropout: float = 0.1
    positions: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None, *, train: bool) -> Tokens:
        """Maps [batch, length, features] to tokens [batch, length, width].

        With a mask [batch, length], frames attend to valid ones only.
        """
        x = Dense(self.width)(as_sequence(x))
        if self.positions:
            x += sinusoidal_positions(*x.shape[1:])[None]
        return attend_within(masked_by(mask, x), self.num_layers, self.dropout, train=train)


class Patches(nn.Module):
    """Splits an image into square patches and encodes them as a sequence.

    Reference: Dosovitskiy et al., An Image is Worth 16x16 Words (arXiv:2010.11929).

    Attributes:
        patch: side of a patch in pixels; incomplete patches at the right and bottom are dropped.
        width: width of the tokens.
        num_layers: number of transformer blocks.
        dropout: probability of zeroing a unit of a residual in training.
        positions: whether tokens carry their positions.

    Example:
        >>> import jax
        >>> from mmjax.encoders import Patches
        >>> key, images = jax.random.key(0), jax.numpy.ones((2, 8, 10, 1))
        >>> encoder = Patches(patch=4, width=16)
        >>> tokens, _ = jax.eval_shape(lambda: encoder.init_with_output(key, images, train=False))
        >>> tokens.values.shape  # 2 x 2 patches; 2 columns are left over
        (2, 4, 16)
    """

    removable: ClassVar[Removable] = {"positions": {"positions": False}}
    patch: int = 7
    width: int = 64
    num_layers: int = 2
    dropout: float = 0.1
    positions: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Tokens:
        """Maps [batch, height, width, channels] to tokens [batch, patches, self.width]."""
        check_sides(self, x.shape[1:-1], self.patch)
        batch, height, width, channels = x.shape
        down, across, side = height // self.patch, width // self.patch, self.patch
        x = x[:, : down * side, : across * side]
        x = x.reshape(batch, down, side, across, side, channels).swapaxes(2, 3)
        x = x.reshape(batch, down * across, side * side * channels)
        encode = Transformer(self.width, self.num_layers, self.dropout, self.positions)
        return encode(x, train=train)
