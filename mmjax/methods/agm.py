"""Adaptive gradient modulation: Shapley values show which modality is ahead, in any fusion."""

from dataclasses import dataclass
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp

from mmjax.data.coalitions import shapley, subsets
from mmjax.methods.mechanics import (
    mean_of_others,
    modality_losses,
    objective_gradient,
    occurs,
    outline,
    predict_with,
    scale_encoders,
)
from mmjax.types import Batch, Forward, Gradient, Method, Objective, Tried

_LIMIT = 10.0  # the authors' bound on tau - r, since exponentials of losses grow fast


@dataclass(frozen=True)
class AGM(Method):
    """Modulates each encoder's gradient by its modality's lead, relative to its usual lead.

    ``phi_m = sum_{S not with m} |S|! (M - 1 - |S|)! / M! (v(S and m) - v(S))`` is the response to
    modality ``m`` alone, with ``v(S)`` the prediction from the modalities in ``S`` and ``v({}) =
    0``: the responses sum to the prediction. With ``s_m`` the cross-entropy of ``phi_m``, ``r_m =
    exp(mean_{j != m} s_j - s_m)``, and ``tau_m`` the same of the running averages of ``s``, the
    gradient of encoder ``m`` is multiplied by ``kappa_m = exp(-alpha (r_m - tau_m))``. With one
    modality this is joint training. Each step predicts from all ``2^M - 1`` sets of modalities, so
    it suits only a few modalities.

    The paper uses SGD. Adam cancels a constant factor, but not one that changes.

    Reference: Li et al., Boosting Multi-modal Model Performance with Adaptive Gradient Modulation
    (arXiv:2308.07686).

    Attributes:
        alpha: how strongly a lead slows down an encoder.

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
        joint = objective_gradient(forward, objective)

        def gradient(params, memory, batch, key):
            grads, metrics, outputs = joint(params, batch, key)
            names = sorted(outputs.tokens)
            parts = [part for part in subsets(names) if 0 < len(part) < len(names)]
            values = {frozenset(): 0.0, frozenset(names): outputs.prediction}
            if parts:
                predictions = predict_with(forward, params, batch, key, parts)
                values |= dict(zip(map(frozenset, parts), predictions, strict=True))
            by_name = modality_losses(shapley(values), batch)
            losses = jnp.stack([by_name[name] for name in names])
            each, memory = self._modulate(losses, occurs(names, batch), memory)
            factors = dict(zip(names, each, strict=True))
            metrics |= {f"factor_{name}": factor for name, factor in factors.items()}
            return scale_encoders(grads, factors), memory, metrics

        return gradient

    def _modulate(self, losses, here, memory):
        """Factors [modality], and the memory updated with these losses."""
        average, steps = memory["average"], memory["steps"]
        lead = jnp.exp(_lead(average, steps > 0)) - jnp.exp(_lead(losses, here))
        factors = jnp.exp(self.alpha * jnp.minimum(lead, _LIMIT))
        steps = steps + here
        average = average + jnp.where(here, (losses - average) / jnp.maximum(steps, 1), 0)
        return factors, {"average": average, "steps": steps}


def _lead(losses: jax.Array, counts: jax.Array) -> jax.Array:
    """How far each loss is below the mean of the others; zero if there is nothing to compare."""
    others, comparable = mean_of_others(losses, counts)
    return jnp.where(comparable, others - losses, 0)
