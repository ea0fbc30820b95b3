"""Sparse mixture of experts: a gate on all modalities sends each sample to a few experts."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn

from mmjax.fusion.building_blocks import JointDense, promise_weights, read_out
from mmjax.fusion.routing import route_with_noise, squared_variation
from mmjax.layers import is_present, masked_mean
from mmjax.types import Outputs, Removable, Tokens


class MixtureOfExpertsFusion(nn.Module):
    r"""Mixes the ``top_k`` experts that a noisy gate picks for each sample, and balances their use.

    :math:`V \sum_e g_e \text{relu}(E_e x + b_e)` with :math:`x = [x_1; \ldots; x_M]`, the means
    over valid tokens, and :math:`g` the softmax of the ``top_k`` largest of
    :math:`c + s \odot N(0, 1)`, :math:`c = G x`, :math:`s = \text{softplus}(S x) + 0.01`; noise is
    added in training only. ``aux`` has two terms, ``balance`` times the squared coefficient of
    variation over the experts of their importance, :math:`\sum_{\text{rows}} g_e`, and of their
    load, the expected number of rows that pick them under fresh noise. (The variance is over all
    ``num_experts``; PyTorch code divides by one less.) The experts share their last layer,
    :math:`V`, and gates are initialised at random, not at zero, where all experts tie.

    One modality: the layer of the paper. Two or many: the same on the concatenation, written as one
    kernel per modality. An absent modality adds nothing to gates and experts; a sample with none
    picks no expert, counts in neither term, and keeps the readout bias. All experts are computed,
    and the unused ones multiplied by zero: few and small, they cost less than dispatching rows.
    FuseMoE's routers are those of ``fuse_moe``.

    Reference: Shazeer et al., Outrageously Large Neural Networks: The Sparsely-Gated
    Mixture-of-Experts Layer (arXiv:1701.06538).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layer of each expert.
        num_experts: number of experts.
        top_k: number of experts per sample, fewer than ``num_experts``.
        balance: weight of each of the two balancing terms.
        dropout: probability of zeroing a unit of the mixture in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import MixtureOfExpertsFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = MixtureOfExpertsFusion(out_dim=3, num_experts=8, top_k=2)
        >>> outputs, _ = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> sorted(outputs.aux)  # keep all experts in use
        ['importance', 'load']
    """

    level: ClassVar[str] = "feature"
    removable: ClassVar[Removable] = {"balance": {"balance": 0.0}}
    out_dim: int
    width: int = 64
    num_experts: int = 4
    top_k: int = 2
    balance: float = 0.1
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        pooled = {n: masked_mean(t) for n, t in tokens.items()}
        clean = JointDense(self.num_experts, name="gate")(pooled)
        noise = JointDense(self.num_experts, name="noise")(pooled)
        present = is_present(tokens)
        weights, chance = route_with_noise(self, clean, noise, present.any(axis=1), train=train)
        promise_weights(self, weights, present)
        experts = JointDense(self.num_experts * self.width, name="experts")(pooled)
        experts = nn.relu(experts.reshape(len(experts), self.num_experts, self.width))
        outputs = read_out(self, (weights[..., None] * experts).sum(axis=1), train=train)
        terms = {"importance": weights.sum(axis=0), "load": chance.sum(axis=0)}
        aux = {term: self.balance * squared_variation(x) for term, x in terms.items()}
        return outputs._replace(aux=aux)
