"""Gated cross-attention: streams that learn to read each other, from not at all."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.building_blocks import JointDense, embed
from mmjax.layers import join, masked_mean
from mmjax.layers.blocks import TransformerBlock
from mmjax.layers.normalisation import LayerNorm
from mmjax.types import Outputs, Removable, Tokens


class GatedCrossAttentionFusion(nn.Module):
    r"""Every modality has a transformer, before whose blocks it reads the others through gates.

    In each layer :math:`t_m \gets t_m + \tanh(a_m) \text{Attend}(t_m, [t_j; j \ne m])`, then
    :math:`t_m \gets t_m + \tanh(b_m) \text{MLP}(t_m)` and :math:`t_m \gets \text{Self}_m(t_m)`. The
    gates :math:`a_m` and :math:`b_m` are scalars that start at zero: at first each stream is
    exactly the transformer of its modality alone, and it learns from there how much to read.
    Finally the streams are averaged over valid tokens, and the readout sees all of them. One
    modality: its transformer, without gates. Two: each reads the other. Many: each reads the tokens
    of all the others together. An absent modality is not read and does not reach the readout; where
    no other is present, only the gated MLP remains of the reading. With none present only the
    readout bias remains.

    In the paper only the text reads, from images, and its transformer is pretrained and frozen.
    Here all streams read, since any modality may be absent, and learn. Left out is the resampler,
    which reduces the tokens of an image or a video to a few.

    Reference: Alayrac et al., Flamingo: a Visual Language Model for Few-Shot Learning
    (arXiv:2204.14198).

    Attributes:
        out_dim: size of the output.
        width: size of a token; ``num_heads`` must divide it.
        num_layers: number of layers, each with two blocks per modality.
        num_heads: number of attention heads.
        dropout: probability of zeroing a unit of a residual in training.
        positions: whether tokens carry their positions.
        gates: whether what is read passes through gates.

    Example:
        >>> import jax
        >>> from mmjax.fusion import GatedCrossAttentionFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = GatedCrossAttentionFusion(out_dim=3)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> [n for n in sorted(variables["params"]["read_audio_0"]) if "gate" in n]
        ['gate_hidden', 'gate_read']
    """

    level: ClassVar[str] = "token"
    removable: ClassVar[Removable] = {
        "positions": {"positions": False},
        "gates": {"gates": False},
    }
    no_gradient: ClassVar[Mapping[str, str]] = {
        r"read_.*(Attention|Dense|LayerNorm|norm)": "it is behind a gate that starts at zero"
    }
    out_dim: int
    width: int = 64
    num_layers: int = 1
    num_heads: int = 4
    dropout: float = 0.1
    positions: bool = True
    gates: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        streams = embed(tokens, self.width, positions=self.positions)
        for i in range(self.num_layers):
            streams = {n: self._layer(i, n, streams, train=train) for n in streams}
        pooled = {
            n: masked_mean(t._replace(values=LayerNorm(name=f"norm_{n}")(t.values)))
            for n, t in streams.items()
        }
        fused = jnp.concatenate(list(pooled.values()), axis=-1)
        return Outputs(JointDense(self.out_dim, name="readout")(pooled), fused=fused)

    def _layer(self, i: int, name: str, streams: Mapping[str, Tokens], *, train: bool) -> Tokens:
        """One stream after reading the others, then itself: [batch, length, width]."""
        block = lambda kind, gated: TransformerBlock(
            self.num_heads, dropout=self.dropout, gated=gated, name=f"{kind}_{name}_{i}"
        )
        x, others = streams[name], [t for n, t in streams.items() if n != name]
        if others:
            x = block("read", self.gates)(x, join(*others), train=train)
        return block("self", False)(x, train=train)
