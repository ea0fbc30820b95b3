"""Adaptive gradient modulation: Shapley values show which modality is ahead, in any fusion."""

from dataclasses import dataclass
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp

from mmjax.data.coalitions import shapley, subsets
from mmjax.methods.mechanics import (
    gradient_of,
    mean_of_others,
    modality_losses,
    occurs,
    outline,
    predict_with,
)
from mmjax.types import Batch, Forward, Gradient, Method, Objective, Tried

_LIMIT = 10.0  # the authors' bound on tau - r, since exponentials of losses grow fast


@dataclass(frozen=True)
class AGM(Method):
    r"""Modulates the gradient through each modality's response by its lead over its usual lead.

    :math:`\phi_m = \sum_{S: m \notin S} \frac{|S|! (M - 1 - |S|)!}{M!} (v(S \cup \{m\}) - v(S))` is
    the response to modality :math:`m` alone, with :math:`v(S)` the prediction from the modalities
    in :math:`S` and :math:`v(\emptyset) = 0`: the responses sum to the prediction. With :math:`s_m`
    the cross-entropy of :math:`\phi_m`, :math:`r_m = \exp(\text{mean}_{j \ne m} s_j - s_m)`, and
    :math:`\tau_m` the same of the running averages of :math:`s`, the gradient that the loss sends
    into :math:`\phi_m` is multiplied by :math:`\kappa_m = \exp(-\alpha (r_m - \tau_m))`; from there
    it flows on into the fusion and every encoder that :math:`\phi_m` depends on. Only where the
    fusion is additive is that the joint gradient with each encoder's part multiplied by its
    :math:`\kappa_m`. Branches and ``aux`` terms in the loss keep their gradients. With one modality
    this is joint training.

    Each step predicts from all :math:`2^M - 1` sets of modalities and differentiates every one of
    these predictions: with two modalities it costs three times as much as joint training, with
    three seven times. The authors' code leaves out dropout in the predictions from fewer
    modalities; here all are made as in training. It bounds :math:`\tau - r` by 10 for two
    modalities, as here, and by 7 or not at all on other tasks.

    The paper uses SGD. Adam cancels a constant factor, but not one that changes.

    Reference: Li et al., Boosting Multi-modal Model Performance with Adaptive Gradient Modulation
    (arXiv:2308.07686).

    Attributes:
        alpha: how strongly a lead slows down a modality.

    Example:
        >>> from mmjax.data.coalitions import shapley
        >>> joint = frozenset({"audio", "image"})
        >>> v = {frozenset(): 0.0, frozenset({"audio"}): 1.0, frozenset({"image"}): 2.0, joint: 4.0}
        >>> shapley(v)  # the responses sum to the joint prediction
        {'audio': 1.5, 'image': 2.5}
    """

    tried: ClassVar[Tried] = {"alpha": (0.2, 0.5, 1.0, 2.0)}
    alpha: float = 1.0

    def init(self, forward: Forward, params: chex.ArrayTree, rows: Batch) -> chex.ArrayTree:
        """Average loss of each modality's response, and the number of steps: [modality] each."""
        zeros = jnp.zeros(len(outline(forward, params, rows).tokens))
        return {"average": zeros, "steps": zeros}

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of the objective, modulated; metrics include the factor of each modality."""

        def loss(params, memory, batch, key):
            outputs = forward(params, batch, key)
            phi = _responses(forward, params, batch, key, outputs)
            losses = jnp.stack(list(modality_losses(phi, batch).values()))
            each, memory = self._modulate(jax.lax.stop_gradient(losses), occurs(phi, batch), memory)
            factors = dict(zip(phi, each, strict=True))
            prediction = jax.lax.stop_gradient(outputs.prediction)
            prediction += sum(factors[name] * _without_value(x) for name, x in phi.items())
            value, metrics = objective(outputs._replace(prediction=prediction), batch)
            metrics = {**metrics, **{f"factor_{name}": factor for name, factor in factors.items()}}
            return value, (memory, value, metrics)

        return gradient_of(loss)

    def _modulate(self, losses, here, memory):
        """Factors [modality], and the memory updated with these losses."""
        average, steps = memory["average"], memory["steps"]
        lead = _ratio(average, steps > 0) - _ratio(losses, here)
        factors = jnp.exp(self.alpha * jnp.minimum(lead, _LIMIT))
        steps = steps + here
        average = average + jnp.where(here, (losses - average) / jnp.maximum(steps, 1), 0)
        return factors, {"average": average, "steps": steps}


def _responses(forward, params, batch, key, outputs):
    """The response to each modality: {name: [batch, out_dim]}, sorted by name."""
    names = sorted(outputs.tokens)
    parts = [part for part in subsets(names) if 0 < len(part) < len(names)]
    values = {frozenset(): 0.0, frozenset(names): outputs.prediction}
    if parts:
        predictions = predict_with(forward, params, batch, key, parts)
        values |= dict(zip(map(frozenset, parts), predictions, strict=True))
    return shapley(values)


def _ratio(losses: jax.Array, counts: jax.Array) -> jax.Array:
    """Exponential of how far each loss is below the mean of the others; one if there are none."""
    others, comparable = mean_of_others(losses, counts)
    lead = jnp.where(comparable, others - losses, 0)
    return jnp.exp(jnp.minimum(lead, 80))  # beyond 88, two of them would be infinite


def _without_value(x: jax.Array) -> jax.Array:
    """Zeros that have the gradient of ``x``."""
    return x - jax.lax.stop_gradient(x)
