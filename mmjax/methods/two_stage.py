"""Two-stage training: encoders alone first, then the fusion on frozen encoders."""

from dataclasses import dataclass
from typing import Any

import chex
import jax
import optax

from mmjax.data.task import Task
from mmjax.errors import UsageError
from mmjax.methods.joint import Joint
from mmjax.methods.mechanics import encoder_params, train_alone
from mmjax.objectives import mse
from mmjax.types import Batch, FitLoop, Forward, Gradient, Method, Objective, Prepared


@dataclass(frozen=True)
class TwoStage(Method):
    """Trains each modality's encoder in a unimodal model, then the fusion on frozen encoders.

    Reference: Ngiam et al., Multimodal Deep Learning (ICML 2011), features learned per modality.

    Attributes:
        first: objective of the unimodal models.
        second: method of the second stage, without preliminary runs; the encoders do not change.

    Example:
        >>> from mmjax.methods import ModalityDropout, Stacking, TwoStage
        >>> TwoStage(second=ModalityDropout(rate=0.5)).num_runs(num_modalities=2)
        2
        >>> TwoStage(second=Stacking())
        Traceback (most recent call last):
            ...
        mmjax.errors.UsageError: second: expected a method without preliminary runs, got Stacking.
    """

    first: Objective = mse
    second: Method = Joint()

    def __post_init__(self) -> None:
        if self.second.num_runs(1):
            got = type(self.second).__name__
            raise UsageError("second", expected="a method without preliminary runs", got=got)

    @property
    def counts_steps(self) -> bool:  # type: ignore[override]  # other methods know it in advance
        """Whether the second stage does."""
        return self.second.counts_steps

    def num_runs(self, num_modalities: int) -> int:
        """One per modality."""
        return num_modalities

    def prepare(self, fit: FitLoop, recipe: Any, task: Task) -> Prepared:
        """Trains the encoders."""
        alone = train_alone(fit, recipe, task, self.first)
        encoders = [encoder_params(trained.params) for trained in alone.values()]
        return Prepared({part: tree for found in encoders for part, tree in found.items()})

    def init(self, forward: Forward, params: chex.ArrayTree, rows: Batch) -> chex.ArrayTree:
        """The memory of the second stage."""
        return self.second.init(forward, params, rows)

    def transform(self, tx: optax.GradientTransformation) -> optax.GradientTransformation:
        """The same optimiser for everything except the encoders, which stay exactly as they are."""
        transforms = {"fusion": self.second.transform(tx), "encoders": optax.set_to_zero()}
        return optax.partition(transforms, _label)

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of the second stage."""
        return self.second.gradient(forward, objective)


def _label(params):
    encoders = encoder_params(params)
    kind = lambda part: "encoders" if part in encoders else "fusion"
    return {part: jax.tree.map(lambda _, p=part: kind(p), tree) for part, tree in params.items()}
