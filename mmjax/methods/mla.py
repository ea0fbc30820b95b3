"""Alternating unimodal adaptation: one modality a step, behind a head that does not forget."""

from dataclasses import dataclass
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp

from mmjax.errors import UsageError
from mmjax.methods.mechanics import loss_where, outline, take_turns
from mmjax.types import Batch, Forward, Gradient, Method, Objective


@dataclass(frozen=True)
class MLA(Method):
    """Step ``t`` trains modality ``t mod M`` alone; the shared readout's gradient is projected.

    With ``h`` the mean input of the readout over the rows of a step, recursive least squares keep
    ``P <- P - (P h)(P h)^T / (alpha + h^T P h)``, from ``P = 1``; the gradient of the readout's
    kernel becomes ``P g`` with the ``P`` of the steps before. So what a modality writes into the
    head is nearly orthogonal to the mean inputs that the head has learned on: after one step on
    ``h``, ``P h = h alpha / (alpha + |h|^2)``. The modalities alternate by sorted name; the others
    are absent, and rows without the modality of the step do not count. One modality: projected
    training of its model. The loss is the cross-entropy, whatever the recipe's objective.

    Needs a fusion with one readout of a joint representation, such as mean, sum or concat. It
    predicts from all modalities together, where the paper mixes unimodal predictions by their
    entropy. The paper's code divides ``P`` by its norm at each step; Adam makes that superfluous.

    Reference: Zhang et al., Multimodal Representation Learning by Alternating Unimodal Adaptation
    (arXiv:2311.10707).

    Attributes:
        alpha: how much of the directions used before remains; must be positive.
    """

    counts_steps: ClassVar[bool] = True
    alpha: float = 0.1

    def init(self, forward: Forward, params: chex.ArrayTree, rows: Batch) -> chex.ArrayTree:
        """Step, and the projection [features, features].

        Raises:
            UsageError: the fusion has no shared readout.
        """
        fused = outline(forward, params, rows).fused
        kernel = params["fusion"].get("readout", {}).get("kernel")
        if fused is None or kernel is None or kernel.shape[0] != fused.shape[-1]:
            raise UsageError(
                "fusion",
                expected="one with a joint representation and one readout of it, for mla",
                got=f"one of {', '.join(sorted(params['fusion']))}",
                fix="Take mean, sum, concat or gmu.",
            )
        return {"step": jnp.int32(0), "projection": jnp.eye(fused.shape[-1], dtype=kernel.dtype)}

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of one modality's loss; the next call has the next one's turn."""

        def loss(params, step, batch, key):
            names = sorted(outline(forward, params, batch).tokens)
            batch, here = take_turns(batch, names, lambda index: step % len(names) == index)
            outputs = forward(params, batch, key)
            value = loss_where(here, outputs.prediction, batch)
            assert outputs.fused is not None, "init has seen to it"
            used = jnp.where(here[:, None], outputs.fused, 0).sum(axis=0)
            return value + sum(outputs.aux.values()), (value, used / jnp.maximum(here.sum(), 1))

        def gradient(params, memory, batch, key):
            step, projection = memory["step"], memory["projection"]
            grads, (value, used) = jax.grad(loss, has_aux=True)(params, step, batch, key)
            readout = grads["fusion"]["readout"]
            readout = {**readout, "kernel": projection @ readout["kernel"]}
            grads = {**grads, "fusion": {**grads["fusion"], "readout": readout}}
            memory = {"step": step + 1, "projection": project(projection, used, self.alpha)}
            return grads, memory, {"loss": value}

        return gradient


def project(projection: jax.Array, used: jax.Array, alpha: float) -> jax.Array:
    """Takes a direction, [features], out of the projection [features, features]."""
    seen = projection @ used
    return projection - jnp.outer(seen, seen) / (alpha + used @ seen)
