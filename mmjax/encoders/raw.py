"""No encoder: the input itself as tokens."""

import flax.linen as nn
import jax

from mmjax.layers import as_sequence, masked_by
from mmjax.types import Tokens


class Raw(nn.Module):
    """Returns the input unchanged, as used by early fusion and by cached encodings.

    A vector becomes one token, a sequence stays as it is, an image becomes its rows.

    Reference: Baltrusaitis et al., Multimodal Machine Learning: A Survey and Taxonomy
    (arXiv:1705.09406), early fusion.

    Example:
        >>> import jax
        >>> from mmjax.encoders import Raw
        >>> key, images = jax.random.key(0), jax.numpy.ones((2, 8, 6, 3))
        >>> encoder = Raw()
        >>> tokens, _ = jax.eval_shape(lambda: encoder.init_with_output(key, images, train=False))
        >>> tokens.values.shape  # a row of 6 pixels in 3 colours is a token
        (2, 8, 18)
    """

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None, *, train: bool) -> Tokens:
        """Maps [batch, ...], with a mask [batch, length] or without, to tokens.

        There are no parameters.
        """
        return masked_by(mask, as_sequence(x))
