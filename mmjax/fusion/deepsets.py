"""Deep sets: embeds each modality, sums over the set, and applies a network to the sum."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.fusion.building_blocks import read_out
from mmjax.layers import MLP, Dense, masked_mean
from mmjax.types import Outputs, Tokens


class DeepSetsFusion(nn.Module):
    r"""Sums an embedding of each modality, and applies another network to the sum.

    :math:`\rho(\sum_m \phi_m(x_m))` with :math:`x_m` the mean over valid tokens and two layers in
    :math:`\rho` and in each :math:`\phi_m`. The paper shares one :math:`\phi` among all elements;
    modalities differ in width, so here each has its own. One modality: an MLP. Two or many: the sum
    is over the modalities present, in any order. With none present :math:`\rho` is applied to
    zeros.

    Reference: Zaheer et al., Deep Sets (arXiv:1703.06114).

    Attributes:
        out_dim: size of the output.
        width: size of the space in which the modalities are added, and of every hidden layer.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import DeepSetsFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = DeepSetsFusion(out_dim=3)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> sorted(variables["params"])
        ['phi_audio', 'phi_image', 'readout', 'rho']
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        pooled: jax.Array | int = 0
        for n in sorted(tokens):
            phi = MLP((self.width, self.width), self.dropout, name=f"phi_{n}")
            element = nn.relu(phi(masked_mean(tokens[n]), train=train))
            pooled += jnp.where(tokens[n].mask.any(axis=1, keepdims=True), element, 0)
        hidden = nn.relu(Dense(self.width, name="rho")(pooled))
        return read_out(self, hidden, train=train)
