"""Feature dropout: some features of each row are hidden."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from mmjax.augmentations.rows import SEQUENCES, VECTORS, check_number, row_wise


@dataclass(frozen=True)
class FeatureDropout:
    """Sets each feature of a row to zero with a probability; in a sequence, at all steps alike.

    Zero is the mean of standardised features. Unlike dropout, it does not scale up the others.

    Reference: Vincent et al., Extracting and Composing Robust Features with Denoising Autoencoders
    (ICML 2008), masking noise.

    Attributes:
        rate: probability of hiding a feature.

    Example:
        >>> import jax
        >>> from mmjax.augmentations import FeatureDropout
        >>> x = jax.numpy.ones((1000, 8))
        >>> round(FeatureDropout(rate=0.25)(jax.random.key(0), x).mean().item(), 2)
        0.75
    """

    rate: float = 0.1

    def __post_init__(self) -> None:
        check_number("rate", self.rate, 1)

    @row_wise(VECTORS, SEQUENCES)
    def __call__(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """Hides features of [batch, ..., features]."""
        keep = jax.random.bernoulli(key, 1 - self.rate, x.shape[-1:])
        return jnp.where(keep.reshape(*[1] * (x.ndim - 1), -1), x, 0)
