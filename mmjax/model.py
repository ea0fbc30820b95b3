"""The one model: encode each modality, hide what is absent, fuse."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.layers import as_float
from mmjax.types import Outputs, Tokens


class MultimodalModel(nn.Module):
    """Encoders and a fusion; with one encoder it is that modality's unimodal baseline.

    Attributes:
        encoders: {modality: encoder}; modalities of the input that it does not name are ignored.
        fusion: what turns {modality: Tokens} into a prediction.
    """

    encoders: Mapping[str, nn.Module]
    fusion: nn.Module

    @nn.compact
    def __call__(
        self, inputs: Mapping[str, jax.Array], present: Mapping[str, jax.Array], *, train: bool
    ) -> Outputs:
        """Maps {modality: [batch, ...]} and {modality: [batch] bool} to Outputs.

        A modality has no influence on the samples that lack it, whatever its values.
        """
        tokens = {}
        for name in sorted(self.encoders):
            x, here = as_float(inputs[name]), present[name]
            # A masked token still has a gradient if its values are NaN: absent inputs are zeroed.
            x = jnp.where(here.reshape(-1, *[1] * (x.ndim - 1)), x, 0)
            encoded = self.encoders[name](x, train=train)
            tokens[name] = Tokens(encoded.values, encoded.mask & here[:, None])
        outputs = self.fusion(tokens, train=train)
        if not isinstance(outputs, Outputs):
            outputs = Outputs(outputs)
        return outputs._replace(tokens=tokens)
