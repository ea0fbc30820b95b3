"""FuseMoE: each modality has its own router, with a Laplace gate, to experts that all share."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.fusion.building_blocks import project, read_out
from mmjax.fusion.routing import pick_top_k, weigh_experts
from mmjax.layers import Dense, is_present, masked_softmax, promise
from mmjax.layers.initializers import normal
from mmjax.types import Outputs, Removable, Tokens


class FuseMoEFusion(nn.Module):
    r"""Sends each modality to the ``top_k`` experts whose centres are nearest to it.

    :math:`\sum_m \sum_e g_{me} E_e(x_m)`, with :math:`x_m` the projected mean over valid tokens, an
    MLP :math:`E_e` with a hidden layer, and :math:`g_m` the softmax of the ``top_k`` largest of
    :math:`h_{me} = -|x_m - c_{me}|`, the Laplace gate of modality :math:`m`. A far-away :math:`x_m`
    cannot make it arbitrarily sure: :math:`|h_{me} - h_{mf}| \le |c_{me} - c_{mf}|`. ``aux`` has
    ``entropy_weight`` times :math:`\text{mean}_m H(p_m) - H(\text{mean}_m p_m)` in nats, with
    :math:`p_m` the mean over rows of the softmax of all :math:`h_m`: each modality should keep to
    few experts, and different modalities to different ones. All of this is one layer on pooled
    vectors, where the paper has it in a transformer on regular sequences, whose attention lets
    modalities interact. Here logits are sums of functions of one modality each.

    Of the paper's routers this is the one per modality; ``mixture_of_experts`` has a joint one.
    The authors' code, as other repositories have copied it, adds noise to the scores and penalises
    the squared coefficients of variation of each router's importance and load instead of the
    entropies; it adds up the experts' exponentials and takes the logarithm. The paper's learned
    vector for an absent modality would, after its router and the experts, be a learned constant; it
    is left out here (to have one, replace absent inputs by learned tokens).

    One modality: its own router, whose entropies cancel. Two or many: one router each. An absent
    modality goes to no expert and does not count in the entropies; with none present only the
    readout bias remains.

    Reference: Han et al., FuseMoE: Mixture-of-Experts Transformers for Fleximodal Fusion
    (arXiv:2402.03226).

    Attributes:
        out_dim: size of the output.
        width: size of the projections, and of the hidden layer of each expert.
        num_experts: number of experts.
        top_k: number of experts per modality and sample, fewer than ``num_experts``.
        entropy_weight: weight of the difference of entropies.
        laplace: whether the gate is the Laplace gate; otherwise :math:`h_m` is linear in
            :math:`x_m`.
        dropout: probability of zeroing a hidden unit of the mixture in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import FuseMoEFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = FuseMoEFusion(out_dim=3, width=8)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["centres_audio"].shape  # one per expert
        (4, 8)
    """

    level: ClassVar[str] = "feature"
    removable: ClassVar[Removable] = {
        "laplace": {"laplace": False},
        "entropy": {"entropy_weight": 0.0},
    }
    out_dim: int
    width: int = 64
    num_experts: int = 4
    top_k: int = 2
    entropy_weight: float = 0.1
    laplace: bool = True
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        present, x = is_present(tokens), project(tokens, self.width)
        each = [self._score(n, x[:, m]) for m, n in enumerate(sorted(tokens))]
        scores = jnp.stack(each, axis=1)  # [batch, modality, expert]
        picked, _ = pick_top_k(self, scores)
        weights = masked_softmax(scores, picked & present[..., None], axis=-1)
        promise(self, "weights sum to one", weights.sum(axis=-1) - present)
        mixed = weigh_experts(x, weights.astype(x.dtype), self.width).sum(axis=1)
        chances = masked_softmax(
            scores, jnp.broadcast_to(present[..., None], scores.shape), axis=-1
        )
        aux = {"entropy": self.entropy_weight * _spread_within(chances, present)}
        return read_out(self, mixed, train=train)._replace(aux=aux)

    def _score(self, name: str, x: jax.Array) -> jax.Array:
        """The router of one modality: [batch, width] to [batch, expert]."""
        if not self.laplace:
            return Dense(self.num_experts, name=f"router_{name}")(x)
        centres = self.param(f"centres_{name}", normal(0.5), (self.num_experts, self.width))
        # Rounded to bfloat16, the distances to many experts would be the same.
        wide = jnp.promote_types(x.dtype, jnp.float32)
        square = jnp.square(x.astype(wide)[:, None] - centres[None]).sum(axis=-1)
        return -jnp.sqrt(square + 1e-12)  # the gradient of the root is infinite at zero


def _spread_within(chances: jax.Array, present: jax.Array) -> jax.Array:
    """Mean entropy of the modalities' mean chances less that of their mean: [], at most zero.

    Args:
        chances: [batch, modality, expert], zeros where a modality is absent.
        present: [batch, modality] bool; a modality that no row has does not count.
    """
    count = present.sum(axis=0)
    each = chances.sum(axis=0) / jnp.maximum(count, 1)[:, None]  # [modality, expert]
    occurs = (count > 0) / jnp.maximum((count > 0).sum(), 1)  # weights of the modalities
    return occurs @ _entropy(each) - _entropy(occurs @ each)


def _entropy(p: jax.Array) -> jax.Array:
    """Entropy in nats over the last axis, with finite gradients where ``p`` is zero."""
    return -(p * jnp.log(jnp.where(p > 0, p, 1))).sum(axis=-1)
