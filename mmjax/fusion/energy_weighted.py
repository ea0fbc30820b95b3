"""Energy-weighted fusion: a modality counts by how much its logits say that they know the input."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn

from mmjax.fusion.building_blocks import branch_logits
from mmjax.types import Outputs, Tokens


class EnergyWeightedFusion(nn.Module):
    """Weighs the logits of each modality by their own negative energy: ``sum_m w_m l_m``.

    ``w_m = scale logsumexp(l_m)``, per sample. The weights are not normalised, as in the paper:
    two modalities that are sure make a prediction that is surer. The paper trains with a loss that
    makes the weights rank samples by how well a modality does on them: the objective
    ``confidence_ranking``. One modality: its weighted logits. Two or many: the sum over those
    present. With none the logits are zero.

    Reference: Zhang et al., Provable Dynamic Fusion for Low-Quality Multimodal Data
    (arXiv:2306.02050).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layer of each readout.
        scale: weight per unit of negative energy.
        dropout: probability of zeroing a hidden unit in training.
    """

    level: ClassVar[str] = "decision"
    targets: ClassVar[tuple[str, ...]] = ("classes",)
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
