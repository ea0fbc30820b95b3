"""Refiner fusion: every modality must be recoverable from the fused vector."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.building_blocks import JointDense, cosine, read_out
from mmjax.fusion.latent import decoders, targets
from mmjax.layers import Dense, is_present, masked_mean, mean_where
from mmjax.types import Outputs, Removable, Tokens


class ReFNetFusion(nn.Module):
    r"""Fuses with an MLP, and reconstructs every modality from the fused vector.

    :math:`h = \text{MLP}([x_1; \ldots; x_M])` is read out, and decoded by one refiner per modality,
    with the loss :math:`\text{mean}_m (1 - \cos(D_m(h), x_m))`, with :math:`x_m` the mean over
    valid tokens, standardised over its features and without a gradient: the fused vector must
    retain all that went into it, and an encoder cannot make that easier by itself. (The public
    code, MultiBench's, decodes the raw inputs, which a fusion does not see.) The multi-similarity
    loss that the paper adds needs class labels, which a fusion does not see, and is left out. One
    modality: an MLP that must not forget its input. Two or many: one refiner each. An absent
    modality adds nothing to the fused vector, and its refiner has no loss.

    Reference: Sankaran et al., Multimodal Fusion Refiner Networks (arXiv:2104.03435).

    Attributes:
        out_dim: size of the output.
        width: size of the fused vector and of the hidden layers.
        refiner_weight: weight of the refiner loss.
        dropout: probability of zeroing a hidden unit, or of the readout input, in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import ReFNetFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = ReFNetFusion(out_dim=3, refiner_weight=0.1)
        >>> outputs, _ = fusion.init_with_output(key, tokens, train=False)
        >>> 0 < outputs.aux["refiner"].item() <= 0.1 * 2  # 1 - cos is at most 2
        True
    """

    level: ClassVar[str] = "latent"
    removable: ClassVar[Removable] = {"refiner": {"refiner_weight": 0.0}}
    out_dim: int
    width: int = 64
    refiner_weight: float = 0.1
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        pooled = {n: masked_mean(t) for n, t in tokens.items()}
        hidden = nn.relu(JointDense(self.width, name="joint")(pooled))
        hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
        fused = nn.relu(Dense(self.width, name="fuse")(hidden))
        refine, want = decoders(tokens, self.width), targets(tokens)
        cosines = [cosine(refine[n](fused, train=False), want[n]) for n in want]
        loss = mean_where(is_present(tokens), 1 - jnp.stack(cosines, axis=1))
        aux = {"refiner": self.refiner_weight * loss}
        return read_out(self, fused, train=train)._replace(aux=aux)
