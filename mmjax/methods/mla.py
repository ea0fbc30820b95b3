"""Multimodal learning with alternating unimodal adaptation: one modality per step."""

import math
from dataclasses import dataclass
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp

from mmjax.errors import UsageError
from mmjax.methods.mechanics import loss_where, outline, take_turns
from mmjax.types import Batch, Forward, Gradient, Method, Objective, Removable, Tried


@dataclass(frozen=True)
class MLA(Method):
    r"""Trains one modality in each step; the shared readout's gradient is projected.

    Step :math:`t` trains modality :math:`t \bmod M` alone. With :math:`h` the mean input of the
    readout over the rows of a step, :math:`P \gets P - (P h)(P h)^T / (\alpha + h^T P h)`, starting
    from the identity, :math:`P \gets P / |P|_F`, and the gradient :math:`g` of the readout's kernel
    ``[d, out_dim]`` becomes :math:`\sqrt{d} P g`. The updates for a modality are thus nearly
    orthogonal to the mean inputs that the readout was trained on: after one step on :math:`h`,
    :math:`P h` is :math:`\alpha / (\alpha + |h|^2)` times as long relative to directions across
    :math:`h`. Modalities alternate in the order of their names; the others are absent, and rows
    without the modality of the step do not count. One modality: its unimodal model, with projected
    gradients. The loss is the cross-entropy, whatever the recipe's objective.

    The fraction is the paper's, of recursive least squares; the authors' code divides, entry by
    entry, by the matrix :math:`\alpha + P h h^T` instead. As in that code, :math:`P` is normalised
    in every step, without which it would shrink against ``alpha``, and a step is projected by the
    :math:`P` that knows its own :math:`h`. The code has no factor :math:`\sqrt{d}`, without which
    the readout learns more slowly under SGD; it leaves out the first step, and lets ``alpha`` fall
    from 0.1 to 0.01 in each epoch. Here it is constant, since methods know of no epochs. The
    authors predict by a mix of unimodal predictions, weighted by their entropies; here all
    modalities are fused.

    Requires a fusion with a single readout of a joint representation, such as mean, sum or concat.

    Reference: Zhang et al., Multimodal Representation Learning by Alternating Unimodal Adaptation
    (arXiv:2311.10707).

    Attributes:
        alpha: how much of used directions remains; must be positive. Infinity leaves out the
            projection.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.methods import MLA
        >>> from mmjax.methods.mla import project
        >>> used = jnp.array([1.0, 0.0])  # the mean input of the first step
        >>> projection = project(jnp.eye(2), used, MLA(alpha=0.1).alpha)
        >>> x, y = projection.diagonal()
        >>> round((x / y).item(), 3)  # alpha / (alpha + 1)
        0.091
    """

    counts_steps: ClassVar[bool] = True
    removable: ClassVar[Removable] = {"projection": {"alpha": math.inf}}
    tried: ClassVar[Tried] = {"alpha": (0.01, 0.1, 1.0)}
    alpha: float = 0.1

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise UsageError("alpha", expected="a positive number", got=str(self.alpha))

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
                expected="one with a single readout of a joint representation, for the method mla",
                got=f"one with the parameters {', '.join(sorted(params['fusion']))}",
                fix="Use mean, sum, concat or gmu.",
            )
        return {"step": jnp.int32(0), "projection": jnp.eye(fused.shape[-1], dtype=kernel.dtype)}

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of one modality's loss; the next call takes the next modality."""

        def loss(params, step, batch, key):
            names = sorted(outline(forward, params, batch).tokens)
            batch, here = take_turns(batch, names, lambda index: step % len(names) == index)
            outputs = forward(params, batch, key)
            value = loss_where(here, outputs.prediction, batch)
            assert outputs.fused is not None, "checked by init"
            used = jnp.where(here[:, None], outputs.fused, 0).sum(axis=0)
            return value + sum(outputs.aux.values()), (value, used / jnp.maximum(here.sum(), 1))

        def gradient(params, memory, batch, key):
            step = memory["step"]
            grads, (value, used) = jax.grad(loss, has_aux=True)(params, step, batch, key)
            projection = project(memory["projection"], used, self.alpha)
            readout = grads["fusion"]["readout"]
            kernel = math.sqrt(len(used)) * projection @ readout["kernel"]
            fusion = {**grads["fusion"], "readout": {**readout, "kernel": kernel}}
            grads, memory = (
                {**grads, "fusion": fusion},
                {"step": step + 1, "projection": projection},
            )
            return grads, memory, {"loss": value}

        return gradient


def project(projection: jax.Array, used: jax.Array, alpha: float) -> jax.Array:
    """Removes a direction, [features], from the projection, [features, features], of norm 1."""
    seen = projection @ used
    projection -= jnp.outer(seen, seen) / (alpha + used @ seen)
    return projection / jnp.linalg.norm(projection)
