"""Gaussian noise."""

from dataclasses import dataclass

import jax

from mmjax.augmentations.rows import IMAGES, SEQUENCES, VECTORS, check_number, row_wise


@dataclass(frozen=True)
class Noise:
    r"""Adds normal noise to every number.

    :math:`x + \text{scale} n` with :math:`n` standard normal.

    Reference: Bishop, Training with Noise is Equivalent to Tikhonov Regularization (Neural
    Computation 1995).

    Attributes:
        scale: standard deviation of the noise: where inputs are standardised, in standard
            deviations of each feature; for images of bytes, as a fraction of white.

    Example:
        >>> import jax
        >>> from mmjax.augmentations import Noise
        >>> x = jax.numpy.zeros((1000, 8))
        >>> round(Noise(scale=0.5)(jax.random.key(0), x).std().item(), 1)
        0.5
    """

    scale: float = 0.1

    def __post_init__(self) -> None:
        check_number("scale", self.scale)

    @row_wise(VECTORS, SEQUENCES, IMAGES)
    def __call__(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """Adds noise to [batch, ...]."""
        return x + self.scale * jax.random.normal(key, x.shape, x.dtype)
