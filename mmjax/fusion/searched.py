"""Searched fusion: an architecture search decides which layers of which modality are fused."""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.errors import UsageError
from mmjax.fusion.building_blocks import JointDense, read_out
from mmjax.layers import Dense, masked_mean
from mmjax.types import Outputs, Tokens

ACTIVATIONS = (nn.relu, nn.sigmoid, nn.leaky_relu)
NUM_LEVELS = 3

Cell = tuple[int, ...]
"""A level for each modality, sorted by name, and the index of the layer's activation."""


class SearchedFusion(nn.Module):
    r"""Chains fusion layers, each on one depth of every modality; a search picks the depths.

    :math:`h_l = f_l(W_l [x_1^{(c_{l1})}; \ldots; x_M^{(c_{lM})}; h_{l-1}])`, read out after the
    last layer, with :math:`x_m^{(0)}` the mean over valid tokens and :math:`x_m^{(k)} =
    \text{relu}(W_{mk} x_m^{(k-1)} + b_{mk})`. A cell chooses the levels :math:`c_{lm}` and the
    activation :math:`f_l`. The paper takes hidden layers of pretrained unimodal networks; here an
    encoder exposes only its tokens, so the deeper features are the fusion's own. One modality: a
    chain on its features. Two or many: as above. An absent modality adds nothing to any layer; with
    none present only the biases remain.

    A comparison searches the cells before it trains: ``mmjax.comparison.cell_search``.

    Reference: Perez-Rua et al., MFAS: Multimodal Fusion Architecture Search (arXiv:1903.06496).

    Attributes:
        out_dim: size of the output.
        width: size of every hidden layer.
        dropout: probability of zeroing a unit of the last layer in training.
        cells: the architecture; if empty, one ReLU layer on the encoders' features.

    Example:
        >>> import jax
        >>> from mmjax.fusion import SearchedFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = SearchedFusion(out_dim=3, cells=((0, 1, 0), (2, 0, 1)))
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> [n for n in sorted(variables["params"]) if n.startswith("level")]
        ['level_1_audio', 'level_1_image', 'level_2_audio']
    """

    level: ClassVar[str] = "search"
    out_dim: int
    width: int = 64
    dropout: float = 0.1
    cells: tuple[Cell, ...] = ()

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        names = sorted(tokens)
        cells = self.cells or ((0,) * (len(names) + 1),)
        if any(len(cell) != len(names) + 1 for cell in cells):
            got = f"{cells} for {', '.join(names)}"
            raise UsageError(
                "cells", expected="a level per modality and an activation in each", got=got
            )
        deepest = {n: max(cell[i] for cell in cells) for i, n in enumerate(names)}
        features = {n: self._features(n, tokens[n], deepest[n]) for n in names}
        hidden: Any = None
        for i, (*levels, activation) in enumerate(cells):
            read = {n: features[n][k] for n, k in zip(names, levels, strict=True)}
            joint = JointDense(self.width, name=f"cell_{i}")(read)
            if i:
                joint += Dense(self.width, use_bias=False, name=f"chain_{i}")(hidden)
            hidden = ACTIVATIONS[activation](joint)
        return read_out(self, hidden, train=train)

    def _features(self, name: str, tokens: Tokens, deepest: int) -> list[jax.Array]:
        """What a cell may choose from: [batch, features], then [batch, width] per level."""
        features = [masked_mean(tokens)]
        for k in range(deepest):
            hidden = nn.relu(Dense(self.width, name=f"level_{k + 1}_{name}")(features[-1]))
            features.append(jnp.where(tokens.mask.any(axis=1, keepdims=True), hidden, 0))
        return features
