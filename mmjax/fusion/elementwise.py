"""Element-wise fusions: projections into a common space, reduced without weights.

The tanh projections are the only hidden layer, and the order of the modalities does not matter.
"""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.building_blocks import multiply_present, project, read_out
from mmjax.layers import is_present
from mmjax.types import Outputs, Tokens


class SumFusion(nn.Module):
    r"""Adds the projections of the modalities present, then reads out.

    :math:`V \sum_m h_m` with :math:`h_m = \tanh(W_m x_m + b_m)` and :math:`x_m` the mean over valid
    tokens. One modality: a plain MLP. Two or many: the sum. An absent modality adds zero; with none
    present only the readout bias remains.

    Reference: Kiela et al., Efficient Large-Scale Multi-Modal Classification (arXiv:1802.02892).

    Attributes:
        out_dim: size of the output.
        width: size of the space in which the modalities are added.
        dropout: probability of zeroing a unit of the sum in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import SumFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = SumFusion(out_dim=3)
        >>> outputs, _ = fusion.init_with_output(key, tokens, train=False)
        >>> bool(abs(outputs.fused).max() <= 2)  # a sum of two tanh
        True
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        mixed = project(tokens, self.width).sum(axis=1)
        return read_out(self, mixed, train=train)


class MeanFusion(nn.Module):
    r"""Averages the projections of the modalities present, then reads out.

    :math:`V (1 / |\text{present}|) \sum_m h_m` with :math:`h_m = \tanh(W_m x_m + b_m)` and
    :math:`x_m` the mean over valid tokens. One modality: a plain MLP. Two or many: the mean of
    those present, so that its scale does not depend on how many are absent; with none present only
    the readout bias remains.

    Attributes:
        out_dim: size of the output.
        width: size of the space in which the modalities are averaged.
        dropout: probability of zeroing a unit of the mean in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import MeanFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = MeanFusion(out_dim=3)
        >>> outputs, _ = fusion.init_with_output(key, tokens, train=False)
        >>> bool(abs(outputs.fused).max() <= 1)  # whatever the number of modalities
        True
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        count = jnp.maximum(is_present(tokens).sum(axis=1, keepdims=True), 1)
        mixed = project(tokens, self.width).sum(axis=1) / count
        return read_out(self, mixed, train=train)


class MaxFusion(nn.Module):
    r"""Takes the element-wise maximum over the modalities present, then reads out.

    :math:`V \max_m h_m` with :math:`h_m = \tanh(W_m x_m + b_m)` and :math:`x_m` the mean over valid
    tokens. One modality: a plain MLP. Two or many: the largest of those present in each coordinate.
    An absent modality is never the maximum; with none present the maximum is set to zero and only
    the readout bias remains.

    Reference: Kiela et al., Efficient Large-Scale Multi-Modal Classification (arXiv:1802.02892).

    Attributes:
        out_dim: size of the output.
        width: size of the space in which the modalities compete.
        dropout: probability of zeroing a unit of the maximum in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import MaxFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = MaxFusion(out_dim=3, width=8)
        >>> outputs, _ = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> outputs.fused.shape
        (4, 8)
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        projected, present = project(tokens, self.width), is_present(tokens)[..., None]
        lowest = jnp.where(present, projected, -1)  # tanh is above -1
        mixed = jnp.where(present.any(axis=1), lowest.max(axis=1), 0)
        return read_out(self, mixed, train=train)


class ProductFusion(nn.Module):
    r"""Multiplies the projections of the modalities present, then reads out.

    :math:`V \prod_m h_m` with :math:`h_m = \tanh(W_m x_m + b_m)` and :math:`x_m` the mean over
    valid tokens. One modality: a plain MLP. Two or many: the element-wise product. An absent
    modality is a factor of one; with none present the product is set to zero and only the readout
    bias remains.

    Reference: Antol et al., VQA: Visual Question Answering (arXiv:1505.00468).

    Attributes:
        out_dim: size of the output.
        width: size of the space in which the modalities are multiplied.
        dropout: probability of zeroing a unit of the product in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import ProductFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = ProductFusion(out_dim=3)
        >>> tokens["image"] = tokens["image"]._replace(mask=tokens["image"].mask & False)  # absent
        >>> outputs, variables = fusion.init_with_output(key, tokens, train=False)
        >>> alone = fusion.apply(variables, {"audio": tokens["audio"]}, train=False)
        >>> bool((alone.prediction == outputs.prediction).all())  # a factor of one
        True
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        mixed = multiply_present(project(tokens, self.width), tokens)
        return read_out(self, mixed, train=train)
