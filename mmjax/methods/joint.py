"""Joint training: every parameter follows the gradient of one loss."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import optax

from mmjax.types import Forward, Gradient, Objective


@dataclass(frozen=True)
class Joint:
    """Encoders and fusion learn together from the fused prediction.

    Reference: Ngiam et al., Multimodal Deep Learning (ICML 2011).
    """

    pretrain: ClassVar[None] = None

    def transform(self, tx: optax.GradientTransformation) -> optax.GradientTransformation:
        """The optimiser as it is."""
        return tx

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of the objective."""

        def loss(params, batch, key):
            return objective(forward(params, batch, key), batch)

        return jax.value_and_grad(loss, has_aux=True)
