"""Concatenation: one hidden layer over a vector from each modality."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn

from mmjax.fusion.building_blocks import JointDense, read_out
from mmjax.layers import masked_mean
from mmjax.types import Outputs, Tokens


class ConcatFusion(nn.Module):
    r"""Averages each modality over its valid tokens, concatenates, and applies an MLP.

    One modality: an MLP with one hidden layer. Two or many: the same on :math:`[x_1; \ldots; x_M]`,
    with the first layer written as one kernel per modality. An absent modality adds nothing to that
    layer.

    Reference: Ngiam et al., Multimodal Deep Learning (ICML 2011).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layer.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import ConcatFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = ConcatFusion(out_dim=3, width=16)
        >>> outputs, _ = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> outputs.prediction.shape, outputs.fused.shape
        ((4, 3), (4, 16))
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        pooled = {n: masked_mean(t) for n, t in tokens.items()}
        hidden = nn.relu(JointDense(self.width, name="joint")(pooled))
        return read_out(self, hidden, train=train)
