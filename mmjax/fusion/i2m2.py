"""Inter- and intra-modality modelling: a joint model alongside a unimodal one per modality."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn

from mmjax.fusion.building_blocks import JointDense, branch_logits, read_out
from mmjax.layers import masked_mean
from mmjax.types import Outputs, Tokens


class I2M2Fusion(nn.Module):
    r"""Adds the logits of every modality and of an MLP on all of them.

    :math:`l_1 + \cdots + l_M + l_J` is the product of experts :math:`p(y \mid x_1) \cdots p(y \mid
    x_M) p(y \mid x_1, \ldots, x_M)`, up to normalisation. :math:`l_m` is an MLP on the mean of the
    valid tokens of one modality, :math:`l_J` one on the concatenated means. One modality: two MLPs
    on it. Two or many: one MLP each and the joint one. An absent modality has no logits and adds
    nothing to the joint MLP; with none present only the biases of that MLP remain.

    Reference: Madaan et al., Jointly Modeling Inter- & Intra-Modality Dependencies for Multi-modal
    Learning (arXiv:2405.17613).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layer of each MLP.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import I2M2Fusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = I2M2Fusion(out_dim=3)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> sorted(variables["params"])
        ['joint', 'readout', 'readout_audio', 'readout_image']
    """

    level: ClassVar[str] = "decision"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]`` and branches."""
        branches = branch_logits(self, tokens, train=train)
        pooled = {n: masked_mean(t) for n, t in tokens.items()}
        joint = read_out(self, nn.relu(JointDense(self.width, name="joint")(pooled)), train=train)
        prediction = joint.prediction + sum(branches.values())
        return joint._replace(prediction=prediction, branches=branches)
