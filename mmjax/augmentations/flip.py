"""Horizontal flips."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from mmjax.augmentations.rows import IMAGES, check_number, row_wise


@dataclass(frozen=True)
class Flip:
    """Mirrors each image left to right with a probability.

    It does not suit images whose meaning depends on the side, such as digits and letters.

    Reference: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks
    (NeurIPS 2012), section 4.1.

    Attributes:
        probability: of being mirrored, for each row.

    Example:
        >>> import jax
        >>> from mmjax.augmentations import Flip
        >>> image = jax.numpy.array([[[[1.0], [2.0], [3.0]]]])  # one, of one line
        >>> Flip(probability=1.0)(jax.random.key(0), image).ravel().tolist()
        [3.0, 2.0, 1.0]
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_number("probability", self.probability, 1)

    @row_wise(IMAGES)
    def __call__(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """Mirrors some rows of [batch, height, width, channels]."""
        return jnp.where(jax.random.bernoulli(key, self.probability), x[:, ::-1], x)
