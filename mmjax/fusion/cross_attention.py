"""Cross-attention between every ordered pair of modalities."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.building_blocks import JointDense, embed
from mmjax.layers import masked_mean
from mmjax.layers.blocks import TransformerBlock
from mmjax.layers.normalisation import LayerNorm
from mmjax.types import Outputs, Removable, Tokens


class CrossAttentionFusion(nn.Module):
    r"""Every modality attends to every other, then to itself; the results are concatenated.

    For each ordered pair, the tokens of :math:`i` attend to the projected tokens of :math:`j`
    through ``num_layers`` blocks; the streams of :math:`i` are concatenated and passed through
    ``num_layers`` blocks of self-attention. The result is averaged over valid tokens (the paper
    takes the last one, which padding would displace) and the readout sees all modalities. One
    modality: self-attention alone. Two: one stream each. Many: one stream per other modality, so
    the model grows with the cube of their number. Nothing is read from an absent modality, so a
    stream towards it depends on the reader alone; its own streams do not reach the readout. With
    none present only the readout bias remains.

    Cross-attention needs several tokens: over a single one the softmax is constant, so queries and
    keys do not learn.

    The authors' code has more than the paper: a residual MLP between the concatenation and the
    readout, inputs multiplied by :math:`\sqrt{\text{width}}` before positions are added, and by
    default a mask by which a token attends to no later position, as if all modalities had the same
    clock. Here it is the paper's model.

    Reference: Tsai et al., Multimodal Transformer for Unaligned Multimodal Language Sequences
    (arXiv:1906.00295).

    Attributes:
        out_dim: size of the output.
        width: size of a token; ``num_heads`` must divide it.
        num_layers: number of blocks in each stream, and again after concatenation.
        num_heads: number of attention heads.
        dropout: probability of zeroing a unit of a residual in training.
        positions: whether tokens carry their positions.

    Example:
        >>> import jax
        >>> from mmjax.fusion import CrossAttentionFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = CrossAttentionFusion(out_dim=3)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> [n for n in sorted(variables["params"]) if "from" in n]
        ['audio_from_image_0', 'image_from_audio_0']
    """

    level: ClassVar[str] = "token"
    removable: ClassVar[Removable] = {"positions": {"positions": False}}
    out_dim: int
    width: int = 64
    num_layers: int = 1
    num_heads: int = 4
    dropout: float = 0.1
    positions: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        embedded = embed(tokens, self.width, positions=self.positions)
        pooled = {}
        for n, own in embedded.items():
            streams = [
                self._blocks(f"{n}_from_{other}", own, embedded[other], train=train).values
                for other in embedded
                if other != n
            ]
            merged = Tokens(jnp.concatenate(streams or [own.values], axis=-1), own.mask)
            merged = self._blocks(n, merged, None, train=train)
            pooled[n] = masked_mean(
                merged._replace(values=LayerNorm(name=f"norm_{n}")(merged.values))
            )
        fused = jnp.concatenate(list(pooled.values()), axis=-1)
        return Outputs(JointDense(self.out_dim, name="readout")(pooled), fused=fused)

    def _blocks(self, name: str, x: Tokens, context: Tokens | None, *, train: bool) -> Tokens:
        """Self-attention blocks, or cross-attention to the context: [batch, length, width]."""
        for i in range(self.num_layers):
            block = TransformerBlock(self.num_heads, dropout=self.dropout, name=f"{name}_{i}")
            x = block(x, context, train=train)
        return x
