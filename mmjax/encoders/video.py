"""An encoder of videos: one of images for every frame, and one of sequences over the frames."""

from dataclasses import field

import flax.linen as nn
import jax

from mmjax.layers import as_tokens
from mmjax.registry import ENCODERS
from mmjax.types import Tokens


class Video(nn.Module):
    """Encodes each frame of a video as an image, and the frames as a sequence.

    The tokens of a frame, joined to one vector, are a step of the sequence.

    Reference: Donahue et al., Long-term Recurrent Convolutional Networks for Visual Recognition and
    Description (arXiv:1411.4389).

    Attributes:
        frames: encoder of a single frame, shared by all of them.
        steps: encoder of the sequence of frames, such as ``Transformer`` or ``GRU``, whose call
            takes ``mask``.

    Example:
        >>> import jax
        >>> from mmjax.encoders import GRU, Video
        >>> key, videos = jax.random.key(0), jax.numpy.ones((2, 5, 8, 8, 3))
        >>> encoder = Video(steps=GRU(width=16))
        >>> tokens, _ = jax.eval_shape(lambda: encoder.init_with_output(key, videos, train=False))
        >>> tokens.values.shape  # a token per frame
        (2, 5, 32)
    """

    frames: nn.Module = field(default_factory=lambda: ENCODERS["cnn"]())
    steps: nn.Module = field(default_factory=lambda: ENCODERS["transformer"]())

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None, *, train: bool) -> Tokens:
        """Maps [batch, time, height, width, channels] to tokens [batch, time, features].

        A mask [batch, time] says which frames are valid.
        """
        batch, time = x.shape[:2]
        seen = as_tokens(self.frames(x.reshape(batch * time, *x.shape[2:]), train=train))
        return as_tokens(self.steps(seen.values.reshape(batch, time, -1), mask, train=train))
