"""Asymmetric representation learning: the steadier modality is relied on more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from mmjax.layers import masked_softmax, mean_where
from mmjax.methods.mechanics import (
    modality_logits,
    modality_losses,
    modulated_gradient,
    occurs,
)
from mmjax.objectives.row_losses import classes_of
from mmjax.types import Batch, Forward, Gradient, Method, Objective, Removable, Tried


@dataclass(frozen=True)
class ARL(Method):
    r"""Adds unimodal losses, and lets encoders learn until reliance is inverse to variance.

    A weighted sum of independent predictors errs least if the weights are inverse to their
    variances. With :math:`v_m` the mean entropy of modality :math:`m`'s predictions, relative to
    the mean over the modalities and at least ``floor``, :math:`q_m = (1 / v_m) / \sum_j 1 / v_j` is
    thus the reliance wanted, and :math:`d_m`, the share of :math:`m` in the mean absolute logits of
    all modalities, the present one. The gradient of :math:`\text{loss} + \gamma \sum_m L_m` with
    respect to encoder :math:`m`, where :math:`L_m` is the cross-entropy of :math:`m` alone, is
    multiplied by :math:`1 + w_m`, with :math:`w = \text{softmax}_m(\text{sharpness} q_m \prod_{j
    \ne m} d_j)`: all :math:`w` are equal where :math:`d = q`, and modalities that are relied on
    less than :math:`q` says learn faster. Variances, shares and weights are those of the batch,
    over the rows that have the modality.

    The paper has two modalities, for which this is the formula of the authors' code; any number
    here. With one, this is training with :math:`L_1` beside the loss. Logits are a fusion's
    branches, or its predictions from one modality alone.

    The authors' code begins with the weights, and with a ``gamma`` other than 1, after six epochs;
    here both hold from the first step.
    Adam cancels a constant factor, but not one that changes.

    Reference: Wei et al., Improving Multimodal Learning via Imbalanced Learning (arXiv:2507.10203).

    Attributes:
        gamma: weight of the unimodal losses; 1 to 5 in the authors' scripts.
        sharpness: of the weights, the paper's :math:`T`; 4 and 8 in the authors' scripts.
        floor: lower bound on :math:`v`; the authors' code bounds the share of one of two modalities
            at 0.3.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.methods.arl import asymmetry
        >>> from mmjax.types import Batch
        >>> logits = {"audio": jnp.array([[2.0, -2.0]]), "image": jnp.array([[1.0, -1.0]])}
        >>> batch = Batch({}, dict.fromkeys(logits, jnp.array([True])), target=jnp.array([0]))
        >>> wanted, present = asymmetry(logits, batch, floor=0.6)
        >>> round(wanted[0].item(), 2), round(present[0].item(), 2)  # audio, which is surer
        (0.73, 0.67)
    """

    removable: ClassVar[Removable] = {
        "unimodal_losses": {"gamma": 0.0},
        "asymmetry": {"sharpness": 0.0},
    }
    tried: ClassVar[Tried] = {"gamma": (1.0, 3.0, 4.0, 5.0), "sharpness": (4.0, 8.0)}
    gamma: float = 4.0
    sharpness: float = 8.0
    floor: float = 0.6

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of the sum, weighted; "loss" is the objective alone."""

        def loss(params, memory, batch, key):
            outputs = forward(params, batch, key)
            value, metrics = objective(outputs, batch)
            logits = modality_logits(forward, params, batch, key, outputs)
            total = value + self.gamma * sum(modality_losses(logits, batch).values())
            wanted, present = asymmetry(logits, batch, self.floor)
            each = weigh(wanted, present, occurs(logits, batch), self.sharpness)
            weights = dict(zip(logits, each, strict=True))
            metrics = {**metrics, **{f"weight_{name}": each for name, each in weights.items()}}
            factors = {name: 1 + weight for name, weight in weights.items()}
            return total, ((memory, factors), value, metrics)

        return modulated_gradient(loss)


def asymmetry(
    logits: Mapping[str, jax.Array], batch: Batch, floor: float
) -> tuple[jax.Array, jax.Array]:
    """How much each modality should be relied on, and how much it is, without gradient.

    Args:
        logits: {modality: [batch, classes]}.
        batch: its rows.
        floor: lower bound on a modality's entropy, relative to the mean.

    Returns:
        [modality] shares wanted, and [modality] shares present; zero for one that no row has.
    """
    classes_of(batch)
    entropies, sizes = [], []
    for name, rows in jax.lax.stop_gradient(dict(logits)).items():
        rows = jnp.where(batch.present[name][:, None], rows, 0)
        entropy = -(jax.nn.softmax(rows) * jax.nn.log_softmax(rows)).sum(axis=1)
        entropies.append(mean_where(batch.present[name], entropy))
        sizes.append(mean_where(batch.present[name], jnp.abs(rows).sum(axis=1)))
    share = lambda values: values / jnp.maximum(values.sum(), 1e-12)
    here = occurs(logits, batch)
    variance = jnp.maximum(share(jnp.stack(entropies)) * here.sum(), floor)
    return share(here / variance), share(jnp.stack(sizes))


def weigh(wanted: jax.Array, present: jax.Array, here: jax.Array, sharpness: float) -> jax.Array:
    """The weights of the encoders from both kinds of shares, [modality] each, of those ``here``."""
    others = ~jnp.eye(len(here), dtype=bool) & here[None]
    product = jnp.where(others, present[None], 1).prod(axis=1)
    return masked_softmax(sharpness * wanted * product, here, axis=0)
