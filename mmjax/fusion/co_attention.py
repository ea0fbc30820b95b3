"""Co-attention: one stream per modality, each attending to the others in every layer."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.building_blocks import embed, multiply_present, read_out
from mmjax.layers import join, masked_mean
from mmjax.layers.blocks import TransformerBlock
from mmjax.layers.normalisation import LayerNorm
from mmjax.types import Outputs, Removable, Tokens


class CoAttentionFusion(nn.Module):
    r"""In each layer every modality attends to the others, as they were before it, then to itself.

    :math:`t_m \gets \text{Self}_m(\text{Co}_m(t_m, [t_j; j \ne m]))`, where :math:`\text{Co}_m`
    takes its queries from :math:`m` and its keys and values from the others. Finally the streams,
    normalised and averaged over valid tokens, are multiplied: :math:`\prod_m \text{mean}(t_m)`.
    (The paper reads a special token, which not every encoder has.) One modality: self-attention
    alone. Two: they exchange keys and values. Many: each attends to the tokens of all the others
    together. An absent modality is not attended to and is no factor of the product; where no other
    is present, :math:`\text{Co}_m` adds only its feed-forward layer. With none present only the
    readout bias remains.

    The authors normalise after each residual, as BERT does, and pass each special token through a
    further ReLU layer before the product; blocks here normalise before. LXMERT (arXiv:1908.07490)
    differs more: both directions share the weights of :math:`\text{Co}`, which has no feed-forward
    layer.

    Co-attention needs several tokens: over a single one the softmax is constant, so queries and
    keys do not learn.

    Reference: Lu et al., ViLBERT: Pretraining Task-Agnostic Visiolinguistic Representations for
    Vision-and-Language Tasks (arXiv:1908.02265).

    Attributes:
        out_dim: size of the output.
        width: size of a token; ``num_heads`` must divide it.
        num_layers: number of layers, each with two blocks per modality.
        num_heads: number of attention heads.
        dropout: probability of zeroing a unit of a residual, or of the readout input, in training.
        positions: whether tokens carry their positions.

    Example:
        >>> import jax
        >>> from mmjax.fusion import CoAttentionFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = CoAttentionFusion(out_dim=3)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> [n for n in sorted(variables["params"]) if n.endswith("_0")]
        ['co_audio_0', 'co_image_0', 'self_audio_0', 'self_image_0']
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
        streams = embed(tokens, self.width, positions=self.positions)
        for i in range(self.num_layers):
            streams = {n: self._layer(i, n, streams, train=train) for n in streams}
        means = [
            masked_mean(t._replace(values=LayerNorm(name=f"norm_{n}")(t.values)))
            for n, t in streams.items()
        ]
        fused = multiply_present(jnp.stack(means, axis=1), tokens)
        return read_out(self, fused, train=train)

    def _layer(self, i: int, name: str, streams: Mapping[str, Tokens], *, train: bool) -> Tokens:
        """One stream after attending to the others, then to itself: [batch, length, width]."""
        block = lambda kind: TransformerBlock(
            self.num_heads, dropout=self.dropout, name=f"{kind}_{name}_{i}"
        )
        x, others = streams[name], [t for n, t in streams.items() if n != name]
        if others:
            x = block("co")(x, join(*others), train=train)
        return block("self")(x, train=train)
