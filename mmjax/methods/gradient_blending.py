"""Gradient Blending: losses weighted by how each model generalises and overfits."""

from dataclasses import dataclass, replace
from typing import Any

import chex
import jax.numpy as jnp
import numpy as np

from mmjax.data.targets import row_nll
from mmjax.data.task import Task
from mmjax.errors import UsageError
from mmjax.methods.joint import Joint
from mmjax.methods.mechanics import (
    gradient_of,
    modality_logits,
    modality_losses,
    outline,
    train_alone,
)
from mmjax.types import Batch, FitLoop, Forward, Gradient, Method, Objective, Prepared


@dataclass(frozen=True)
class GradientBlending(Method):
    r"""Weights the losses of the model and of each modality by preliminary runs: offline G-Blend.

    The loss is :math:`w_0 L + \sum_m w_m L_m`, with :math:`L` the objective of the whole model and
    :math:`L_m` the cross-entropy of modality :math:`m` alone. Preliminary runs of the whole model
    and of each unimodal model give :math:`w_k \propto G_k / O_k^2`, normalised to sum to one:
    :math:`G` is the decrease of the validation loss from the start to the selected parameters,
    :math:`O` the increase of the gap between validation and training loss. The start is the uniform
    prediction, which an untrained model makes up to noise: :math:`\log K` nats on both splits for
    :math:`K` classes. The validation split also selects the parameters. Losses are in nats, without
    dropout, over the rows that have the modality, whatever the objective. A model whose loss did
    not decrease gets zero weight; if none did, all weights are equal.

    One modality: its own loss twice. :math:`L_m` uses a fusion's branches, or its predictions from
    one modality alone.

    Reference: Wang et al., What Makes Training Multi-modal Classification Networks Hard?
    (arXiv:1905.12681).

    Attributes:
        least_gap: lower bound on :math:`O`, in nats; smaller gaps are noise, or a division by zero.

    Example:
        >>> import numpy as np
        >>> from mmjax.methods import GradientBlending
        >>> from mmjax.methods.gradient_blending import blend
        >>> GradientBlending().num_runs(num_modalities=2)
        3
        >>> train, valid = np.array([[0.2], [0.5]]), np.array([[0.8], [0.6]])  # the first overfits
        >>> blend(1.1, train, valid, least_gap=0.05).round(2).tolist()
        [[0.02], [0.98]]
    """

    least_gap: float = 0.05

    def __post_init__(self) -> None:
        if not self.least_gap > 0:
            raise UsageError("least_gap", expected="a positive number", got=str(self.least_gap))

    def num_runs(self, num_modalities: int) -> int:
        """One for the whole model and one per modality."""
        return 1 + num_modalities

    def prepare(self, fit: FitLoop, recipe: Any, task: Task) -> Prepared:
        """Trains the whole model and each modality alone, and weights their losses."""
        alone = train_alone(fit, recipe, task, recipe.objective)
        runs = [(task.only(name), trained) for name, trained in alone.items()]
        runs.append((task, fit(replace(recipe, method=Joint()), task)))
        train, valid = (
            np.stack([_mean_loss(trained, part.splits[split]) for part, trained in runs])
            for split in ("train", "valid")
        )
        start = row_nll(np.zeros((task.train.size, task.out_dim)), task.train.target).mean()
        weights = blend(start, train, valid, self.least_gap)
        *each, whole = jnp.asarray(weights, jnp.float32)
        return Prepared(memory={"whole": whole, "alone": dict(zip(alone, each, strict=True))})

    def init(self, forward: Forward, params: chex.ArrayTree, rows: Batch) -> chex.ArrayTree:
        """Equal weights."""
        names = outline(forward, params, rows).tokens
        equal = jnp.float32(1 / (1 + len(names)))
        return {"whole": equal, "alone": {name: equal for name in names}}

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of the weighted sum; "loss" is the objective alone."""

        def loss(params, weights, batch, key):
            outputs = forward(params, batch, key)
            value, metrics = objective(outputs, batch)
            logits = modality_logits(forward, params, batch, key, outputs)
            alone = modality_losses(logits, batch)
            total = weights["whole"] * value
            total += sum(weights["alone"][name] * each for name, each in alone.items())
            return total, (weights, value, {**metrics, "blend": total})

        return gradient_of(loss)


def blend(start: float, train: np.ndarray, valid: np.ndarray, least_gap: float) -> np.ndarray:
    """Weights [model, seed], summing to one over the models.

    Args:
        start: loss of an untrained model, on either split.
        train: [model, seed] training loss.
        valid: [model, seed] validation loss.
        least_gap: lower bound on the gap between the two.
    """
    gained = np.maximum(start - valid, 0)
    weights = gained / np.maximum(valid - train, least_gap) ** 2
    total = weights.sum(axis=0)
    return np.where(total > 0, weights / np.where(total > 0, total, 1), 1 / len(weights))


def _mean_loss(trained: Any, split: Any) -> np.ndarray:
    """Mean negative log-likelihood of the rows with any of the modalities, in nats: [seeds]."""
    rows = np.any(list(split.present.values()), axis=0)
    losses = row_nll(trained.predict(trained.params, split.batch()), split.target)
    return np.where(rows, losses, 0).sum(axis=1) / max(rows.sum(), 1)
