"""Distillation from unimodal teachers: encoders retain what they would have learned alone."""

from dataclasses import dataclass
from typing import Any, ClassVar

import chex
import jax
import jax.numpy as jnp

from mmjax.data.task import Task
from mmjax.layers import masked_mean, mean_where
from mmjax.methods.mechanics import encoder_params, gradient_of, train_alone
from mmjax.types import Batch, FitLoop, Forward, Gradient, Method, Objective, Prepared, Tried


@dataclass(frozen=True)
class Distillation(Method):
    r"""Regresses the features of each modality on those of an encoder trained on it alone.

    :math:`\text{loss} + \text{weight} \sum_m \text{mean} |z_m - \text{teacher}_m|^2` with
    :math:`z_m` the mean token of modality :math:`m`, and the mean over its features and the rows
    that have it. Teachers are the encoders of unimodal models from preliminary runs, and are
    frozen; without those runs, the initial encoders take their place. Works for any number of
    modalities and any fusion; raw inputs have no encoder to distil. Teachers see the same dropout
    as the model.

    Reference: Du et al., On Uni-Modal Feature Learning in Supervised Multi-Modal Learning
    (arXiv:2305.01233), which calls it Uni-Modal Teacher.

    Attributes:
        weight: weight of the squared errors.

    Example:
        >>> from mmjax.methods import Distillation
        >>> method = Distillation(weight=0.5)
        >>> method.num_runs(num_modalities=3)  # one teacher per modality
        3
    """

    tried: ClassVar[Tried] = {"weight": (0.1, 1.0, 10.0)}
    weight: float = 1.0

    def num_runs(self, num_modalities: int) -> int:
        """One per modality."""
        return num_modalities

    def prepare(self, fit: FitLoop, recipe: Any, task: Task) -> Prepared:
        """Trains the teachers."""
        alone = train_alone(fit, recipe, task, recipe.objective).values()
        encoders = [encoder_params(trained.params) for trained in alone]
        return Prepared(memory={part: tree for found in encoders for part, tree in found.items()})

    def init(self, forward: Forward, params: chex.ArrayTree, rows: Batch) -> chex.ArrayTree:
        """The initial encoders."""
        return encoder_params(params)

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of the sum; "loss" is the objective alone, "distance" the squared errors."""

        def loss(params, teachers, batch, key):
            outputs = forward(params, batch, key)
            value, metrics = objective(outputs, batch)
            taught = forward({**params, **teachers}, batch, key).tokens
            distance: jax.Array | float = 0.0
            for name in sorted(taught):
                error = masked_mean(outputs.tokens[name]) - masked_mean(taught[name])
                distance += mean_where(batch.present[name], jnp.square(error).mean(axis=1))
            metrics = {**metrics, "distance": jnp.asarray(distance)}
            return value + self.weight * distance, (teachers, value, metrics)

        return gradient_of(loss)
