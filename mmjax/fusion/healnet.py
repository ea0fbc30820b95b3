"""HEALNet: latents that read one modality after the other, and skip those that are absent."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.building_blocks import embed, read_out
from mmjax.layers import is_present, learned_tokens
from mmjax.layers.blocks import TransformerBlock
from mmjax.layers.normalisation import LayerNorm
from mmjax.types import Outputs, Removable, Tokens


class HEALNetFusion(nn.Module):
    r"""Learned latents attend to each modality in turn, then to each other, several times over.

    In layer :math:`i`, :math:`z \gets \text{Read}_{im}(z, t_m)` for every modality :math:`m`
    present, sorted by name, and then :math:`z \gets \text{Self}_i(z)`. The output reads the mean of
    the latents. Unlike a Perceiver, a layer reads each modality with weights of its own, and the
    later ones through what it found in those before. One modality: the latents attend to it alone.
    Two or many: one block more per layer for each. For an absent modality the whole block is
    skipped, so the latents are as if it were not given. With none present they attend to each other
    alone, and the output is the same for all such samples.

    The authors' code gates SELU layers, halves the temperature of the softmax and appends Fourier
    features of positions; here the blocks and the positions are those of the other fusions.

    Reference: Hemker et al., HEALNet: Multimodal Fusion for Heterogeneous Biomedical Data
    (arXiv:2311.09115).

    Attributes:
        out_dim: size of the output.
        width: size of a token and of a latent; ``num_heads`` must divide it.
        num_latents: number of latents.
        num_layers: number of times that the latents read all modalities.
        num_heads: number of attention heads.
        dropout: probability of zeroing a unit of a residual, or of the readout input, in training.
        positions: whether tokens carry their positions.

    Example:
        >>> import jax
        >>> from mmjax.fusion import HEALNetFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = HEALNetFusion(out_dim=3, num_layers=1)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> [n for n in sorted(variables["params"]) if n.endswith("_0")]
        ['read_audio_0', 'read_image_0', 'self_0']
    """

    level: ClassVar[str] = "token"
    removable: ClassVar[Removable] = {"positions": {"positions": False}}
    out_dim: int
    width: int = 64
    num_latents: int = 8
    num_layers: int = 2
    num_heads: int = 4
    dropout: float = 0.1
    positions: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        block = lambda name: TransformerBlock(self.num_heads, dropout=self.dropout, name=name)
        present = is_present(tokens)
        latents = learned_tokens(self, "latents", (self.num_latents, self.width), len(present))
        embedded = embed(tokens, self.width, positions=self.positions)
        for i in range(self.num_layers):
            for m, (n, own) in enumerate(embedded.items()):
                read = block(f"read_{n}_{i}")(latents, own, train=train).values
                here = present[:, m, None, None]
                latents = latents._replace(values=jnp.where(here, read, latents.values))
            latents = block(f"self_{i}")(latents, train=train)
        fused = LayerNorm(name="norm")(latents.values.mean(axis=1))
        return read_out(self, fused, train=train)
