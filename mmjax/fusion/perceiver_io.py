"""Perceiver IO: a few learned latents attend to all inputs, and a query attends to them."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn

from mmjax.fusion.building_blocks import embed, read_out, token_sources
from mmjax.layers import is_present, join, learned_tokens
from mmjax.layers.blocks import TransformerBlock, show_rollout
from mmjax.layers.normalisation import LayerNorm
from mmjax.types import Outputs, Removable, Tokens


class PerceiverIOFusion(nn.Module):
    r"""Learned latents attend to all tokens, then to each other; a learned query reads them out.

    :math:`z \gets \text{Encode}(z, [t_1 + e_1; \ldots; t_M + e_M])`, ``num_layers`` times
    :math:`z \gets \text{Process}(z)`, and :math:`o = \text{Decode}(q, z)`: cross-attention,
    self-attention, cross-attention. The cost is linear in the number of tokens. One modality: the
    latents attend to it alone. Two or many: to all their tokens together, with modality embeddings
    :math:`e_m` to tell them apart. Absent modalities and masked tokens are not attended to; with
    none present the latents attend to nothing, and the output is the same for all such samples.
    What is read out is normalised once more than in the authors' code, as after every chain of
    pre-norm blocks here.

    Reference: Jaegle et al., Perceiver IO: A General Architecture for Structured Inputs & Outputs
    (arXiv:2107.14795).

    Attributes:
        out_dim: size of the output.
        width: size of a token and of a latent; ``num_heads`` must divide it.
        num_latents: number of latents.
        num_layers: number of self-attention blocks on the latents.
        num_heads: number of attention heads.
        dropout: probability of zeroing a unit of a residual, or of the readout input, in
            training.
        positions: whether tokens carry their positions.
        modality_embeddings: whether each modality has a learned embedding.

    Example:
        >>> import jax
        >>> from mmjax.fusion import PerceiverIOFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = PerceiverIOFusion(out_dim=3, num_latents=16)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["latents"].shape  # however many tokens there are
        (16, 64)
    """

    level: ClassVar[str] = "token"
    removable: ClassVar[Removable] = {
        "positions": {"positions": False},
        "modality_embeddings": {"modality_embeddings": False},
    }
    out_dim: int
    width: int = 64
    num_latents: int = 8
    num_layers: int = 1
    num_heads: int = 4
    dropout: float = 0.1
    positions: bool = True
    modality_embeddings: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        learn = lambda name, length: learned_tokens(
            self, name, (length, self.width), len(is_present(tokens))
        )
        block = lambda name: TransformerBlock(self.num_heads, dropout=self.dropout, name=name)
        parts = embed(
            tokens, self.width, positions=self.positions, modalities=self.modality_embeddings
        ).values()
        latents = learn("latents", self.num_latents)
        latents = block("encode")(latents, join(*parts), train=train)
        processes = [f"process_{i}" for i in range(self.num_layers)]
        for name in processes:
            latents = block(name)(latents, train=train)
        read = block("decode")(learn("query", 1), latents, train=train)
        show_rollout(self, ["encode", *processes, "decode"], token_sources(parts))
        return read_out(self, LayerNorm(name="norm")(read.values[:, 0]), train=train)
