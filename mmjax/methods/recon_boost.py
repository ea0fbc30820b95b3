"""ReconBoost: modalities take turns, each learning what the ensemble of the others lacks."""

from dataclasses import dataclass
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp

from mmjax.errors import UsageError
from mmjax.layers import mean_where
from mmjax.methods.mechanics import gradient_of, loss_where, modality_logits
from mmjax.objectives.row_losses import classes_of
from mmjax.types import Batch, Forward, Gradient, Method, Objective, Removable, Tried


@dataclass(frozen=True)
class ReconBoost(Method):
    r"""Boosts one modality for a stage, then trains all of them jointly, and goes on to the next.

    In the stage of modality :math:`m`, with :math:`p_m` its predicted probabilities and :math:`P`
    those of the sum of the other modalities' logits, the loss is :math:`\text{CE}(p_m) -
    \text{weight} \text{KL}(P \| p_m) + \alpha \text{mean}_c (p_m - p_k)^2`, with :math:`k` the
    modality of the stage before. Only :math:`p_m` has a gradient. That with respect to its logits
    is :math:`(1 - \text{weight}) p_m - (y - \text{weight} P)`, without the last term and :math:`y`
    the one-hot target: :math:`m` fits the residual of the others, as in gradient boosting. The last
    term is the memory consolidation. Afterwards all parameters follow the recipe's objective, the
    global rectification. Modalities alternate in the order of their names; rows without :math:`m`
    do not count, nor do absent modalities in :math:`P`, and without any the term is left out. Any
    number of modalities; with one, :math:`P` does not exist. Logits are a fusion's branches, or its
    predictions from one modality alone.

    In the paper a stage is some epochs, with an optimiser of its own; with one that has momentum,
    as here, the other modalities go on for a few steps. The authors' code keeps only the target's
    term of :math:`\text{KL}`, which weighs the cross-entropy of a row by
    :math:`1 - \text{weight} P_y`, and stops the gradient of both sides of the memory consolidation,
    which thus does nothing. The whole divergence leaves the boosting loss without a minimum: it
    falls as long as :math:`p_m` does for classes that the others wrongly expect. So stages should
    be short.

    Reference: Hua et al., ReconBoost: Boosting Can Achieve Modality Reconcilement
    (arXiv:2405.09321).

    Attributes:
        weight: of the reconcilement, below 1; 0.2 and 0.25 in the authors' scripts.
        alpha: weight of the memory consolidation; 0.5 in the authors' code.
        stage: number of steps in which one modality learns.
        rectify: number of steps of joint training after each of them.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mmjax.methods.recon_boost import reconcile
        >>> here = jnp.array([True])
        >>> others = jnp.array([[2.0, 0.0]])  # they prefer the first class
        >>> pull = jax.grad(lambda own: -reconcile(own, others, here))(jnp.zeros((1, 2)))
        >>> bool(pull[0, 1] < 0 < pull[0, 0])  # and descent prefers the second
        True
    """

    counts_steps: ClassVar[bool] = True
    removable: ClassVar[Removable] = {
        "reconcilement": {"weight": 0.0},
        "memory_consolidation": {"alpha": 0.0},
    }
    tried: ClassVar[Tried] = {"weight": (0.2, 0.25, 0.5), "stage": (1, 10, 50)}
    weight: float = 0.25
    alpha: float = 0.5
    stage: int = 10
    rectify: int = 10

    def __post_init__(self) -> None:
        for name, least in (("stage", 1), ("rectify", 0)):
            if getattr(self, name) < least:
                raise UsageError(name, expected=f"at least {least}", got=str(getattr(self, name)))

    def init(self, forward: Forward, params: chex.ArrayTree, rows: Batch) -> chex.ArrayTree:
        """Number of steps taken: []."""
        return jnp.int32(0)

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of a boosting loss, or of the objective, which is "loss" in all steps."""

        def loss(params, step, batch, key):
            outputs = forward(params, batch, key)
            value, metrics = objective(outputs, batch)
            logits = modality_logits(forward, params, batch, key, outputs)
            names, period = list(logits), self.stage + self.rectify
            boosts = [self._boost(n, names[i - 1], logits, batch) for i, n in enumerate(names)]
            boost = jnp.stack(boosts)[step // period % len(names)]
            total = jnp.where(step % period < self.stage, boost, value)
            return total, (step + 1, value, {**metrics, "boost": boost})

        return gradient_of(loss)

    def _boost(self, name, last, logits, batch):
        """The loss of a modality in its stage, which comes after that of another."""
        classes_of(batch)
        here = batch.present[name]
        others = {n: batch.present[n] & here for n in logits if n != name}
        total = loss_where(here, logits[name], batch)
        if others:
            parts = [jnp.where(others[n][:, None], logits[n], 0) for n in others]
            along = jnp.stack(list(others.values())).any(axis=0)
            total -= self.weight * reconcile(logits[name], jnp.stack(parts).sum(axis=0), along)
            before = jax.lax.stop_gradient(jax.nn.softmax(logits[last]))
            apart = jax.nn.softmax(logits[name]) - before
            total += self.alpha * mean_where(others[last], jnp.square(apart).mean(axis=1))
        return total


def reconcile(own: jax.Array, others: jax.Array, counts: jax.Array) -> jax.Array:
    """Mean divergence, in nats, of what the others predict from what a modality does: [].

    Args:
        own: [batch, classes] logits of the modality.
        others: [batch, classes] logits of the ensemble of the others, without gradient.
        counts: [batch] bool, the rows that have both.
    """
    log_p = jax.nn.log_softmax(jax.lax.stop_gradient(others))
    divergence = (jnp.exp(log_p) * (log_p - jax.nn.log_softmax(own))).sum(axis=1)
    return mean_where(counts, divergence)
