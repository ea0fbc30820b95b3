"""Classifier-guided gradient modulation: the slower modality learns faster, and is followed."""

from dataclasses import dataclass
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import optax

from mmjax.layers import masked_mean
from mmjax.methods.mechanics import (
    loss_where,
    mean_of_others,
    modality_losses,
    modulated_gradient,
    occurs,
    outline,
)
from mmjax.types import Batch, Forward, Gradient, Method, Objective, Removable, Tried


@dataclass(frozen=True)
class CGGM(Method):
    r"""Scales encoders' gradients, and turns the model's, by how a classifier of each improves.

    A linear classifier per modality, a part of the memory, is trained by Adam on the mean tokens,
    without effect on the encoders. With :math:`e_m` the decrease of its cross-entropy since the
    step before, or zero if it rose, :math:`B_m = \sum_{j \ne m} e_j / \sum_j e_j` is high where
    :math:`m` improves more slowly than the others. The gradient of encoder :math:`m` is multiplied
    by :math:`\rho B_m`, and that of all parameters is of :math:`\text{loss} + \text{weight} / M
    \sum_m B_m (1 - \cos(g, g_m))`, with :math:`g` the gradient of the loss with respect to the
    predictions, over the rows that have :math:`m`, and :math:`g_m` that of the classifier's loss
    with respect to its own: the model is turned towards the modality that lags behind. Steps
    without a decrease to compare, the first one, or those of one modality, are joint training;
    where none improves all :math:`B` are equal. Any number of modalities, any targets.

    The paper has any measure of improvement, and takes accuracy; its :math:`B` has no bounds if a
    measure falls, here it is from 0 to 1. It compares gradients with respect to the kernels of
    output layers, whose shapes agree only if all layers are as wide; those with respect to the
    outputs always agree. The authors' classifiers are Transformers, and their code compares the
    kernels themselves instead of their gradients.

    Reference: Guo et al., Classifier-guided Gradient Modulation for Enhanced Multimodal Learning
    (arXiv:2411.01409).

    Attributes:
        rho: factor on the gradients of encoders; 1.3 in the authors' scripts, 1 for segmentation.
        weight: of the loss of direction, the paper's lambda; 0.05 to 0.2 in the authors' scripts.
        rate: learning rate of the classifiers; 0.0005 in the authors' scripts, 0.006 for
            segmentation.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.methods.cggm import balance
        >>> gained = jnp.array([0.3, 0.1])  # the second one improves more slowly
        >>> shares, comparable = balance(gained, jnp.array([True, True]))
        >>> [round(share, 2) for share in shares.tolist()]
        [0.25, 0.75]
    """

    counts_steps: ClassVar[bool] = True
    removable: ClassVar[Removable] = {"direction": {"weight": 0.0}}
    tried: ClassVar[Tried] = {"rho": (1.0, 1.3), "weight": (0.05, 0.1, 0.2)}
    rho: float = 1.3
    weight: float = 0.2
    rate: float = 0.005

    def init(self, forward: Forward, params: chex.ArrayTree, rows: Batch) -> chex.ArrayTree:
        """Classifiers and their optimiser; their losses, [modality], and which are known."""
        outputs = outline(forward, params, rows)
        size = outputs.prediction.shape[-1]
        classifiers = {
            name: {"kernel": jnp.zeros((tokens.values.shape[-1], size)), "bias": jnp.zeros(size)}
            for name, tokens in outputs.tokens.items()
        }
        zeros = jnp.zeros(len(classifiers))
        state = optax.adam(self.rate).init(classifiers)
        return {"classifiers": classifiers, "adam": state, "losses": zeros, "known": zeros > 0}

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The modulated gradient; metrics include the factor of each modality."""

        def loss(params, memory, batch, key):
            outputs = forward(params, batch, key)
            value, metrics = objective(outputs, batch)
            memory, logits, gained, counts = self._learn(memory, outputs, batch)
            shares, comparable = balance(gained, counts)
            apart = jnp.stack([_apart(name, outputs, logits, batch) for name in logits])
            turn = jnp.where(comparable, shares * apart, 0).mean()
            factors = dict(zip(logits, jnp.where(comparable, self.rho * shares, 1), strict=True))
            metrics = {**metrics, "direction": turn}
            metrics |= {f"factor_{name}": factor for name, factor in factors.items()}
            return value + self.weight * turn, ((memory, factors), value, metrics)

        return modulated_gradient(loss)

    def _learn(self, memory, outputs, batch):
        """A step of the classifiers; their logits, and how much those that count improved."""
        tokens = outputs.tokens
        features = {n: jax.lax.stop_gradient(masked_mean(tokens[n])) for n in sorted(tokens)}

        def loss(classifiers):
            read = lambda n: features[n] @ classifiers[n]["kernel"] + classifiers[n]["bias"][None]
            logits = {n: read(n) for n in features}
            each = modality_losses(logits, batch)
            return sum(each.values()), (logits, jnp.stack(list(each.values())))

        before, known, classifiers = (memory[k] for k in ("losses", "known", "classifiers"))
        grads, (logits, losses) = jax.grad(loss, has_aux=True)(classifiers)
        updates, state = optax.adam(self.rate).update(grads, memory["adam"])
        here = occurs(logits, batch)
        after = {
            "classifiers": optax.apply_updates(classifiers, updates),
            "adam": state,
            "losses": jnp.where(here, losses, before),
            "known": known | here,
        }
        return after, logits, jnp.maximum(before - losses, 0), known & here


def balance(gained: jax.Array, counts: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The share of the others in what all have gained, and whether there are others.

    Args:
        gained: [modality], not negative.
        counts: [modality] bool, those that count.

    Returns:
        [modality] shares, equal if none has gained, and [modality] bool.
    """
    gained = jnp.where(counts, gained, 0) + 1e-12
    others, comparable = mean_of_others(gained, counts)
    others = others * (counts.sum() - 1)
    return others / (others + gained), comparable


def _apart(name, outputs, logits, batch):
    """One minus the cosine of the gradients with respect to the prediction and to the logits."""
    pull = jax.grad(lambda x: loss_where(batch.present[name], x, batch))
    fused, own = pull(outputs.prediction), jax.lax.stop_gradient(pull(logits[name]))
    return 1 - jnp.vdot(fused, own) / (_norm(fused) * _norm(own))


def _norm(x):
    return optax.safe_norm(x, 1e-6)
