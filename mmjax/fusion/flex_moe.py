"""Flex-MoE: a bank fills in absent modalities, and experts specialise in what is present."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmjax.fusion.building_blocks import embed, read_out
from mmjax.fusion.routing import route_with_noise, squared_variation, weigh_experts
from mmjax.layers import Dense, is_present, join, masked_mean, mean_where, promise
from mmjax.layers.blocks import Attention
from mmjax.layers.dropout import Dropout
from mmjax.layers.initializers import normal
from mmjax.layers.normalisation import LayerNorm
from mmjax.types import Outputs, Removable, Tokens


class FlexMoEFusion(nn.Module):
    r"""A transformer block with routed experts, on tokens present and learned ones for the rest.

    An absent modality gets one token of the bank, :math:`b[C, m]`, for the combination :math:`C` of
    those present. :math:`x \gets x + \text{Attention}(\text{norm}(x))`; then every token is routed,
    :math:`x \gets x + \sum_e g_e E_e(\text{norm}(x))`, with the noisy top-k gate of
    ``mixture_of_experts``. The means of each modality's tokens are concatenated and read out.

    ``aux`` has two terms, both times ``router_weight``. ``balance`` is the squared coefficient of
    variation of importance plus that of load, over the tokens of rows with all modalities, which
    use every expert alike; for the other rows, likewise without the first expert. These go to the
    expert of their combination: ``specialisation`` is the mean cross-entropy in nats between the
    scores of their tokens and that expert. The first one is that of full rows; if there are too
    few for the other combinations, these share them in turn, where the authors' code fails.

    The authors' code adds the output of its attention to itself rather than to :math:`x`, has as
    many tokens in the bank as a modality has patches, and also adds learned positions. Its
    cross-entropy is that of the noisy scores. In its first epochs it sees rows with many modalities
    first; here the order of the rows is random throughout.

    One modality: full rows only. Two or many: :math:`2^M` combinations in the bank, so that this is
    not for many more than ten modalities. A row with none present has tokens of the bank alone and
    counts in neither term.

    Reference: Yun et al., Flex-MoE: Modeling Arbitrary Modality Combination via the Flexible
    Mixture-of-Experts (arXiv:2410.08245).

    Attributes:
        out_dim: size of the output.
        width: size of a token, and of the hidden layer of each expert; ``num_heads`` must divide
            it.
        num_experts: number of experts; with :math:`2^M - 1` or more, each combination has its own.
        top_k: number of experts per token, fewer than ``num_experts``.
        num_heads: number of attention heads.
        router_weight: weight of the two terms.
        dropout: probability of zeroing a unit of a residual, or of the readout input, in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import FlexMoEFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = FlexMoEFusion(out_dim=3)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["bank"].shape  # combination, modality, width
        (4, 2, 64)
    """

    level: ClassVar[str] = "token"
    no_gradient: ClassVar[Mapping[str, str]] = {"^bank$": "used by rows that lack a modality alone"}
    removable: ClassVar[Removable] = {"router": {"router_weight": 0.0}}
    out_dim: int
    width: int = 64
    num_experts: int = 8
    top_k: int = 2
    num_heads: int = 4
    router_weight: float = 0.01
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        present = is_present(tokens)
        combination = present @ 2 ** jnp.arange(present.shape[1])  # [batch], its bits
        parts = self._fill_in(embed(tokens, self.width), present, combination)
        x, mask = join(*parts)
        drop = Dropout(self.dropout, deterministic=not train)
        queries = LayerNorm(name="norm_attention")(x)
        x = x + drop(Attention(self.num_heads, name="attention")(queries, queries, mask)[0])
        routed = LayerNorm(name="norm_experts")(x)
        scores = Dense(self.num_experts, use_bias=False, name="gate")(routed)
        noise = Dense(self.num_experts, use_bias=False, name="noise")(routed)
        weights, chance = route_with_noise(self, scores, noise, mask, train=train)
        promise(self, "weights sum to one", weights.sum(axis=-1) - mask)
        mixed = weigh_experts(routed, weights, self.width)
        x = x + drop(Dense(self.width, name="mix")(mixed))
        pooled = [masked_mean(part) for part in _split(Tokens(x, mask), parts)]
        aux = self._losses(scores, weights, chance, mask, combination, 2 ** len(tokens) - 1)
        return read_out(self, jnp.concatenate(pooled, axis=-1), train=train)._replace(aux=aux)

    def _fill_in(
        self, embedded: Mapping[str, Tokens], present: jax.Array, combination: jax.Array
    ) -> list[Tokens]:
        """Each modality's tokens, and one of the bank that is valid where it has none."""
        shape = (2 ** len(embedded), len(embedded), self.width)
        bank = jnp.take(self.param("bank", normal(1.0), shape), combination, axis=0)
        stand_ins = [Tokens(bank[:, m : m + 1], ~present[:, m : m + 1]) for m in range(shape[1])]
        return [join(*pair) for pair in zip(embedded.values(), stand_ins, strict=True)]

    def _losses(
        self,
        scores: jax.Array,
        weights: jax.Array,
        chance: jax.Array,
        mask: jax.Array,
        combination: jax.Array,
        complete: int,
    ) -> dict[str, jax.Array]:
        """The terms of aux, from [batch, length, expert], mask [batch, length] and rows [batch]."""
        full = mask & (combination == complete)[:, None]
        partial = mask & ((combination > 0) & (combination < complete))[:, None]
        total = lambda amounts, where: jnp.where(where[..., None], amounts, 0).sum(axis=(0, 1))
        spread = lambda amounts: (
            squared_variation(total(amounts, full)) + squared_variation(total(amounts, partial)[1:])
        )
        own = 1 + (combination - 1) % (self.num_experts - 1)
        own = jnp.broadcast_to(own[:, None], mask.shape)
        told = optax.softmax_cross_entropy_with_integer_labels(scores, own)
        terms = {
            "balance": spread(weights) + spread(chance),
            "specialisation": mean_where(partial, told),
        }
        return {term: self.router_weight * value for term, value in terms.items()}


def _split(joined: Tokens, parts: Sequence[Tokens]) -> list[Tokens]:
    """Undoes ``join`` of the parts."""
    ends = np.cumsum([part.mask.shape[1] for part in parts])[:-1]
    arrays = (jnp.split(x, ends, axis=1) for x in joined)
    return [Tokens(*part) for part in zip(*arrays, strict=True)]
