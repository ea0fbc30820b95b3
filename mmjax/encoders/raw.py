"""No encoder: the input itself as tokens."""

import flax.linen as nn
import jax

from mmjax.layers import all_valid, as_sequence
from mmjax.types import Tokens


class Raw(nn.Module):
    """Hands the input over unchanged; what early fusion and cached encodings start from.

    A vector is one token, a sequence stays, an image becomes its rows.
    Reference: Baltrusaitis et al., Multimodal Machine Learning: A Survey and Taxonomy
    (arXiv:1705.09406), early fusion.
    """

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Tokens:
        """Maps [batch, ...] to tokens without parameters."""
        return all_valid(as_sequence(x))
