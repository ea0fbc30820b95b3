"""Energy-weighted fusion: each modality's logits are weighted by their own confidence."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn

from mmjax.fusion.building_blocks import branch_logits
from mmjax.types import Outputs, Tokens


class EnergyWeightedFusion(nn.Module):
    r"""Weights the logits of each modality by their own negative energy.

    :math:`\sum_m w_m l_m` with :math:`w_m = \text{scale} \text{logsumexp}(l_m)`, per sample. As in
    the paper the weights are not normalised: two confident modalities make a more confident
    prediction. As in the paper, the loss makes the weights rank samples by how well a modality does
    on them (the objective ``confidence_ranking``), unless another objective is asked for. One
    modality: its weighted logits. Two or many: the sum over those present. With none present the
    logits are zero.

    Reference: Zhang et al., Provable Dynamic Fusion for Low-Quality Multimodal Data
    (arXiv:2306.02050).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layer of each readout.
        scale: weight per unit of negative energy.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import EnergyWeightedFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = EnergyWeightedFusion(out_dim=3, scale=0.1)
        >>> outputs, _ = fusion.init_with_output(key, tokens, train=False)
        >>> weights = {n: 0.1 * jax.nn.logsumexp(x, axis=1) for n, x in outputs.branches.items()}
        >>> want = sum(weights[n][:, None] * x for n, x in outputs.branches.items())
        >>> bool(abs(outputs.prediction - want).max() < 1e-6)
        True
    """

    level: ClassVar[str] = "decision"
    targets: ClassVar[tuple[str, ...]] = ("classes",)
    objective: ClassVar[str] = "confidence_ranking"
    out_dim: int
    width: int = 64
    scale: float = 0.1
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]`` and branches."""
        branches = branch_logits(self, tokens, train=train)
        weigh = lambda logits: self.scale * nn.logsumexp(logits, axis=1, keepdims=True) * logits
        return Outputs(sum(map(weigh, branches.values())), branches=branches)
