"""SimMLM: a gate on the modalities present mixes one expert per modality."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.building_blocks import branch_logits, gate_scores, promise_weights
from mmjax.layers import is_present, masked_mean, masked_softmax, show_weights
from mmjax.types import Outputs, Tokens


class SimMLMFusion(nn.Module):
    r"""Mixes the logits of one expert per modality, by a gate that sees all modalities.

    :math:`\sum_m g_m l_m` with :math:`g = \text{softmax}(G([x_1; \ldots; x_M]))` over the
    modalities present, the paper's dynamic mixture of modality experts; :math:`l_m` is an MLP on
    :math:`x_m`, the mean over valid tokens, and the gate an MLP on all of them. The paper's loss,
    by which a row must not be predicted better with fewer modalities, is the training method
    ``more_vs_fewer``, which any fusion can use; the paper also trains the experts alone before all
    of it jointly. For segmentation the authors' gate has one weight per modality and class; here it
    has one per modality, so that the mixture stays between the experts' logits in every class
    alike.

    One modality: its expert. Two or many: the mixture. An absent modality has no weight and its
    zeros do not reach the gate; with none present the logits are zero.

    Reference: Li et al., SimMLM: A Simple Framework for Multi-modal Learning with Missing Modality
    (arXiv:2507.19264).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layer of each expert, and of the gate.
        dropout: probability of zeroing a hidden unit of an expert in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import SimMLMFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = SimMLMFusion(out_dim=3)
        >>> outputs, _ = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> outputs.branches["audio"].shape  # what one expert says
        (4, 3)
    """

    level: ClassVar[str] = "decision"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]`` and branches."""
        branches = branch_logits(self, tokens, train=train)
        present = is_present(tokens)
        pooled = {n: masked_mean(t) for n, t in tokens.items()}
        weights = masked_softmax(gate_scores(pooled, self.width), present, axis=1)
        promise_weights(self, weights, present)
        show_weights(self, weights)
        logits = jnp.stack(list(branches.values()), axis=1)  # [batch, modality, out_dim]
        return Outputs((weights[..., None] * logits).sum(axis=1), branches=branches)
