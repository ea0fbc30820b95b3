"""Q-Former: learned queries that attend to each other and to the tokens, in turn."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn

from mmjax.fusion.building_blocks import embed, read_out
from mmjax.layers import is_present, join, learned_tokens
from mmjax.layers.blocks import TransformerBlock
from mmjax.layers.normalisation import LayerNorm
from mmjax.types import Outputs, Removable, Tokens


class QFormerFusion(nn.Module):
    r"""A few learned queries attend to each other, then to all tokens; their mean is read out.

    ``num_layers`` times :math:`q \gets \text{Read}(\text{Self}(q), [t_1 + e_1; \ldots; t_M +
    e_M])`, then :math:`o = \text{mean}_k \text{readout}(q_k)`, which is how the paper classifies
    pairs. The paper's queries read one image; here they read the tokens of all modalities together,
    with modality embeddings :math:`e_m` to tell them apart. One modality: that of the paper. Absent
    modalities and masked tokens are not attended to; with none present the queries attend to each
    other alone, and the output is the same for all such samples.

    Only the target's loss trains it. The paper's pretraining losses (contrast of image and text,
    matching of their pairs, and captions) are left out, and with them the text that shares the
    queries' self-attention. The authors' code starts from BERT, whose blocks normalise last, with
    cross-attention in every second one; here the blocks are those of the other fusions.

    Reference: Li et al., BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image
    Encoders and Large Language Models (arXiv:2301.12597).

    Attributes:
        out_dim: size of the output.
        width: size of a token and of a query; ``num_heads`` must divide it.
        num_queries: number of queries.
        num_layers: number of layers, each with a block of self-attention and one of
            cross-attention.
        num_heads: number of attention heads.
        dropout: probability of zeroing a unit of a residual, or of the readout input, in training.
        positions: whether tokens carry their positions.
        modality_embeddings: whether each modality has a learned embedding.

    Example:
        >>> import jax
        >>> from mmjax.fusion import QFormerFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = QFormerFusion(out_dim=3, num_queries=16)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["queries"].shape  # however many tokens there are
        (16, 64)
    """

    level: ClassVar[str] = "token"
    removable: ClassVar[Removable] = {
        "positions": {"positions": False},
        "modality_embeddings": {"modality_embeddings": False},
    }
    out_dim: int
    width: int = 64
    num_queries: int = 8
    num_layers: int = 2
    num_heads: int = 4
    dropout: float = 0.1
    positions: bool = True
    modality_embeddings: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        block = lambda name: TransformerBlock(self.num_heads, dropout=self.dropout, name=name)
        embedded = embed(
            tokens, self.width, positions=self.positions, modalities=self.modality_embeddings
        )
        inputs, batch = join(*embedded.values()), len(is_present(tokens))
        queries = learned_tokens(self, "queries", (self.num_queries, self.width), batch)
        for i in range(self.num_layers):
            queries = block(f"self_{i}")(queries, train=train)
            queries = block(f"read_{i}")(queries, inputs, train=train)
        fused = LayerNorm(name="norm")(queries.values).mean(axis=1)
        return read_out(self, fused, train=train)
