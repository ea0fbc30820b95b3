"""SpecAugment: stretches of time and bands of features are hidden."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from mmjax.augmentations.rows import SEQUENCES, check_number, row_wise, span


@dataclass(frozen=True)
class SpecAugment:
    """Sets random stretches of time, and random bands of features, of each sequence to zero.

    The width of a mask is uniform from zero to its largest, which is ``time`` or ``features`` of
    the length or of the number of features, rounded down; then its place is uniform. Masks may
    overlap. Zero is the mean of standardised features. The paper also warps time, and names widths
    in steps and channels: 27 of 80 channels, and in its policy LD at most 100 steps, two masks
    each.

    Reference: Park et al., SpecAugment: A Simple Data Augmentation Method for Automatic Speech
    Recognition (arXiv:1904.08779).

    Attributes:
        time: largest width of a mask of time, as a fraction of the length.
        features: largest width of a mask of features, as a fraction of their number.
        num_masks: number of masks of each kind.

    Example:
        >>> import jax
        >>> from mmjax.augmentations import SpecAugment
        >>> sound = jax.numpy.ones((1, 20, 13))
        >>> masked = SpecAugment(features=0.0, num_masks=1)(jax.random.key(4), sound)
        >>> int((masked[0, :, 0] == 0).sum())  # of at most 4 steps
        2
    """

    time: float = 0.2
    features: float = 0.3
    num_masks: int = 2

    def __post_init__(self) -> None:
        check_number("time", self.time, 1)
        check_number("features", self.features, 1)
        check_number("num_masks", self.num_masks)

    @row_wise(SEQUENCES)
    def __call__(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """Masks parts of each row of [batch, length, features]."""
        draws = jax.random.uniform(key, (2, self.num_masks, 2))  # [axis, mask, width and place]
        for axis, most in enumerate((self.time, self.features)):
            largest = int(most * x.shape[axis])
            for width, place in draws[axis]:
                masked = span(x.shape[axis], jnp.floor(width * (largest + 1)), place)
                x = jnp.where(masked[:, None] if axis == 0 else masked[None], 0, x)
        return x
