"""Dense layers, formulated to suit the backend.

``Dense`` and ``DenseGeneral`` are those of Flax, with initialisers and products of their own.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
from jax import lax

from mmjax.layers import kernels
from mmjax.layers.convolution import conv
from mmjax.layers.initializers import lecun_normal, zeros


def _dot_general(x, kernel, dimension_numbers, precision=None):
    """Contracts the last dimensions of x, [batch, ..., features], with the first of a kernel.

    Written as a matrix product: on CPU the gradient of a product with more dimensions copies both
    operands. With kernels, tokens go through a convolution with a window of one.
    """
    summed = len(dimension_numbers[0][0])
    leading, out = x.shape[:-summed], kernel.shape[summed:]
    vectors = x.reshape(*leading, -1)
    matrix = kernel.reshape(vectors.shape[-1], -1)
    if vectors.ndim == 3 and kernels.usable(vectors, matrix[None]):
        y = conv(vectors, matrix[None], padding="VALID")
    else:
        rows = vectors.reshape(-1, vectors.shape[-1])
        y = lax.dot_general(rows, matrix, (((1,), (0,)), ((), ())), precision=precision)
    return y.reshape(*leading, *out)


_AS_FLAX: dict[str, Any] = {
    "kernel_init": lecun_normal,
    "bias_init": zeros,
    "dot_general": _dot_general,
}
Dense: Callable[..., nn.Dense] = partial(nn.Dense, **_AS_FLAX)
DenseGeneral: Callable[..., nn.DenseGeneral] = partial(nn.DenseGeneral, **_AS_FLAX)


class MLP(nn.Module):
    """Dense layers, with ReLU and dropout after all but the last.

    Attributes:
        widths: output size of each layer.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.layers import MLP
        >>> key, x = jax.random.key(0), jax.numpy.ones((2, 5))
        >>> mlp = MLP((16, 3), dropout=0.1)
        >>> y, variables = jax.eval_shape(lambda: mlp.init_with_output(key, x, train=False))
        >>> y.shape, sorted(variables["params"])
        ((2, 3), ['Dense_0', 'Dense_1'])
    """

    widths: Sequence[int]
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps [..., features] to [..., widths[-1]]."""
        *hidden, last = self.widths
        for width in hidden:
            x = nn.relu(Dense(width)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return Dense(last)(x)
