"""Multiplicative interactions: each further modality parameterises a layer applied to the others.

The layer is affine in :math:`y`, the interaction of the modalities before, and its weights and
biases are affine in :math:`h`, the next modality. The fusions differ in how many weights that layer
has.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.fusion.building_blocks import fold_present, project, read_out
from mmjax.layers import Dense, DenseGeneral
from mmjax.layers.initializers import normal, variance_scaling
from mmjax.types import Outputs, Tokens


class MatrixInteractionFusion(nn.Module):
    r"""Each further modality generates the full weight matrix applied to the modalities before it.

    :math:`y_m = (T_m h_m + G_m) y + S_m h_m + b_m` with :math:`y` the interaction of the modalities
    before, :math:`T_m` a tensor with three axes of size ``width`` and
    :math:`h_m = \tanh(W_m x_m + c_m)` of the mean over valid tokens, projected to keep the tensor
    small. One modality: a plain MLP. Two: the paper's layer, of the second by name on the first.
    Many: the same, folded over the sorted names. An absent modality is skipped; with none present
    only the readout bias remains.

    Reference: Jayakumar et al., Multiplicative Interactions and Where to Find Them (ICLR 2020).

    Attributes:
        out_dim: size of the output.
        width: size of the space in which modalities interact.
        dropout: probability of zeroing a unit of the interaction in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import MatrixInteractionFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = MatrixInteractionFusion(out_dim=3, width=8)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["gain_image"]["kernel"].shape
        (8, 8, 8)
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        # The fan-in is the product of two widths.
        init = variance_scaling(1 / self.width)
        gain = normal(self.width**-0.5)

        def combine(n, y, h):
            shape = (self.width, self.width)
            weights = DenseGeneral(shape, kernel_init=init, bias_init=gain, name=f"gain_{n}")(h)
            return jnp.einsum("bi,bij->bj", y, weights) + Dense(self.width, name=f"shift_{n}")(h)

        fused = fold_present(combine, project(tokens, self.width), tokens)
        return read_out(self, fused, train=train)


class VectorInteractionFusion(nn.Module):
    r"""Each further modality generates a gain and a shift per coordinate of those before it.

    :math:`y_m = (G_m h_m + g_m) \odot y + S_m h_m + b_m` with :math:`y` the interaction of the
    modalities before and :math:`h_m = \tanh(W_m x_m + c_m)` of the mean over valid tokens;
    :math:`g_m` starts at one. This is the diagonal case of the matrix interaction. One modality: a
    plain MLP. Two: the paper's layer, of the second by name on the first. Many: the same, folded
    over the sorted names. An absent modality is skipped; with none present only the readout bias
    remains.

    Reference: Jayakumar et al., Multiplicative Interactions and Where to Find Them (ICLR 2020).

    Attributes:
        out_dim: size of the output.
        width: size of the space in which modalities interact.
        dropout: probability of zeroing a unit of the interaction in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import VectorInteractionFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = VectorInteractionFusion(out_dim=3, width=8)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["gain_image"]["kernel"].shape
        (8, 8)
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        fused = fold_present(_scale_and_shift(self.width), project(tokens, self.width), tokens)
        return read_out(self, fused, train=train)


class ScalarInteractionFusion(nn.Module):
    r"""Each further modality generates a single gain and a single shift for those before it.

    :math:`y_m = (G_m h_m + g_m) y + (S_m h_m + b_m) \mathbf{1}` with both brackets scalars,
    :math:`y` the interaction of the modalities before and
    :math:`h_m = \tanh(W_m x_m + c_m)` of the mean over
    valid tokens; :math:`g_m` starts at one. One modality: a plain MLP. Two: the paper's layer, of
    the second by name on the first; only the first contributes more than two numbers. Many: the
    same, folded over the sorted names. An absent modality is skipped; with none present only the
    readout bias remains.

    Reference: Jayakumar et al., Multiplicative Interactions and Where to Find Them (ICLR 2020).

    Attributes:
        out_dim: size of the output.
        width: size of the space in which modalities interact.
        dropout: probability of zeroing a unit of the interaction in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import ScalarInteractionFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = ScalarInteractionFusion(out_dim=3, width=8)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["gain_image"]["kernel"].shape
        (8, 1)
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        fused = fold_present(_scale_and_shift(1), project(tokens, self.width), tokens)
        return read_out(self, fused, train=train)


def _scale_and_shift(size: int) -> Callable[[str, jax.Array, jax.Array], jax.Array]:
    """``(name, y, h) -> gain(h) o y + shift(h)``, both [batch, size], in the calling module."""
    one = nn.initializers.ones_init()
    gain = lambda n, h: Dense(size, bias_init=one, name=f"gain_{n}")(h)
    shift = lambda n, h: Dense(size, name=f"shift_{n}")(h)
    return lambda n, y, h: gain(n, h) * y + shift(n, h)
