"""MMPareto: each encoder follows its unimodal and the multimodal gradient without conflict."""

from dataclasses import dataclass
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import optax

from mmjax.methods.mechanics import map_encoders, modality_logits, modality_losses
from mmjax.types import Forward, Gradient, Method, Objective, Tried


@dataclass(frozen=True)
class MMPareto(Method):
    r"""Adds unimodal losses, and combines the two gradients of each encoder without conflict.

    With :math:`g` the gradient of the objective and :math:`u` that of the unimodal losses, an
    encoder follows :math:`h = 2 (a g + (1 - a) u)`: :math:`a = 1/2` where :math:`g \cdot u \ge 0`,
    otherwise the :math:`a` in [0, 1] that minimises :math:`|a g + (1 - a) u|`, which opposes
    neither. If shorter than :math:`g + u` it is rescaled to that length; it is then multiplied by
    ``gamma``, since gradient noise helps generalisation. All other parameters follow :math:`g + u`.
    Any number of modalities, each encoder by itself; one that no row has gets a zero :math:`u` and
    follows :math:`\gamma g`. Unimodal losses are cross-entropies of a fusion's branches, or of its
    predictions from one modality alone.

    Norms are those of whole encoders, as in the paper's algorithm. A branch of the fusion
    ``bottleneck`` has read the others through the shared tokens, so its loss is not purely that of
    one modality: late fusions, whose branches read nothing else, are closest to the paper.

    Reference: Wei and Hu, MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance
    (arXiv:2405.17730).

    Attributes:
        gamma: factor on the norm of an encoder's gradient.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.methods import MMPareto
        >>> from mmjax.methods.mmpareto import join_gradients
        >>> g, u = jnp.array([1.0, 0.0]), jnp.array([-1.0, 1.0])  # they conflict
        >>> h = join_gradients(g, u, MMPareto().gamma)
        >>> bool(h @ g > 0), bool(h @ u > 0)
        (True, True)
    """

    tried: ClassVar[Tried] = {"gamma": (1.0, 1.5, 2.0)}
    gamma: float = 1.5

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The combined gradient; "loss" is the objective, "unimodal" the sum of the others."""

        def losses(params, batch, key):
            outputs = forward(params, batch, key)
            value, metrics = objective(outputs, batch)
            logits = modality_logits(forward, params, batch, key, outputs)
            unimodal = sum(modality_losses(logits, batch).values())
            return (value, unimodal), metrics

        def gradient(params, memory, batch, key):
            of = lambda params: losses(params, batch, key)
            (value, unimodal), pull_back, metrics = jax.vjp(of, params, has_aux=True)
            one, zero = jnp.ones_like(value), jnp.zeros_like(value)
            (fused_grads,) = pull_back((one, zero))
            (alone_grads,) = pull_back((zero, one))
            grads = jax.tree.map(jnp.add, fused_grads, alone_grads)
            join = lambda name, total, g, u: join_gradients(g, u, self.gamma)
            grads = map_encoders(join, grads, fused_grads, alone_grads)
            return grads, memory, {"loss": value, **metrics, "unimodal": unimodal}

        return gradient


def join_gradients(g: chex.ArrayTree, u: chex.ArrayTree, gamma: float) -> chex.ArrayTree:
    """The direction of an encoder, from its multimodal and its unimodal gradient."""
    inner = optax.tree.vdot(g, u)
    share = jnp.where(inner >= 0, 0.5, min_norm_share(g, u))
    joined = jax.tree.map(lambda g, u: 2 * (share * g + (1 - share) * u), g, u)
    length = optax.tree.norm(joined)
    wanted = optax.tree.norm(jax.tree.map(jnp.add, g, u))
    scale = gamma * jnp.maximum(wanted / jnp.maximum(length, 1e-12), 1)
    return jax.tree.map(lambda x: scale * x, joined)


def min_norm_share(g: chex.ArrayTree, u: chex.ArrayTree) -> jax.Array:
    """The :math:`a` in [0, 1] that minimises the norm of :math:`a g + (1 - a) u`: []."""
    apart = jax.tree.map(jnp.subtract, u, g)
    share = optax.tree.vdot(apart, u) / jnp.maximum(optax.tree.vdot(apart, apart), 1e-30)
    return jnp.clip(share, 0, 1)
