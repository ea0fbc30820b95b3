"""Refiner fusion: the fused vector must be able to give back every modality."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.fusion.building_blocks import JointDense, read_out
from mmjax.fusion.latent import decoders, targets
from mmjax.layers import Dense, is_present, masked_mean, mean_where
from mmjax.types import Outputs, Tokens


class ReFNetFusion(nn.Module):
    """Fuses with an MLP, and takes the modalities out of the fused vector again.

    ``h = MLP([x_1; ..; x_M])`` is read out, and refined by one decoder per modality, whose loss is
    ``mean_m 1 - cos(D_m(h), x_m)``: the fused vector is responsible for all that went into it. The
    multi-similarity loss that the paper adds needs the classes, which a fusion does not see, and is
    left out. One modality: an MLP that must not forget its input. Two or many: one refiner for
    each. An absent modality adds nothing to the fused vector, and no refiner is asked for it.

    Reference: Sankaran et al., Multimodal Fusion Refiner Networks (arXiv:2104.03435).

    Attributes:
        out_dim: size of the output.
        width: size of the fused vector and of the hidden layers.
        refiner_weight: weight of the refiners' loss.
        dropout: probability of zeroing a hidden unit, or of what is read, in training.
    """

    level: ClassVar[str] = "latent"
    out_dim: int
    width: int = 64
    refiner_weight: float = 0.1
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        pooled = {n: masked_mean(t) for n, t in tokens.items()}
        hidden = nn.relu(JointDense(self.width, name="joint")(pooled))
        hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
        fused = nn.relu(Dense(self.width, name="fuse")(hidden))
        refine, want = decoders(tokens, self.width), targets(tokens)
        cosines = [_cosine(refine[n](fused, train=False), want[n]) for n in want]
        loss = mean_where(is_present(tokens), 1 - jnp.stack(cosines, axis=1))
        aux = {"refiner": self.refiner_weight * loss}
        return read_out(self, fused, train=train)._replace(aux=aux)


def _cosine(x: jax.Array, y: jax.Array) -> jax.Array:
    """Cosine of the angle between vectors [batch, features], zero where one is zero: [batch]."""
    squares = jnp.square(x).sum(axis=-1) * jnp.square(y).sum(axis=-1)
    safe = jnp.where(squares > 0, squares, 1)  # the root has no gradient at zero
    return (x * y).sum(axis=-1) / jnp.sqrt(safe)
