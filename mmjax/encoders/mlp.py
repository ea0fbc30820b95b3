"""A multilayer perceptron on the flattened input."""

import flax.linen as nn
import jax

from mmjax.layers import MLP, all_valid
from mmjax.types import Tokens


class MLPEncoder(nn.Module):
    """Flattens the input and maps it to a single token.

    Reference: Rumelhart et al., Learning representations by back-propagating errors (Nature 1986).

    Attributes:
        widths: output size of each layer; the last is that of the token.

    Example:
        >>> import jax
        >>> from mmjax.encoders import MLPEncoder
        >>> key, vectors = jax.random.key(0), jax.numpy.ones((2, 13))
        >>> encoder = MLPEncoder(widths=(32, 16))
        >>> tokens, _ = jax.eval_shape(lambda: encoder.init_with_output(key, vectors, train=False))
        >>> tokens.values.shape  # one token
        (2, 1, 16)
    """

    widths: tuple[int, ...] = (128, 64)

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Tokens:
        """Maps [batch, ...] to tokens [batch, 1, widths[-1]]."""
        hidden = MLP(self.widths)(x.reshape(len(x), -1), train=train)
        return all_valid(nn.relu(hidden)[:, None])
