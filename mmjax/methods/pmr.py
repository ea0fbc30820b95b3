"""Prototypical modal rebalance: the slow modality is attracted to its own class prototypes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp

from mmjax.layers import masked_mean, mean_where
from mmjax.methods.mechanics import (
    gradient_of,
    loss_where,
    mean_of_others,
    occurs,
    outline,
    target_scores,
)
from mmjax.objectives.row_losses import classes_of
from mmjax.types import Batch, Forward, Gradient, Method, Objective, Removable, Tried


@dataclass(frozen=True)
class PMR(Method):
    r"""Adds a prototype loss for the modality that is behind, and entropy for the one ahead.

    A prototype is the mean feature :math:`z` (mean token) of a class in one modality. :math:`p_m`,
    the softmax over the negative distances :math:`|z_m - \text{prototype}|`, classifies by that
    modality alone; :math:`s_m` is the mean probability that it assigns to the target and
    :math:`o_m` the mean of :math:`s` over the other modalities. The loss is :math:`\text{loss} +
    \sum_m \alpha \text{slow}_m \text{CE}(p_m) - \mu \text{fast}_m H(p_m)`, with
    :math:`\text{slow}_m = \text{clip}(o_m / s_m - 1, 0, 1)` and :math:`\text{fast}_m =
    \text{clip}(s_m / o_m - 1, 0, 1)`; the entropy :math:`H` is used in early steps only. With two
    modalities this is the paper's method; with one nothing is added. It needs no logits per
    modality, so any fusion will do.

    The paper computes prototypes on the whole training set after each epoch; here they are running
    averages over batches, initialised for each class by the first batch that has it. The weights
    are the paper's; in the authors' code the slow modality has weight 1 whatever its distance, the
    fast one 0, and there are no entropies.

    Reference: Fan et al., PMR: Prototypical Modal Rebalance for Multimodal Learning
    (arXiv:2211.07089).

    Attributes:
        alpha: weight of the prototype losses.
        mu: weight of the entropies.
        early: number of initial steps with entropies.
        decay: share of a prototype that is kept when a batch has rows of its class.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.methods.pmr import imbalance
        >>> from mmjax.types import Batch
        >>> logits = {"audio": jnp.array([[2.0, 0.0]]), "image": jnp.array([[0.0, 0.0]])}
        >>> batch = Batch({}, dict.fromkeys(logits, jnp.array([True])), target=jnp.array([0]))
        >>> slow, fast = imbalance(logits, batch)
        >>> {name: round(weight.item(), 2) for name, weight in slow.items()}  # image is behind
        {'audio': 0.0, 'image': 0.76}
    """

    counts_steps: ClassVar[bool] = True
    removable: ClassVar[Removable] = {"prototype_loss": {"alpha": 0.0}, "entropy": {"mu": 0.0}}
    tried: ClassVar[Tried] = {"alpha": (0.5, 1.0, 2.0)}
    alpha: float = 1.0
    mu: float = 0.1
    early: int = 50
    decay: float = 0.9

    def init(self, forward: Forward, params: chex.ArrayTree, rows: Batch) -> chex.ArrayTree:
        """Step, and for each modality prototypes [class, features] and which have been seen."""
        outputs = outline(forward, params, rows)
        classes = outputs.prediction.shape[-1]
        blank = lambda t: jnp.zeros((classes, t.values.shape[-1]), t.values.dtype)
        prototypes = {name: blank(tokens) for name, tokens in outputs.tokens.items()}
        seen = {name: jnp.zeros(classes, bool) for name in outputs.tokens}
        return {"step": jnp.int32(0), "prototypes": prototypes, "seen": seen}

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of the sum; metrics include the two weights of each modality."""

        def loss(params, memory, batch, key):
            outputs = forward(params, batch, key)
            value, metrics = objective(outputs, batch)
            features = {name: masked_mean(outputs.tokens[name]) for name in sorted(outputs.tokens)}
            memory = self._remember(memory, features, batch)
            extra, weights = self._rebalance(memory, features, batch)
            return value + extra, (memory, value, {**metrics, **weights})

        return gradient_of(loss)

    def _remember(self, memory, features, batch):
        prototypes, seen = {}, {}
        for name, old in memory["prototypes"].items():
            here = batch.present[name][:, None]
            member = jax.nn.one_hot(classes_of(batch), len(old), dtype=old.dtype) * here
            count = member.sum(axis=0)[:, None]  # [class, 1]
            new = member.T @ jax.lax.stop_gradient(features[name]) / jnp.maximum(count, 1)
            known = memory["seen"][name][:, None]
            mixed = jnp.where(known, self.decay * old + (1 - self.decay) * new, new)
            prototypes[name] = jnp.where(count > 0, mixed, old)
            seen[name] = memory["seen"][name] | (count[:, 0] > 0)
        return {"step": memory["step"] + 1, "prototypes": prototypes, "seen": seen}

    def _rebalance(self, memory, features, batch):
        logits = {}
        for name, rows in features.items():
            scores = prototype_logits(rows, memory["prototypes"][name])
            logits[name] = jnp.where(memory["seen"][name][None], scores, -1e9)
        slow, fast = imbalance(logits, batch)
        early = memory["step"] <= self.early
        extra: jax.Array | float = 0.0
        for name, rows in logits.items():
            here = batch.present[name]
            entropy = -(jax.nn.softmax(rows) * jax.nn.log_softmax(rows)).sum(axis=1)
            extra += self.alpha * slow[name] * loss_where(here, rows, batch)
            extra -= self.mu * early * fast[name] * mean_where(here, entropy)
        weights = {f"slow_{name}": weight for name, weight in slow.items()}
        return extra, weights | {f"fast_{name}": weight for name, weight in fast.items()}


def prototype_logits(features: jax.Array, prototypes: jax.Array) -> jax.Array:
    """Negative distance from features [batch, size] to prototypes [class, size]."""
    square = jnp.square(features[:, None] - prototypes[None]).sum(axis=-1)
    apart = square > 0  # at zero the square root has no gradient
    return -jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)


def imbalance(
    logits: Mapping[str, jax.Array], batch: Batch
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """How far each modality is behind the others, and ahead of them: {name: []} from 0 to 1."""
    scores = jax.lax.stop_gradient(target_scores(logits, batch))
    others, comparable = mean_of_others(scores, occurs(logits, batch))
    over = lambda a, b: jnp.where(comparable, jnp.clip(a / jnp.maximum(b, 1e-12) - 1, 0, 1), 0)
    name_each = lambda weights: dict(zip(logits, weights, strict=True))
    return name_each(over(others, scores)), name_each(over(scores, others))
