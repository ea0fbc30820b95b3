"""Dynamic fusion: a gate weights cheap and expensive experts per sample."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.building_blocks import (
    JointDense,
    branch_logits,
    gate_scores,
    promise_weights,
    read_out,
)
from mmjax.layers import is_present, masked_mean, masked_softmax, show_weights
from mmjax.types import Outputs, Removable, Tokens


class DynamicFusion(nn.Module):
    r"""Weights one expert per modality and a joint one by a gate on all modalities.

    :math:`\sum_k g_k l_k` with :math:`g = \text{softmax}(G([x_1; \ldots; x_M]))` over the experts,
    each an MLP: one on every :math:`x_m`, the mean over valid tokens, and one on all of them.
    ``aux`` has the resource-aware loss :math:`\lambda \sum_k g_k C_k`, with :math:`\lambda` the
    ``resource_weight``, averaged over the samples with at least one modality. The cost :math:`C_k`
    is the fraction of modalities that an expert needs; it stands in for the cost of their encoders,
    which a fusion cannot measure. The gate is soft in evaluation too: a batch runs every expert
    anyway, so a hard choice would save nothing here. Everything is trained jointly, whereas the
    paper trains the experts first.

    One modality: two MLPs on it. Two or many: one expert each, and one for all. An expert that
    needs an absent modality has zero weight, which leaves the unimodal experts of those present;
    with none present the logits are zero.

    Reference: Xue and Marculescu, Dynamic Multimodal Fusion (arXiv:2204.00102).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layer of each expert, and of the gate.
        resource_weight: weight of the resource-aware loss.
        dropout: probability of zeroing a hidden unit of an expert in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import DynamicFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = DynamicFusion(out_dim=3, resource_weight=0.01)
        >>> outputs, _ = fusion.init_with_output(key, tokens, train=False)
        >>> 0 < outputs.aux["resources"].item() <= 0.01
        True
    """

    level: ClassVar[str] = "decision"
    removable: ClassVar[Removable] = {"resources": {"resource_weight": 0.0}}
    out_dim: int
    width: int = 64
    resource_weight: float = 0.01
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]`` and branches."""
        branches = branch_logits(self, tokens, train=train)
        pooled = {n: masked_mean(t) for n, t in tokens.items()}
        joint = read_out(self, nn.relu(JointDense(self.width, name="joint")(pooled)), train=train)
        logits = jnp.stack([*branches.values(), joint.prediction], axis=1)

        present = is_present(tokens)
        can = jnp.concatenate([present, present.all(axis=1, keepdims=True)], axis=1)
        scores = gate_scores(pooled, self.width, "joint_gate")
        weights = masked_softmax(scores, can, axis=1)  # [batch, expert]
        promise_weights(self, weights, can)
        # The joint expert counts for all of them.
        show_weights(self, weights[:, :-1] + weights[:, -1:] / len(tokens))

        costs = jnp.array([1 / len(tokens)] * len(tokens) + [1.0])
        mean_cost = (weights @ costs).sum() / jnp.maximum(present.any(axis=1).sum(), 1)
        return joint._replace(
            prediction=(weights[..., None] * logits).sum(axis=1),
            branches=branches,
            aux={"resources": self.resource_weight * mean_cost},
        )
