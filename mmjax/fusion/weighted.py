"""Weighted sums of one vector per modality, with learned or sample-dependent weights."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mmjax.fusion.building_blocks import (
    JointDense,
    ModalityWeights,
    project,
    promise_weights,
    read_out,
)
from mmjax.layers import is_present, masked_mean, masked_softmax, show_weights
from mmjax.types import Outputs, Tokens


class WeightedFusion(nn.Module):
    r"""Weights each modality by one learned scalar, the same for every sample.

    :math:`V \sum_m \text{softmax}(a)_m h_m` with :math:`h_m = \tanh(W_m x_m + b_m)` and :math:`x_m`
    the mean over valid tokens; :math:`a` starts at zero, so training starts from the mean. One
    modality: its weight is one. Two or many: the softmax is over the modalities present, which
    share the weight of an absent one; with none present only the readout bias remains.

    Reference: Tan et al., EfficientDet: Scalable and Efficient Object Detection (arXiv:1911.09070).

    Attributes:
        out_dim: size of the output.
        width: size of the space in which the modalities are mixed.
        dropout: probability of zeroing a unit of the mixture in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import WeightedFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = WeightedFusion(out_dim=3)
        >>> _, variables = fusion.init_with_output(key, tokens, train=False)
        >>> jax.tree.map(float, variables["params"]["weights"])  # training starts from the mean
        {'weight_audio': 0.0, 'weight_image': 0.0}
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        weights = ModalityWeights(name="weights")(tokens)
        mixed = (weights[..., None] * project(tokens, self.width)).sum(axis=1)
        return read_out(self, mixed, train=train)


class AttentionPoolFusion(nn.Module):
    r"""Weights each modality by attention, with scores computed from all modalities.

    :math:`V \sum_m \text{softmax}(s)_m h_m` with :math:`s_m = u_m [x_1; \ldots; x_M] + c_m`,
    :math:`h_m = \tanh(W_m x_m + b_m)` and :math:`x_m` the mean over valid tokens. One modality: its
    weight is one. Two or many: the softmax is over the modalities present. An absent one has zero
    weight and does not affect the scores; with none present only the readout bias remains.

    Reference: Hori et al., Attention-Based Multimodal Fusion for Video Description
    (arXiv:1701.03126).

    Attributes:
        out_dim: size of the output.
        width: size of the space in which the modalities are mixed.
        dropout: probability of zeroing a unit of the mixture in training.

    Example:
        >>> import jax
        >>> from mmjax.fusion import AttentionPoolFusion
        >>> from mmjax.testing import make_tokens
        >>> key, tokens = jax.random.key(0), make_tokens({"audio": (3, 4), "image": (2, 5)})
        >>> fusion = AttentionPoolFusion(out_dim=3)
        >>> _, variables = fusion.init_with_output(key, tokens, train=False)
        >>> _, state = fusion.apply(variables, tokens, train=False, mutable="intermediates")
        >>> (weights,) = state["intermediates"]["modality_weights"]
        >>> weights.sum(axis=1).round(3).tolist()  # of audio and image, per sample
        [1.0, 1.0, 1.0, 1.0]
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        pooled = {n: masked_mean(t) for n, t in tokens.items()}
        scores = [JointDense(1, name=f"score_{n}")(pooled) for n in sorted(tokens)]
        present = is_present(tokens)
        weights = masked_softmax(jnp.concatenate(scores, axis=1), present, axis=1)
        promise_weights(self, weights, present)
        show_weights(self, weights)
        mixed = (weights[..., None] * project(tokens, self.width)).sum(axis=1)
        return read_out(self, mixed, train=train)
