"""Late-fusion transformer: modalities are pooled first, then attend to each other."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn

from mmjax.fusion.building_blocks import read_out, token_sources
from mmjax.layers import DenseGeneral, join, learned_tokens, masked_mean
from mmjax.layers.blocks import TransformerBlock, show_rollout
from mmjax.layers.initializers import normal
from mmjax.layers.normalisation import LayerNorm
from mmjax.types import Outputs, Removable, Tokens


class LateTransformerFusion(nn.Module):
    r"""Self-attention over a few pooled tokens per modality and a learned CLS token, read out.

    :math:`[\text{CLS}; P_1 x_1; \ldots; P_M x_M]` with :math:`x_m` the mean over valid tokens and
    :math:`P_m` a projection to ``num_tokens`` tokens, whose biases are the modality embedding. The
    cost does not depend on the lengths of the modalities. One modality: its tokens and CLS. Two or
    many: the same over the tokens of all. Absent modalities are never attended to; CLS always is,
    so that a sample with nothing else still has an output.

    The authors' code marks modalities by the positional encoding of their order, which would change
    with their names; its blocks normalise after each residual, with ReLU, and nothing normalises
    CLS before the readout. Here blocks are as in the other fusions.

    Reference: Rheude et al., Fusion or Confusion? Multimodal Complexity Is Not All You Need
    (arXiv:2512.22991).

    Attributes:
        out_dim: size of the output.
        width: size of a token; ``num_heads`` must divide it.
        num_tokens: number of tokens per modality.
        num_layers: number of transformer blocks.
        num_heads: number of attention heads.
        dropout: probability of zeroing a unit of a residual, or of the readout input, in
            training.
        modality_embeddings: whether each modality has a learned embedding.
        cls_token: whether a CLS token is read out; otherwise the mean of all valid tokens is.

    Example:
        >>> import jax
        >>> from mmjax.fusion import LateTransformerFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = LateTransformerFusion(out_dim=3, num_tokens=2)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["project_audio"]["kernel"].shape  # 2 tokens each
        (4, 2, 64)
    """

    level: ClassVar[str] = "token"
    removable: ClassVar[Removable] = {
        "modality_embeddings": {"modality_embeddings": False},
        "cls_token": {"cls_token": False},
    }
    out_dim: int
    width: int = 64
    num_tokens: int = 1
    num_layers: int = 2
    num_heads: int = 4
    dropout: float = 0.1
    modality_embeddings: bool = True
    cls_token: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        summaries = [self._summarise(n, tokens[n]) for n in sorted(tokens)]
        learn = lambda name: learned_tokens(self, name, (1, self.width), len(summaries[0].mask))
        cls = [learn("cls")] if self.cls_token else []
        joint = join(*cls, *summaries)
        blocks = [f"block_{i}" for i in range(self.num_layers)]
        for name in blocks:
            block = TransformerBlock(self.num_heads, dropout=self.dropout, name=name)
            joint = block(joint, train=train)
        if self.cls_token:
            show_rollout(self, blocks, token_sources(summaries, learned=1))
        read = joint.values[:, 0] if self.cls_token else masked_mean(joint)
        return read_out(self, LayerNorm(name="norm")(read), train=train)

    def _summarise(self, name: str, tokens: Tokens) -> Tokens:
        """The tokens that represent a modality: [batch, num_tokens, width]."""
        project = DenseGeneral(
            (self.num_tokens, self.width),
            use_bias=self.modality_embeddings,
            bias_init=normal(0.02),
            name=f"project_{name}",
        )
        values = project(masked_mean(tokens))
        present = tokens.mask.any(axis=1, keepdims=True)
        return Tokens(values, present.repeat(self.num_tokens, axis=1))
