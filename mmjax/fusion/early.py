"""Early fusion: a single network on the inputs themselves."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn

from mmjax.fusion.building_blocks import JointDense, read_out
from mmjax.layers import Dense, zero_masked
from mmjax.types import Outputs, Tokens


class EarlyFusion(nn.Module):
    r"""Flattens the tokens of every modality and feeds all of them to one joint MLP.

    The tokens come raw, from encoders without parameters, so all depth is joint. Tokens keep their
    position in the flattened vector; masked ones are zeros. One modality: an MLP on its flattened
    tokens. Two or many: :math:`f([\text{vec}(x_1); \ldots; \text{vec}(x_M)])`, with the first layer
    written as one kernel per modality. An absent modality adds nothing to the first layer.

    Reference: Barnum et al., On the Benefits of Early Fusion in Multimodal Representation Learning
    (arXiv:2011.07191).

    Attributes:
        out_dim: size of the output.
        width: size of the hidden layers.
        num_layers: number of hidden layers.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import EarlyFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = EarlyFusion(out_dim=3)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> variables["params"]["joint"]["audio"]["kernel"].shape  # 3 tokens x 4 features
        (12, 64)
    """

    level: ClassVar[str] = "input"
    out_dim: int
    width: int = 64
    num_layers: int = 2
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        values = {n: zero_masked(t).values for n, t in tokens.items()}
        flat = {n: x.reshape(len(x), -1) for n, x in values.items()}  # [batch, length * features]
        hidden = nn.relu(JointDense(self.width, name="joint")(flat))
        for i in range(1, self.num_layers):
            hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
            hidden = nn.relu(Dense(self.width, name=f"hidden_{i}")(hidden))
        return read_out(self, hidden, train=train)
