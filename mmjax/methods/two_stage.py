"""Two-stage training: encoders alone first, then the fusion on what they give."""

from dataclasses import dataclass

import jax
import optax

from mmjax.methods.joint import Joint
from mmjax.objectives import mse
from mmjax.types import Forward, Gradient, Method, Objective


@dataclass(frozen=True)
class TwoStage:
    """Trains each modality's encoder in a unimodal model, then the fusion over frozen encoders.

    Reference: Ngiam et al., Multimodal Deep Learning (ICML 2011), features learned per modality.

    Attributes:
        pretrain: objective of the unimodal models.
        second: method of the second stage, in which the encoders do not change.
    """

    pretrain: Objective = mse
    second: Method = Joint()

    def transform(self, tx: optax.GradientTransformation) -> optax.GradientTransformation:
        """The same optimiser for everything but the encoders, which it leaves exactly alone."""
        transforms = {"fusion": self.second.transform(tx), "encoders": optax.set_to_zero()}
        return optax.partition(transforms, _label)

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of the second stage."""
        return self.second.gradient(forward, objective)


def _label(params):
    kind = lambda name: "encoders" if name.startswith("encoders_") else "fusion"
    return {name: jax.tree.map(lambda _, n=name: kind(n), tree) for name, tree in params.items()}
