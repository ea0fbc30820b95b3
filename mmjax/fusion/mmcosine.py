"""MMCosine: each modality's logits are cosines, so that none dominates by its norms."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.layers import Dense, masked_mean, promise
from mmjax.layers.initializers import lecun_normal
from mmjax.types import Outputs, Tokens


class MMCosineFusion(nn.Module):
    r"""Adds up scaled cosines between features and class weights.

    :math:`\text{scale} \sum_m \cos(h_m, w_{mk})` with :math:`h_m = \text{relu}(V_m x_m + b_m)` the
    features of modality :math:`m`, :math:`x_m` the mean of its valid tokens, and :math:`w_{mk}` its
    weights for output :math:`k`. A linear readout is :math:`\sum_m w_{mk} \cdot h_m`, to which the
    modality with the larger norms adds more; here each adds between ``-scale`` and ``scale``,
    whatever its norms. One modality: a cosine classifier. Two or many: the sum over those present.
    With none present the logits are zero. More classes need a larger scale: a single modality gives
    no class of :math:`K` more than :math:`1 / (1 + (K - 1) \exp(-2 \text{scale}))`.

    The paper applies this to the features of its encoders directly; here a hidden layer comes
    between, as in the other late fusions. The authors' code trains on cosines, but predicts with
    the plain linear readout of the same weights; here the prediction is what is trained.

    Reference: Xu et al., MMCosine: Multi-Modal Cosine Loss Towards Balanced Audio-Visual
    Fine-Grained Learning (arXiv:2303.05338).

    Attributes:
        out_dim: size of the output.
        width: number of features per modality.
        scale: factor on the cosines.
        dropout: probability of zeroing a feature in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import MMCosineFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = MMCosineFusion(out_dim=3, scale=10.0)
        >>> outputs, _ = fusion.init_with_output(key, tokens, train=False)
        >>> all(bool((abs(logits) <= 10).all()) for logits in outputs.branches.values())
        True
    """

    level: ClassVar[str] = "decision"
    out_dim: int
    width: int = 64
    scale: float = 10.0
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]`` and branches."""
        branches = {}
        for n in sorted(tokens):
            hidden = nn.relu(Dense(self.width, name=f"project_{n}")(masked_mean(tokens[n])))
            hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
            weights = self.param(f"weights_{n}", lecun_normal, (self.width, self.out_dim))
            cosines = _unit(hidden, axis=1) @ _unit(weights, axis=0)
            promise(self, f"cosines of {n} are at most one", nn.relu(jnp.abs(cosines) - 1))
            present = tokens[n].mask.any(axis=1, keepdims=True)
            branches[n] = jnp.where(present, self.scale * cosines, 0)
        return Outputs(jnp.asarray(sum(branches.values())), branches=branches)


def _unit(x: jax.Array, axis: int) -> jax.Array:
    """Scales vectors along an axis to norm one; zeros remain, and have no gradient."""
    square = jnp.square(x).sum(axis=axis, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, 1e-24))
