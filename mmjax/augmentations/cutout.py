"""Cutout: a square of each image is hidden."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from mmjax.augmentations.rows import IMAGES, check_number, row_wise, span


@dataclass(frozen=True)
class Cutout:
    """Sets a square of each image, at a random place, to zero.

    The square lies within the image; in the paper a part of it may lie outside.

    Reference: DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with
    Cutout (arXiv:1708.04552).

    Attributes:
        side: of the square, as a fraction of the shorter side of the image.

    Example:
        >>> import jax
        >>> from mmjax.augmentations import Cutout
        >>> image = jax.numpy.ones((1, 4, 6, 1))
        >>> Cutout(side=0.5)(jax.random.key(0), image).sum().item()  # 4 of 24 pixels are hidden
        20.0
    """

    side: float = 0.3

    def __post_init__(self) -> None:
        check_number("side", self.side, 1)

    @row_wise(IMAGES)
    def __call__(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """Hides a part of each row of [batch, height, width, channels]."""
        height, width, _ = x.shape
        side = jnp.float32(round(self.side * min(height, width)))
        place = jax.random.uniform(key, (2,))
        down, across = span(height, side, place[0]), span(width, side, place[1])
        return jnp.where(down[:, None, None] & across[None, :, None], 0, x)
