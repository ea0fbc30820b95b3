"""Hetero-modal fusion: the mean and the variance over whichever modalities are present."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.building_blocks import JointDense, project, read_out
from mmjax.layers import is_present
from mmjax.types import Outputs, Removable, Tokens


class HeMISFusion(nn.Module):
    r"""Reads out what the modalities present have in common, and how far they disagree.

    :math:`V \text{relu}(W [\text{mean}; \text{variance}])` of :math:`h_m = \tanh(W_m x_m + b_m)`
    over the modalities present, coordinate by coordinate, with :math:`x_m` the mean over valid
    tokens and the variance divided by their number less one. The paper has convolutions with ReLU
    in place of both layers, and drops modalities in training, as the method ``modality_dropout``
    does.

    One modality, or a single one present: the variance is zero, as in the paper. Two: half of their
    squared difference. Many: likewise in any order. With none present the layer sees zeros.

    Reference: Havaei et al., HeMIS: Hetero-Modal Image Segmentation (arXiv:1607.05194).

    Attributes:
        out_dim: size of the output.
        width: size of the space of the moments, and of the hidden layer.
        dropout: probability of zeroing a hidden unit in training.
        variance: whether the variance is read out beside the mean.

    Example:
        >>> import jax
        >>> from mmjax.fusion import HeMISFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = HeMISFusion(out_dim=3)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> sorted(variables["params"]["joint"])
        ['bias', 'mean', 'variance']
    """

    level: ClassVar[str] = "feature"
    removable: ClassVar[Removable] = {"variance": {"variance": False}}
    out_dim: int
    width: int = 64
    dropout: float = 0.1
    variance: bool = True

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        projected = project(tokens, self.width)
        present = is_present(tokens)[..., None]  # [batch, modality, 1]
        count = present.sum(axis=1)
        mean = projected.sum(axis=1) / jnp.maximum(count, 1)
        moments = {"mean": mean}
        if self.variance:
            squares = jnp.where(present, jnp.square(projected - mean[:, None]), 0)
            moments["variance"] = squares.sum(axis=1) / jnp.maximum(count - 1, 1)
        hidden = nn.relu(JointDense(self.width, name="joint")(moments))
        return read_out(self, hidden, train=train)
