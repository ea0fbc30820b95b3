"""Modulation: each modality is scaled, and in FiLM also shifted, as a function of the others."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.fusion.building_blocks import JointDense, linear_factors, project, read_out
from mmjax.layers import is_present, masked_mean
from mmjax.types import Outputs, Removable, Tokens


class GatedFusion(nn.Module):
    r"""Gates each coordinate of each modality as a function of the other modalities.

    :math:`V \sum_m \text{sigmoid}(U_m [x_j; j \ne m] + c_m) \odot h_m` with
    :math:`h_m = \tanh(W_m x_m + b_m)` and :math:`x_m` the mean over valid tokens. One modality: its
    gate is open, which leaves a plain MLP. Two: the paper's gates, in both directions, added. Many:
    each gate depends on all the others. Absent modalities add nothing and do not affect the gates;
    a gate with no other modality present is open (1). With none present only the readout bias
    remains. The paper has no tanh; without it a single modality would be a linear model.

    Reference: Kiela et al., Efficient Large-Scale Multi-Modal Classification (arXiv:1802.02892).

    Attributes:
        out_dim: size of the output.
        width: size of the space in which the modalities are gated.
        dropout: probability of zeroing a unit of the mixture in training.
        gate: whether modalities are gated; otherwise they are added.

    Example:
        >>> import jax
        >>> from mmjax.fusion import GatedFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = GatedFusion(out_dim=3)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> sorted(variables["params"]["gate_audio"])  # the gate of audio depends on the image
        ['bias', 'image']
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
        """Gates between 0 and 1, or 1 for a modality that is alone: [batch, modality, width]."""
        condition, by_any = _condition_on_others("gate", tokens, self.width)
        return jnp.where(by_any, nn.sigmoid(condition), 1)


class FiLMFusion(nn.Module):
    r"""Scales and shifts each feature of each modality as a function of the other modalities.

    :math:`V \sum_m \text{relu}(\gamma_m \odot W_m x_m + \beta_m)` with :math:`[\gamma_m - 1;
    \beta_m] = F_m [x_j; j \ne m] + c_m` and :math:`x_m` the mean over valid tokens. One modality:
    :math:`\gamma = 1` and :math:`\beta = 0`, a plain MLP. Two: the paper's conditioning, in both
    directions, added. Many: each is conditioned on all the others. Absent modalities add nothing
    and do not condition; where no other is present :math:`\gamma = 1` and :math:`\beta = 0`. With
    none present only the readout bias remains.

    Reference: Perez et al., FiLM: Visual Reasoning with a General Conditioning Layer
    (arXiv:1709.07871).

    Attributes:
        out_dim: size of the output.
        width: number of features that are scaled and shifted.
        dropout: probability of zeroing a unit of the sum in training.
        scale: whether features are scaled.
        shift: whether features are shifted.

    Example:
        >>> import jax
        >>> from mmjax.fusion import FiLMFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = FiLMFusion(out_dim=3, width=8)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["film_audio"]["image"]["kernel"].shape  # 8 scales and 8 shifts
        (5, 16)
    """

    level: ClassVar[str] = "feature"
    removable: ClassVar[Removable] = {"scale": {"scale": False}, "shift": {"shift": False}}
    out_dim: int
    width: int = 64
    dropout: float = 0.1
    scale: bool = True
    shift: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        features = linear_factors(tokens, self.width, prefix="project")
        if size := (self.scale + self.shift) * self.width:
            condition, by_any = _condition_on_others("film", tokens, size)
            condition = jnp.where(by_any, condition, 0)  # scales, then shifts
            if self.scale:
                features *= 1 + condition[..., : self.width]
            if self.shift:
                features += condition[..., -self.width :]
        mixed = jnp.where(is_present(tokens)[..., None], nn.relu(features), 0).sum(axis=1)
        return read_out(self, mixed, train=train)


def _condition_on_others(
    prefix: str, tokens: Mapping[str, Tokens], features: int
) -> tuple[jax.Array, jax.Array]:
    """A Dense layer on the other modalities, for each, and whether any of them is present.

    Creates a ``JointDense`` layer ``{prefix}_{name}`` per modality in the calling compact method.
    Returns [batch, modality, features] and [batch, modality, 1] bool.
    """
    names, present = sorted(tokens), is_present(tokens)
    pooled = {n: masked_mean(tokens[n]) for n in names}
    others = {n: {j: pooled[j] for j in names if j != n} for n in names}
    condition = [JointDense(features, name=f"{prefix}_{n}")(others[n]) for n in names]
    by_any = present.sum(axis=1, keepdims=True) > present
    return jnp.stack(condition, axis=1), by_any[..., None]
