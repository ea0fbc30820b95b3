"""EmbraceNet: each coordinate of the joint vector comes from one modality, drawn at random."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.fusion.building_blocks import project, read_out
from mmjax.layers import is_present, promise
from mmjax.types import Outputs, Tokens


class EmbraceNetFusion(nn.Module):
    r"""Draws every coordinate of the joint vector from one of the modalities present.

    :math:`V \sum_m r_m \odot h_m` with docked vectors :math:`h_m = \tanh(W_m x_m + b_m)`,
    :math:`x_m` the mean over valid tokens, and :math:`r_m` binary masks of which exactly one is set
    in each coordinate. In training each modality present is equally likely to be drawn; in
    evaluation :math:`r_m` is its expectation, so that predictions are deterministic (the paper
    samples then too). One modality: a plain MLP. Two or many: modality dropout per coordinate. An
    absent modality is never drawn; with none present only the readout bias remains.

    Reference: Choi and Lee, EmbraceNet: A Robust Deep Learning Architecture for Multimodal
    Classification (arXiv:1904.09078).

    Attributes:
        out_dim: size of the output.
        width: size of the docked vectors.
        dropout: probability of zeroing a unit of the joint vector in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import EmbraceNetFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = EmbraceNetFusion(out_dim=3)
        >>> outputs, variables = fusion.init_with_output(key, tokens, train=False)
        >>> drawn = fusion.apply(variables, tokens, train=True, rngs={"dropout": key})
        >>> bool((drawn.fused == outputs.fused).all())  # in evaluation, the expectation
        False
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        present = is_present(tokens)[..., None]
        expected = present / jnp.maximum(present.sum(axis=1, keepdims=True), 1)
        weights = self._draw(present) if train else expected
        promise(self, "selection weights sum to one", weights.sum(axis=1) - present.any(axis=1))
        embraced = (weights * project(tokens, self.width)).sum(axis=1)
        return read_out(self, embraced, train=train)

    def _draw(self, present: jax.Array) -> jax.Array:
        """Draws one of the modalities present per coordinate, one-hot: [batch, modality, width]."""
        shape = (*present.shape[:2], self.width)
        scores = jax.random.uniform(self.make_rng("dropout"), shape)
        winner = jnp.where(present, scores, -1).argmax(axis=1)
        chosen = jax.nn.one_hot(winner, present.shape[1], axis=1)
        return jnp.where(present, chosen, 0)
