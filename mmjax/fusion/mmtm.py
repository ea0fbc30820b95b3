"""Multimodal transfer: all modalities together reweight the channels of each."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.building_blocks import JointDense
from mmjax.layers import Dense, masked_mean, zero_masked
from mmjax.types import Outputs, Removable, Tokens


class MMTMFusion(nn.Module):
    r"""Squeezes all modalities into one vector that excites the channels of each one's tokens.

    After each layer of the streams, :math:`A_m = \text{relu}(P_m A_m + b_m)` per token, :math:`A_m
    \gets 2 \text{sigmoid}(W_m \text{relu}(W [\text{mean}(A_1); \ldots; \text{mean}(A_M)])) \odot
    A_m`; finally the means over valid tokens are concatenated and read out. The squeezed vector has
    half the width, a quarter of the channels of two modalities as in the paper, whatever their
    number; in the authors' code it is twice as wide, and the gate lacks the factor 2, which keeps
    channels as they are at first. One modality: squeeze and excitation. Two: the paper. Many: the
    same, over all. An absent modality is zeros in the squeeze and at the readout; with none present
    only the readout bias remains.

    Reference: Joze et al., MMTM: Multimodal Transfer Module for CNN Fusion (arXiv:1911.08670).

    Attributes:
        out_dim: size of the output.
        width: number of channels of each stream.
        num_layers: number of layers per stream, each followed by a transfer.
        dropout: probability of zeroing a unit of the readout input in training.
        transfer: whether modalities reweight each other's channels.

    Example:
        >>> import jax
        >>> from mmjax.fusion import MMTMFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = MMTMFusion(out_dim=3, width=8)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["squeeze_0"]["audio"]["kernel"].shape  # half the width
        (8, 4)
    """

    level: ClassVar[str] = "token"
    removable: ClassVar[Removable] = {"transfer": {"transfer": False}}
    out_dim: int
    width: int = 64
    num_layers: int = 2
    dropout: float = 0.1
    transfer: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        streams = {n: zero_masked(tokens[n]) for n in sorted(tokens)}
        for i in range(self.num_layers):
            layer = lambda n, x, i=i: nn.relu(Dense(self.width, name=f"stream_{i}_{n}")(x))
            streams = {n: Tokens(layer(n, t.values), t.mask) for n, t in streams.items()}
            streams = self._transfer(i, streams) if self.transfer else streams
        pooled = {n: masked_mean(t) for n, t in streams.items()}
        drop = nn.Dropout(self.dropout, deterministic=not train)
        dropped = {n: drop(x) for n, x in pooled.items()}
        fused = jnp.concatenate(list(pooled.values()), axis=-1)
        return Outputs(JointDense(self.out_dim, name="readout")(dropped), fused=fused)

    def _transfer(self, i: int, streams: Mapping[str, Tokens]) -> dict[str, Tokens]:
        """The streams, with each channel scaled by a factor between 0 and 2."""
        pooled = {n: masked_mean(t) for n, t in streams.items()}
        squeezed = nn.relu(JointDense(self.width // 2, name=f"squeeze_{i}")(pooled))
        gate = lambda n: 2 * nn.sigmoid(Dense(self.width, name=f"excite_{i}_{n}")(squeezed))
        return {n: Tokens(gate(n)[:, None] * t.values, t.mask) for n, t in streams.items()}
