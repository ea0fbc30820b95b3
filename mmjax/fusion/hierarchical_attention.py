"""Hierarchical attention: within each modality, then across all of them, or the reverse."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn

from mmjax.fusion.building_blocks import embed, read_out
from mmjax.layers import join, masked_mean
from mmjax.layers.blocks import TransformerBlock
from mmjax.layers.normalisation import LayerNorm
from mmjax.types import Outputs, Removable, Tokens


class HierarchicalAttentionFusion(nn.Module):
    r"""One transformer per modality, then a joint one over all tokens, or the reverse order.

    :math:`t_m \gets \text{Own}_m(t_m)`, :math:`[t_1; \ldots; t_M] \gets \text{Joint}([t_1; \ldots;
    t_M])`: several streams become one. With ``joint_first`` the order is reversed: one stream
    becomes several. The readout takes the mean over all valid tokens, after normalisation. One
    modality: two transformers over its tokens. Two or many: a transformer each, and a joint one.
    Absent modalities and masked tokens are not attended to; with none present only the readout bias
    remains.

    Reference: Xu et al., Multimodal Learning with Transformers: A Survey (arXiv:2206.06488),
    hierarchical attention.

    Attributes:
        out_dim: size of the output.
        width: size of a token; ``num_heads`` must divide it.
        joint_first: whether the joint transformer comes before those of the modalities.
        num_layers: number of blocks in each transformer.
        num_heads: number of attention heads.
        dropout: probability of zeroing a unit of a residual, or of the readout input, in training.
        positions: whether tokens carry their positions.

    Example:
        >>> import jax
        >>> from mmjax.fusion import HierarchicalAttentionFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = HierarchicalAttentionFusion(out_dim=3)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> [n for n in sorted(variables["params"]) if n.endswith("_0")]
        ['joint_0', 'own_audio_0', 'own_image_0']
    """

    level: ClassVar[str] = "token"
    removable: ClassVar[Removable] = {"positions": {"positions": False}}
    out_dim: int
    width: int = 64
    joint_first: bool = False
    num_layers: int = 1
    num_heads: int = 4
    dropout: float = 0.1
    positions: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        streams = embed(tokens, self.width, positions=self.positions)
        stages = (self._joint, self._own) if self.joint_first else (self._own, self._joint)
        for stage in stages:
            streams = stage(streams, train=train)
        joint = join(*streams.values())
        normed = joint._replace(values=LayerNorm(name="norm")(joint.values))
        return read_out(self, masked_mean(normed), train=train)

    def _own(self, streams: Mapping[str, Tokens], *, train: bool) -> dict[str, Tokens]:
        """Attention within each modality."""
        return {n: self._blocks(f"own_{n}", t, train=train) for n, t in streams.items()}

    def _joint(self, streams: Mapping[str, Tokens], *, train: bool) -> dict[str, Tokens]:
        """Attention across the modalities."""
        joint = self._blocks("joint", join(*streams.values()), train=train)
        parts, start = {}, 0
        for n, (_, mask) in streams.items():
            stop = start + mask.shape[1]
            parts[n] = Tokens(joint.values[:, start:stop], mask)
            start = stop
        return parts

    def _blocks(self, name: str, x: Tokens, *, train: bool) -> Tokens:
        """Blocks of self-attention: [batch, length, width]."""
        for i in range(self.num_layers):
            block = TransformerBlock(self.num_heads, dropout=self.dropout, name=f"{name}_{i}")
            x = block(x, train=train)
        return x
