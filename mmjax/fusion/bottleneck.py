"""Bottleneck transformer: modalities exchange information through a few shared tokens."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.fusion.building_blocks import embed
from mmjax.layers import Dense, is_present, join, learned_tokens, masked_mean
from mmjax.layers.blocks import TransformerBlock
from mmjax.layers.normalisation import LayerNorm
from mmjax.types import Outputs, Removable, Tokens


class BottleneckFusion(nn.Module):
    r"""One transformer per modality; from ``fusion_layer`` on, all share a few bottleneck tokens.

    :math:`[b_m; t_m] \gets \text{Encoder}_m([b; t_m])` and then :math:`b \gets \text{mean}_m b_m`,
    with a CLS token in each :math:`t_m`. In each layer a modality reads what the others wrote in
    the layer before, so information crosses only if at least two layers have the bottleneck. One
    linear readout turns each CLS token into logits, the branches, and the prediction is their mean.
    One modality: its own transformer, with the bottleneck as memory. Two or many: means are over
    the modalities present. An absent modality writes nothing and has no logits. With none present
    the prediction is zero. As in the paper, the loss is the mean of the branches' (the objective
    ``branch_mean``), unless another objective is asked for.

    Reference: Nagrani et al., Attention Bottlenecks for Multimodal Fusion (arXiv:2107.00135).

    Attributes:
        out_dim: size of the output.
        width: size of a token; ``num_heads`` must divide it.
        num_layers: number of transformer blocks per modality.
        fusion_layer: index of the first layer that has the bottleneck.
        num_bottlenecks: number of bottleneck tokens; with 0 nothing crosses.
        num_heads: number of attention heads.
        dropout: probability of zeroing a unit of a residual, or of the readout input, in training.
        positions: whether tokens carry their positions.

    Example:
        >>> import jax
        >>> from mmjax.fusion import BottleneckFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = BottleneckFusion(out_dim=3, num_bottlenecks=2)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["bottleneck"].shape  # all that crosses between modalities
        (2, 64)
    """

    level: ClassVar[str] = "token"
    objective: ClassVar[str] = "branch_mean"
    removable: ClassVar[Removable] = {
        "positions": {"positions": False},
        "bottleneck": {"num_bottlenecks": 0},
    }
    out_dim: int
    width: int = 64
    num_layers: int = 2
    fusion_layer: int = 0
    num_bottlenecks: int = 4
    num_heads: int = 4
    dropout: float = 0.1
    positions: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]`` and branches."""
        present = is_present(tokens)
        learn = lambda name, length: learned_tokens(self, name, (length, self.width), len(present))
        embedded = embed(tokens, self.width, positions=self.positions)
        streams = {n: join(learn(f"cls_{n}", 1), t) for n, t in embedded.items()}
        for i in range(self.num_layers):
            if i < self.fusion_layer or not self.num_bottlenecks:
                streams = {n: self._encode(i, n, t, train=train) for n, t in streams.items()}
                continue
            if i == self.fusion_layer:
                bottleneck = learn("bottleneck", self.num_bottlenecks)
            joined = {n: join(bottleneck, t) for n, t in streams.items()}
            joined = {n: self._encode(i, n, t, train=train) for n, t in joined.items()}
            written, streams = self._split(joined)
            bottleneck = bottleneck._replace(values=_mean(written, present))
        cls = LayerNorm(name="norm")(jnp.stack([t.values[:, 0] for t in streams.values()], 1))
        dropped = nn.Dropout(self.dropout, deterministic=not train)(cls)
        logits = Dense(self.out_dim, name="readout")(dropped)  # [batch, modality, out_dim]
        logits = jnp.where(present[..., None], logits, 0)
        branches = {n: logits[:, m] for m, n in enumerate(streams)}
        return Outputs(_mean(logits, present), branches=branches, fused=_mean(cls, present))

    def _encode(self, i: int, name: str, x: Tokens, *, train: bool) -> Tokens:
        """Layer ``i`` of one modality: [batch, length, width]."""
        block = TransformerBlock(self.num_heads, dropout=self.dropout, name=f"{name}_{i}")
        return block(x, train=train)

    def _split(self, joined: Mapping[str, Tokens]) -> tuple[jax.Array, dict[str, Tokens]]:
        """What each modality wrote, [batch, modality, num_bottlenecks, width], and its stream."""
        k = self.num_bottlenecks
        written = jnp.stack([t.values[:, :k] for t in joined.values()], axis=1)
        return written, {n: Tokens(t.values[:, k:], t.mask[:, k:]) for n, t in joined.items()}


def _mean(x: jax.Array, present: jax.Array) -> jax.Array:
    """Mean over the modalities present, or zeros: [batch, modality, ...] to [batch, ...]."""
    flat = Tokens(x.reshape(*present.shape, -1), present)
    return masked_mean(flat).reshape(len(x), *x.shape[2:])
