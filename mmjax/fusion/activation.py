"""Activation-map fusion: a squashed product of the modalities beside the modalities themselves."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.building_blocks import JointDense, project, read_out
from mmjax.layers import Dense, is_present
from mmjax.types import Outputs, Tokens


class ActivationFusion(nn.Module):
    r"""Concatenates the modalities with the squashed product of all of them, and applies an MLP.

    :math:`[\text{sigmoid}(\tanh(h_1 \odot \cdots \odot h_M)); h_1; \ldots; h_M]` with
    :math:`h_m = \tanh(W_m x_m + b_m)` and :math:`x_m` the mean over valid tokens. One modality:
    itself and its squashed self. Two or many: the product is over those present. The paper
    concatenates a single main modality; here any modality may be absent, so all are concatenated.
    (fusilli's code, with the same squashed product, has one main modality, and no tanh in
    :math:`h_m`.) An absent modality is a factor of one in the product and zeros beside it; with
    none present the product is zeros too, and only the MLP's biases remain.

    Reference: Chen et al., MDFNet: Application of Multimodal Fusion Method Based on Skin Image and
    Clinical Data to Skin Cancer Classification (Journal of Cancer Research and Clinical Oncology
    2023).

    Attributes:
        out_dim: size of the output.
        width: size of the space in which the modalities are multiplied, and of the hidden layer.
        dropout: probability of zeroing a hidden unit in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import ActivationFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = ActivationFusion(out_dim=3)
        >>> _, variables = jax.eval_shape(lambda: fusion.init_with_output(key, tokens, train=False))
        >>> sorted(variables["params"])
        ['joint', 'product', 'project_audio', 'project_image', 'readout']
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        projected, present = project(tokens, self.width), is_present(tokens)[..., None]
        product = jnp.where(present, projected, 1).prod(axis=1)
        product = jnp.where(present.any(axis=1), nn.sigmoid(jnp.tanh(product)), 0)
        vectors = dict(zip(sorted(tokens), projected.swapaxes(0, 1), strict=True))
        joint = JointDense(self.width, name="joint")(vectors)
        joint += Dense(self.width, use_bias=False, name="product")(product)
        return read_out(self, nn.relu(joint), train=train)
