"""Random crops: what is seen shifts a little."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from mmjax.augmentations.rows import IMAGES, SEQUENCES, check_number, row_wise


@dataclass(frozen=True)
class Crop:
    """Pads each image with zeros on all sides, and cuts a window of its size at a random place.

    A sequence is padded and cut along its length only. Every window is equally likely.

    Reference: He et al., Deep Residual Learning for Image Recognition (arXiv:1512.03385), section
    4.2, with the same padding.

    Attributes:
        padding: pixels or steps on each side.

    Example:
        >>> import jax
        >>> from mmjax.augmentations import Crop
        >>> steps = jax.numpy.arange(1.0, 6)[None, :, None]  # one sequence of five steps
        >>> Crop(padding=2)(jax.random.key(5), steps)[0, :, 0].tolist()
        [2.0, 3.0, 4.0, 5.0, 0.0]
    """

    padding: int = 4

    def __post_init__(self) -> None:
        check_number("padding", self.padding)

    @row_wise(SEQUENCES, IMAGES)
    def __call__(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """Shifts each row of [batch, length, features] or [batch, height, width, channels]."""
        moved = x.ndim - 1  # all axes but that of the features or channels
        sides = [(self.padding, self.padding)] * moved + [(0, 0)]
        start = jax.random.randint(key, (moved,), 0, 2 * self.padding + 1)
        return lax.dynamic_slice(jnp.pad(x, sides), [*start, 0], x.shape)
