"""Zorro: one transformer whose attention mask keeps each modality pure beside a fusion stream."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.fusion.building_blocks import embed, token_sources
from mmjax.layers import Dense, is_present, join, learned_tokens
from mmjax.layers.blocks import TransformerBlock, show_rollout
from mmjax.layers.normalisation import LayerNorm
from mmjax.types import Outputs, Removable, Tokens


class ZorroFusion(nn.Module):
    r"""Learned fusion tokens attend to everything; each modality's tokens only to that modality.

    :math:`[f; t_1; \ldots; t_M]` passes through self-attention blocks in which token :math:`i` may
    attend to token :math:`j` if :math:`i` belongs to the fusion stream or both belong to the same
    stream. Finally a learned query reads each stream under the same mask: its output for a
    modality, which is bit by bit independent of all others, gives that modality's branch, and its
    output for the fusion stream gives the prediction. Query and readout are shared by the streams
    (the paper has one of each per stream), so that branches learn without a loss of their own. One
    modality: its stream beside the fusion stream. Two or many: a stream each. Absent modalities are
    never attended to and their branches are zero; with none present the fusion stream attends to
    itself.

    Reference: Recasens et al., Zorro: the masked multimodal transformer (arXiv:2301.09595).

    Attributes:
        out_dim: size of the output.
        width: size of a token; ``num_heads`` must divide it.
        num_fusion_tokens: number of learned tokens in the fusion stream.
        num_layers: number of transformer blocks before the one that reads out the streams.
        num_heads: number of attention heads.
        dropout: probability of zeroing a unit of a residual, or of the readout input, in
            training.
        positions: whether tokens carry their positions.
        masks: whether attention in the blocks is restricted; a query always reads its own stream.

    Example:
        >>> import jax
        >>> from mmjax.fusion import ZorroFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = ZorroFusion(out_dim=3)
        >>> outputs, _ = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> {n: logits.shape for n, logits in outputs.branches.items()}
        {'audio': (4, 3), 'image': (4, 3)}
    """

    level: ClassVar[str] = "token"
    removable: ClassVar[Removable] = {
        "positions": {"positions": False},
        "masks": {"masks": False},
    }
    out_dim: int
    width: int = 64
    num_fusion_tokens: int = 4
    num_layers: int = 2
    num_heads: int = 4
    dropout: float = 0.1
    positions: bool = True
    masks: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]`` and branches."""
        present = is_present(tokens)
        learn = lambda name, length: learned_tokens(self, name, (length, self.width), len(present))
        block = lambda name: TransformerBlock(self.num_heads, dropout=self.dropout, name=name)
        embedded = embed(tokens, self.width, positions=self.positions)
        parts = [learn("fusion", self.num_fusion_tokens), *embedded.values()]
        streams = np.arange(len(parts))  # the fusion's is the first
        stream = streams.repeat([part.values.shape[1] for part in parts])
        joint = join(*parts)
        blocks = [f"block_{i}" for i in range(self.num_layers)]
        reads = _reads(stream, stream) if self.masks else None
        for name in blocks:
            joint = block(name)(joint, reads=reads, train=train)
        query = join(*[learn("query", 1)] * len(parts))
        read = block("read")(query, joint, reads=_reads(streams, stream), train=train)
        show_rollout(self, [*blocks, "read"], token_sources(parts[1:], self.num_fusion_tokens))
        features = LayerNorm(name="norm")(read.values)  # [batch, stream, width]
        dropped = nn.Dropout(self.dropout, deterministic=not train)(features)
        prediction, *logits = Dense(self.out_dim, name="readout")(dropped).swapaxes(0, 1)
        branches = {
            n: jnp.where(present[:, m : m + 1], logits[m], 0) for m, n in enumerate(sorted(tokens))
        }
        return Outputs(prediction, branches=branches, fused=features[:, 0])


def _reads(queries: np.ndarray, keys: np.ndarray) -> jax.Array:
    """Which streams [queries] may attend to which [keys]: [queries, keys] bool."""
    return jnp.asarray((queries[:, None] == keys[None]) | (queries[:, None] == 0))
