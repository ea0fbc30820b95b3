"""I2MoE: experts for what each modality tells alone, what all tell, and what only all tell."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.fusion.building_blocks import JointDense, cosine
from mmjax.layers import Dense, is_present, masked_mean, mean_where, promise
from mmjax.types import Outputs, Removable, Tokens


class I2MoEFusion(nn.Module):
    r"""Weighs experts on all modalities, taught by what happens when one is masked.

    :math:`\sum_e g_e y_e` with an MLP :math:`y_e` on :math:`[x_1; \ldots; x_M]`, the means over
    valid tokens, per expert, and :math:`g` the softmax of another MLP, the reweighting model. With
    :math:`y_e^m` for what an expert says if modality :math:`m` is masked, ``aux`` has three terms:

    - ``uniqueness``, of expert :math:`m = 1, \ldots, M`:
      :math:`\max(0, |y_m - y_m^n| - |y_m - y_m^m| + 1)`, the mean over the other :math:`n`: only
      its own modality may matter to it.
    - ``synergy``, of the next: the mean over :math:`n` of :math:`\cos(y, y^n)`: it needs all.
    - ``redundancy``, of the last: the mean over :math:`n` of :math:`1 - \cos(y, y^n)`: any will do.

    Each is a mean over rows, and they sum to ``interaction_weight`` times the mean over experts. A
    masked modality is absent, as in a row that lacks it, where the paper draws a standard normal
    vector in its place; so the terms do not depend on chance. An expert is any fusion in the paper.
    For numbers the authors' code has squared errors in place of these terms, as the cosine of two
    numbers is only a sign.

    One modality: three experts without any terms. Two or many: :math:`M + 2` experts. An absent
    modality adds nothing to experts and weights, and the terms take no notice of it; rows with
    fewer than two count in none. With none present only biases remain.

    Reference: Xin et al., I2MoE: Interpretable Multimodal Interaction-aware Mixture-of-Experts
    (arXiv:2505.19190).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layer of each expert, and of the reweighting model.
        interaction_weight: weight of the mean of the experts' terms.
        dropout: probability of zeroing a hidden unit of an expert in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import I2MoEFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = I2MoEFusion(out_dim=3)
        >>> outputs, _ = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> sorted(outputs.aux)
        ['redundancy', 'synergy', 'uniqueness']
    """

    level: ClassVar[str] = "feature"
    targets: ClassVar[tuple[str, ...]] = ("classes", "labels")
    removable: ClassVar[Removable] = {"interactions": {"interaction_weight": 0.0}}
    out_dim: int
    width: int = 64
    interaction_weight: float = 0.5
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        pooled = {n: masked_mean(tokens[n]) for n in sorted(tokens)}
        whole, masked = self._experts(pooled, train=train)
        hidden = nn.relu(JointDense(self.width, name="reweight")(pooled))
        weights = nn.softmax(Dense(whole.shape[1], name="weights")(hidden))  # [batch, expert]
        promise(self, "weights sum to one", weights.sum(axis=1) - 1)
        terms = _interactions(whole, masked, is_present(tokens))
        aux = {n: self.interaction_weight * term / whole.shape[1] for n, term in terms.items()}
        return Outputs((weights[..., None] * whole).sum(axis=1), aux=aux)

    def _experts(
        self, pooled: Mapping[str, jax.Array], *, train: bool
    ) -> tuple[jax.Array, jax.Array]:
        """What experts say, [batch, expert, out_dim], and with each modality masked in turn.

        The second is [batch, modality, expert, out_dim]. All go through as one tall batch.
        """
        copies = (None, *pooled)  # what is masked
        mask = lambda name, x: jnp.concatenate([x * (name != masked) for masked in copies])
        tall = {n: mask(n, x) for n, x in pooled.items()}
        num_experts = len(pooled) + 2
        hidden = nn.relu(JointDense(num_experts * self.width, name="experts")(tall))
        hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
        each = jnp.split(hidden, num_experts, axis=1)
        said = [Dense(self.out_dim, name=f"readout_{e}")(x) for e, x in enumerate(each)]
        whole, *masked = jnp.split(jnp.stack(said, axis=1), len(copies))
        return whole, jnp.stack(masked, axis=1)


def _interactions(whole: jax.Array, masked: jax.Array, present: jax.Array) -> dict[str, jax.Array]:
    """The loss of each kind of interaction, [], that of uniqueness summed over its experts.

    Args:
        whole: [batch, expert, out_dim].
        masked: [batch, modality, expert, out_dim], with that modality masked.
        present: [batch, modality] bool.
    """
    size = present.shape[1]
    counts = present & (present.sum(axis=1, keepdims=True) > 1)
    whole = jnp.broadcast_to(whole[:, None], masked.shape)
    square = jnp.square(whole - masked)[:, :, :size].sum(axis=-1)
    moved = jnp.sqrt(jnp.where(square > 0, square, 1)) * (square > 0)  # finite gradients at zero
    own = jnp.diagonal(moved, axis1=1, axis2=2)  # [batch, expert], each one's modality masked
    margin = nn.relu(moved - own[:, None] + 1)
    pairs = counts[:, :, None] & counts[:, None] & ~jnp.eye(size, dtype=bool)[None]
    alike = cosine(whole, masked)  # [batch, modality, expert]
    return {
        "uniqueness": size * mean_where(pairs, margin),
        "synergy": mean_where(counts, alike[..., size]),
        "redundancy": mean_where(counts, 1 - alike[..., size + 1]),
    }
