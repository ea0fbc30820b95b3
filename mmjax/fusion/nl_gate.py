"""Non-local gate: tokens attend to the tokens of the other modalities."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn

from mmjax.fusion.building_blocks import JointDense, embed, read_out
from mmjax.layers import masked_mean
from mmjax.layers.blocks import Attention
from mmjax.types import Outputs, Tokens


class NLGateFusion(nn.Module):
    r"""Adds to each token a similarity-weighted mixture of the tokens of the other modalities.

    :math:`z_i = t_i + \sum_j O_{ij} \text{softmax}(Q_{ij} t_i (K_{ij} t_j)^T / \sqrt{h}) V_{ij}
    t_j` over :math:`j \ne i`: a non-local block between modalities. The means of :math:`z_i` over
    valid tokens are concatenated and passed through an MLP. (The paper keeps all positions, which
    padding would displace; it does not scale the softmax, and initialises :math:`O` at zero, where
    nothing before it learns.) One modality: its own tokens and the MLP. Two: both directions. Many:
    every ordered pair. An absent modality contributes nothing to the others, and its own tokens do
    not reach the MLP. With none present the MLP is applied to zeros.

    The gate needs several tokens: over a single one the softmax is constant, so queries and keys do
    not learn.

    Reference: Wang et al., Non-local Neural Networks (arXiv:1711.07971).

    Attributes:
        out_dim: size of the output.
        width: size of a token, and of the hidden layer.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import NLGateFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = NLGateFusion(out_dim=3)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> [n for n in sorted(variables["params"]) if "from" in n]  # every ordered pair
        ['audio_from_image', 'image_from_audio']
    """

    level: ClassVar[str] = "token"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        embedded = embed(tokens, self.width)
        pooled = {}
        for n, own in embedded.items():
            found = sum(
                Attention(num_heads=1, name=f"{n}_from_{other}")(own.values, *context)[0]
                for other, context in embedded.items()
                if other != n
            )
            pooled[n] = masked_mean(own._replace(values=own.values + found))
        hidden = nn.relu(JointDense(self.width, name="joint")(pooled))
        return read_out(self, hidden, train=train)
