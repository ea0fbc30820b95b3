"""Convolutional encoders: stages of convolution, pooling, normalisation and ReLU."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from mmjax.layers import Conv, all_valid, max_pool
from mmjax.types import Tokens


class _Stage(nn.Module):
    """Convolves and halves each spatial dimension.

    Pooling comes before the normalisation, which then costs a quarter; ReLU commutes with it.
    """

    features: int
    kernel_size: Sequence[int]
    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = Conv(self.features, self.kernel_size, use_bias=False)(x)
        x = max_pool(x, (2,) * len(self.kernel_size))
        x = nn.relu(nn.LayerNorm()(x))
        return nn.Dropout(self.dropout, deterministic=not train)(x)


class CNN(nn.Module):
    """Image encoder: a 28 x 28 image becomes 3 x 3 tokens, one per region.

    Reference: LeCun et al., Gradient-based learning applied to document recognition
    (Proc. IEEE 1998); normalised as in Ba et al., Layer Normalization (arXiv:1607.06450).

    Attributes:
        features: output features of each stage; the last is the tokens' width.
        dropout: probability of zeroing a unit after each stage in training.
    """

    features: tuple[int, ...] = (16, 32, 64)
    dropout: float = 0.1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Tokens:
        """Maps [batch, height, width, channels] to tokens [batch, regions, features[-1]]."""
        for features in self.features:
            x = _Stage(features, (3, 3), self.dropout)(x, train=train)
        return all_valid(x.reshape(len(x), -1, x.shape[-1]))


class CNN1D(nn.Module):
    """Sequence encoder: convolves over time; 39 frames become 9 tokens.

    Reference: Waibel et al., Phoneme recognition using time-delay neural networks (IEEE 1989).

    Attributes:
        features: output features of each stage; the last is the tokens' width.
        dropout: probability of zeroing a unit after each stage in training.
    """

    features: tuple[int, ...] = (64, 64)
    dropout: float = 0.1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Tokens:
        """Maps [batch, length, features] to tokens [batch, length / 4, features[-1]]."""
        for features in self.features:
            x = _Stage(features, (5,), self.dropout)(x, train=train)
        return all_valid(x)


class CNN2D(nn.Module):
    """Spectrogram encoder: convolves over time and frequency; a token is a stretch of time.

    Reference: Abdel-Hamid et al., Convolutional Neural Networks for Speech Recognition
    (IEEE/ACM TASLP 2014).

    Attributes:
        features: output features of each stage.
        dropout: probability of zeroing a unit after each stage in training.
    """

    features: tuple[int, ...] = (16, 32)
    dropout: float = 0.1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Tokens:
        """Maps [batch, length, bands] to tokens [batch, length / 4, bands / 4 * features[-1]]."""
        x = x[..., None]
        for features in self.features:
            x = _Stage(features, (3, 3), self.dropout)(x, train=train)
        return all_valid(x.reshape(*x.shape[:2], -1))
