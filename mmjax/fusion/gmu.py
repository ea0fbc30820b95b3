"""Gated multimodal unit: a gate for every coordinate of every modality."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.fusion.building_blocks import JointDense, project, read_out
from mmjax.layers import masked_mean, show_weights
from mmjax.types import Outputs, Removable, Tokens


class GMUFusion(nn.Module):
    r"""Gates each coordinate of each modality as a function of all modalities.

    :math:`V \sum_m g_m \odot h_m` with :math:`g_m = \text{sigmoid}(U_m [x_1; \ldots; x_M] + c_m)`,
    :math:`h_m = \tanh(W_m x_m + b_m)` and :math:`x_m` the mean over valid tokens. One modality
    gates itself. Two share one gate, :math:`g` and :math:`1 - g` in the order of their names: the
    paper's bimodal unit. Three or more have independent gates: the paper's general unit. An absent
    modality adds nothing and does not affect the gates; with none present only the readout bias
    remains.

    Reference: Arevalo et al., Gated Multimodal Units for Information Fusion (arXiv:1702.01992).

    Attributes:
        out_dim: size of the output.
        width: size of the space in which the modalities are gated.
        dropout: probability of zeroing a unit of the mixture in training.
        gate: whether modalities are gated; otherwise they are added.

    Example:
        >>> import jax
        >>> from mmjax.fusion import GMUFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = GMUFusion(out_dim=3)
        >>> _, variables = fusion.init_with_output(key, tokens, train=False)
        >>> _, state = fusion.apply(variables, tokens, train=False, mutable="intermediates")
        >>> (weights,) = state["intermediates"]["modality_weights"]
        >>> weights.sum(axis=1).round(3).tolist()  # two modalities share a gate: g and 1 - g
        [1.0, 1.0, 1.0, 1.0]
    """

    level: ClassVar[str] = "feature"
    removable: ClassVar[Removable] = {"gate": {"gate": False}}
    out_dim: int
    width: int = 64
    dropout: float = 0.1
    gate: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        gates = self._gates(tokens) if self.gate else 1
        mixed = (gates * project(tokens, self.width)).sum(axis=1)
        return read_out(self, mixed, train=train)

    def _gates(self, tokens: Mapping[str, Tokens]) -> jax.Array:
        """Gates between 0 and 1: [batch, modality, width], sorted by name."""
        pooled = {n: masked_mean(t) for n, t in tokens.items()}
        gate = lambda n: nn.sigmoid(JointDense(self.width, name=f"gate_{n}")(pooled))
        first, *others = sorted(tokens)
        gates = [gate(first)]
        gates += [1 - gates[0]] if len(others) == 1 else map(gate, others)
        show_weights(self, jnp.stack([g.mean(axis=1) for g in gates], axis=1))
        return jnp.stack(gates, axis=1)
