"""Convolutional encoders: stages of convolution, pooling, bias and ReLU."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from mmjax.encoders.sides import check_sides
from mmjax.layers import Dense, all_valid, masked_by
from mmjax.layers.convolution import Conv, along_last
from mmjax.layers.initializers import zeros
from mmjax.types import Tokens


class _Stage(nn.Module):
    """Convolution, pooling that halves each spatial dimension, bias and ReLU.

    Bias and ReLU commute with pooling; applied after it they cost a quarter.
    """

    features: int
    kernel_size: Sequence[int]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        pool = (2,) * len(self.kernel_size)
        x = Conv(self.features, self.kernel_size, use_bias=False, pool=pool)(x)
        bias = self.param("bias", zeros, (self.features,))
        return nn.relu(x + along_last(bias, x))


class _Summary(nn.Module):
    """Summarises a feature map in a few tokens, each a dense layer on all of it.

    A mean over positions would lose where a feature was; with a single token attention would have
    nothing to choose from.
    """

    num_tokens: int
    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> Tokens:
        hidden = nn.relu(Dense(self.num_tokens * self.width)(x.reshape(len(x), -1)))
        return all_valid(hidden.reshape(len(x), self.num_tokens, self.width))


class CNN(nn.Module):
    """Image encoder: two stages of 3 x 3 convolutions, summarised in a few tokens.

    Reference: LeCun et al., Gradient-based learning applied to document recognition (Proc. IEEE
    1998).

    Attributes:
        features: output features of each stage, one entry per stage.
        num_tokens: number of tokens.
        width: width of the tokens.

    Example:
        >>> import jax
        >>> from mmjax.encoders import CNN
        >>> key, images = jax.random.key(0), jax.numpy.ones((2, 8, 8, 1))
        >>> encoder = CNN(num_tokens=3, width=16)
        >>> tokens, _ = jax.eval_shape(lambda: encoder.init_with_output(key, images, train=False))
        >>> tokens.values.shape
        (2, 3, 16)
    """

    features: tuple[int, ...] = (16, 32)
    num_tokens: int = 4
    width: int = 32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Tokens:
        """Maps [batch, height, width, channels] to tokens [batch, num_tokens, self.width]."""
        check_sides(self, x.shape[1:-1], 2 ** len(self.features))
        for features in self.features:
            x = _Stage(features, (3, 3))(x)
        return _Summary(self.num_tokens, self.width)(x)


class CNN1D(nn.Module):
    """Sequence encoder: convolutions over five frames at a time, summarised in a few tokens.

    Reference: Waibel et al., Phoneme recognition using time-delay neural networks (IEEE 1989).

    Attributes:
        features: output features of each stage, one entry per stage.
        num_tokens: number of tokens.
        width: width of the tokens.

    Example:
        >>> import jax
        >>> from mmjax.encoders import CNN1D
        >>> key, frames = jax.random.key(0), jax.numpy.ones((2, 20, 13))
        >>> encoder = CNN1D(features=(8, 8, 16))
        >>> tokens, _ = jax.eval_shape(lambda: encoder.init_with_output(key, frames, train=False))
        >>> tokens.values.shape
        (2, 4, 32)
    """

    features: tuple[int, ...] = (32, 64)
    num_tokens: int = 4
    width: int = 32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Tokens:
        """Maps [batch, length, features] to tokens [batch, num_tokens, width]."""
        check_sides(self, x.shape[1:-1], 2 ** len(self.features))
        for features in self.features:
            x = _Stage(features, (5,))(x)
        return _Summary(self.num_tokens, self.width)(x)


class CNN2D(nn.Module):
    """Spectrogram encoder: convolutions over time and frequency, one token per stretch of time.

    Reference: Abdel-Hamid et al., Convolutional Neural Networks for Speech Recognition (IEEE/ACM
    TASLP 2014).

    Attributes:
        features: output features of each stage, one entry per stage.

    Example:
        >>> import jax
        >>> from mmjax.encoders import CNN2D
        >>> key, frames = jax.random.key(0), jax.numpy.ones((2, 20, 12))
        >>> encoder = CNN2D(features=(16, 32))
        >>> tokens, _ = jax.eval_shape(lambda: encoder.init_with_output(key, frames, train=False))
        >>> tokens.values.shape  # 20 / 4 stretches of time, 12 / 4 bands x 32 features
        (2, 5, 96)
    """

    features: tuple[int, ...] = (16, 32)

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None, *, train: bool) -> Tokens:
        """Maps [batch, length, bands] to tokens [batch, length / 4, bands / 4 * features[-1]].

        With a mask [batch, length], tokens are valid that see a valid frame in their stretch.
        """
        check_sides(self, x.shape[1:], 2 ** len(self.features))
        x = x[..., None]
        for features in self.features:
            x = _Stage(features, (3, 3))(x)
        if mask is not None:
            stretch = 2 ** len(self.features)
            whole = mask[:, : x.shape[1] * stretch]
            mask = whole.reshape(len(x), x.shape[1], stretch).any(axis=2)
        return masked_by(mask, x.reshape(*x.shape[:2], -1))


class CNN3D(nn.Module):
    """Volume encoder: stages of 3 x 3 x 3 convolutions, summarised in a few tokens.

    Reference: Ji et al., 3D Convolutional Neural Networks for Human Action Recognition (IEEE TPAMI
    2013).

    Attributes:
        features: output features of each stage, one entry per stage.
        num_tokens: number of tokens.
        width: width of the tokens.

    Example:
        >>> import jax
        >>> from mmjax.encoders import CNN3D
        >>> key, scans = jax.random.key(0), jax.numpy.ones((2, 8, 8, 8, 1))
        >>> encoder = CNN3D(features=(4, 8))
        >>> tokens, _ = jax.eval_shape(lambda: encoder.init_with_output(key, scans, train=False))
        >>> tokens.values.shape
        (2, 4, 32)
    """

    features: tuple[int, ...] = (16, 32)
    num_tokens: int = 4
    width: int = 32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Tokens:
        """Maps [batch, depth, height, width, channels] to tokens [batch, num_tokens, width]."""
        check_sides(self, x.shape[1:-1], 2 ** len(self.features))
        for features in self.features:
            x = _Stage(features, (3, 3, 3))(x)
        return _Summary(self.num_tokens, self.width)(x)
