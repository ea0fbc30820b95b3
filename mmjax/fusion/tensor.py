"""Tensor fusions: the outer product of all modalities, with full or factorised weights.

A constant one is appended to each modality's vector, so that the outer product also contains the
products of fewer modalities, each modality alone, and a bias.
"""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mmjax.errors import UsageError
from mmjax.fusion.building_blocks import project, read_out
from mmjax.layers import Dense, DenseGeneral
from mmjax.layers.initializers import normal
from mmjax.types import Outputs, Tokens

MAX_ENTRIES = 2**16
"""Largest number of entries of the outer product, per sample."""


class TensorFusion(nn.Module):
    r"""Applies an MLP to the outer product of all modalities.

    :math:`V \text{relu}(W \text{vec}([1; h_1] \otimes \cdots \otimes [1; h_M]))` with
    :math:`h_m = \tanh(P_m x_m + c_m)` of size ``size`` and :math:`x_m` the mean over valid tokens.
    One modality: an MLP with two hidden layers. Two or many: the outer product of all, with
    :math:`(\text{size} + 1)^M` entries, ``MAX_ENTRIES`` at most. An absent modality leaves its one,
    so that the entries without it remain; with none present only the constant entry does, which
    acts as the bias of the hidden layer. The paper has two hidden layers on the product; one is
    enough for the weights that ``LowRankFusion`` factorises.

    Reference: Zadeh et al., Tensor Fusion Network for Multimodal Sentiment Analysis
    (arXiv:1707.07250).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layer on the outer product.
        size: size of each modality's vector; None means 16, or less if the limit requires it.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import TensorFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = TensorFusion(out_dim=3, size=4)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["tensor"]["kernel"].shape  # (4 + 1) ** 2 products
        (25, 64)
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    size: int | None = None
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``.

        Raises:
            UsageError: the outer product would have more than ``MAX_ENTRIES`` entries.
        """
        vectors = project(tokens, self._size(len(tokens)))
        ones = jnp.ones_like(vectors[..., :1])
        outer, *others = jnp.unstack(jnp.concatenate([ones, vectors], axis=-1), axis=1)
        for other in others:
            outer = (outer[:, :, None] * other[:, None]).reshape(len(outer), -1)
        hidden = Dense(self.width, use_bias=False, name="tensor")(outer)
        return read_out(self, nn.relu(hidden), train=train)

    def _size(self, num_modalities: int) -> int:
        """Size of each modality's vector, within the limit."""
        fits = lambda size: (size + 1) ** num_modalities <= MAX_ENTRIES
        size = self.size or max(filter(fits, range(1, 17)), default=1)
        if not fits(size):
            entries = f"({size} + 1)**{num_modalities} entries"
            fix = "Take a smaller size, or low_rank."
            raise UsageError(
                "size", expected=f"{MAX_ENTRIES} entries at most", got=entries, fix=fix
            )
        return size


class LowRankFusion(nn.Module):
    r"""Tensor fusion with low-rank weights, without ever forming the outer product.

    :math:`V \text{relu}(\sum_r w_r \odot \prod_m (1 + W_m^r h_m))` with
    :math:`h_m = \tanh(P_m x_m + c_m)` and :math:`x_m` the mean over valid tokens. The bracket is
    the paper's :math:`W_m^r [1; h_m]` with the weights of the one set to ones: :math:`w_r`, here a
    vector, takes their place, and an absent modality is a factor of exactly one. The paper predicts
    with the sum itself; here it is a hidden layer as in ``TensorFusion``, which it equals at full
    ``rank``. One modality: an MLP with two hidden layers. Two or many: the product of all. With
    none present :math:`\sum_r w_r` remains.

    Reference: Liu et al., Efficient Low-rank Multimodal Fusion with Modality-Specific Factors
    (arXiv:1806.00064).

    Attributes:
        out_dim: size of the output.
        width: size of each modality's vector and of the hidden layer.
        rank: number of products that are summed.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import LowRankFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = LowRankFusion(out_dim=3, width=8, rank=2)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["factor_audio"]["kernel"].shape  # grows with the rank only
        (8, 2, 8)
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    rank: int = 4
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        shape = (self.rank, self.width)
        factor = lambda n: DenseGeneral(shape, use_bias=False, name=f"factor_{n}")
        vectors = jnp.unstack(project(tokens, self.width), axis=1)
        factors = [factor(n)(h) for n, h in zip(sorted(tokens), vectors, strict=True)]
        products = (1 + jnp.stack(factors)).prod(axis=0)  # [batch, rank, width]
        weights = self.param("weights", normal(self.rank**-0.5), shape)
        return read_out(self, nn.relu((weights[None] * products).sum(axis=1)), train=train)
