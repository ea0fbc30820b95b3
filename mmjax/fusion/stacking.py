"""Stacking: a meta-classifier on the logits of a classifier per modality."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn

from mmjax.fusion.building_blocks import JointDense, branch_logits
from mmjax.types import Outputs, Tokens


class StackingFusion(nn.Module):
    r"""A linear classifier on the logits of all modalities.

    :math:`V [l_1; \ldots; l_M] + c`, where each :math:`l_m` is centred, which leaves its
    probabilities unchanged: readouts trained on different rows agree in nothing else. The method
    ``stacking`` trains the readouts first, and then this meta-classifier on out-of-fold logits,
    which is the point of the paper; any other method trains both together. One modality: a
    correction of its logits. Two or many: all their logits in one linear layer. An absent modality
    adds nothing; with none present only the bias of the meta-classifier remains.

    Reference: Wolpert, Stacked Generalization (Neural Networks 1992).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layer of each readout.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import StackingFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = StackingFusion(out_dim=3)
        >>> outputs, _ = fusion.init_with_output(key, tokens, train=False)
        >>> abs(outputs.branches["audio"].sum(axis=1)).max().round(3).item()  # centred
        0.0
    """

    level: ClassVar[str] = "decision"
    targets: ClassVar[tuple[str, ...]] = ("classes",)
    method: ClassVar[str] = "stacking"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]`` and branches."""
        branches = {
            n: logits - logits.mean(axis=1, keepdims=True)
            for n, logits in branch_logits(self, tokens, train=train).items()
        }
        return Outputs(JointDense(self.out_dim, name="meta")(branches), branches=branches)
