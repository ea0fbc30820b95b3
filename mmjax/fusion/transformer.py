"""Joint transformer: the tokens of all modalities attend to each other."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn

from mmjax.fusion.building_blocks import embed, read_out, token_sources
from mmjax.layers import is_present, join, learned_tokens, masked_mean
from mmjax.layers.blocks import TransformerBlock, show_rollout
from mmjax.layers.normalisation import LayerNorm
from mmjax.types import Outputs, Removable, Tokens


class TransformerFusion(nn.Module):
    r"""Self-attention over the tokens of all modalities and a learned CLS token, read out.

    :math:`[\text{CLS}; t_1 + e_1; \ldots; t_M + e_M]` with :math:`t_m` the projected tokens plus
    sinusoidal positions and :math:`e_m` the modality embedding. One modality: a transformer over
    its tokens. Two or many: the same over all their tokens. Absent modalities and masked tokens are
    never attended to; CLS always is, so that a sample with nothing else still has an output.

    Reference: Li et al., VisualBERT: A Simple and Performant Baseline for Vision and Language
    (arXiv:1908.03557).

    Attributes:
        out_dim: size of the output.
        width: size of a token; ``num_heads`` must divide it.
        num_layers: number of transformer blocks.
        num_heads: number of attention heads.
        dropout: probability of zeroing a unit of a residual, or of the readout input, in
            training.
        positions: whether tokens carry their positions.
        modality_embeddings: whether each modality has a learned embedding.
        cls_token: whether a CLS token is read out; otherwise the mean of all valid tokens is.

    Example:
        >>> import jax
        >>> from mmjax.fusion import TransformerFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = TransformerFusion(out_dim=3, num_layers=2)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> sorted(variables["params"])[:3]
        ['block_0', 'block_1', 'cls']
    """

    level: ClassVar[str] = "token"
    removable: ClassVar[Removable] = {
        "positions": {"positions": False},
        "modality_embeddings": {"modality_embeddings": False},
        "cls_token": {"cls_token": False},
    }
    out_dim: int
    width: int = 64
    num_layers: int = 2
    num_heads: int = 4
    dropout: float = 0.1
    positions: bool = True
    modality_embeddings: bool = True
    cls_token: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        learn = lambda name: learned_tokens(self, name, (1, self.width), len(is_present(tokens)))
        cls = [learn("cls")] if self.cls_token else []
        parts = embed(
            tokens, self.width, positions=self.positions, modalities=self.modality_embeddings
        ).values()
        joint = join(*cls, *parts)
        blocks = [f"block_{i}" for i in range(self.num_layers)]
        for name in blocks:
            block = TransformerBlock(self.num_heads, dropout=self.dropout, name=name)
            joint = block(joint, train=train)
        if self.cls_token:
            show_rollout(self, blocks, token_sources(parts, learned=1))
        read = joint.values[:, 0] if self.cls_token else masked_mean(joint)
        return read_out(self, LayerNorm(name="norm")(read), train=train)
