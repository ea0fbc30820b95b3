"""CoMM: each modality alone, and all together, should tell which row the fused vector is of."""

from dataclasses import dataclass
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import optax

from mmjax.errors import UsageError
from mmjax.layers import mean_where
from mmjax.methods.mechanics import gradient_of, outline, run_with
from mmjax.types import Array, Batch, Forward, Gradient, Method, Objective, Tried


@dataclass(frozen=True)
class CoMM(Method):
    r"""Adds a contrastive loss between the fused vector and those of each modality alone.

    With :math:`Z` the fused vector of a row, :math:`Z_m` that from modality :math:`m` alone, and
    two views of each, the loss grows by ``weight`` times the mean over all modalities together and
    each :math:`m` of :math:`(\text{NCE}(Z_m^1, Z^2) + \text{NCE}(Z_m^2, Z^1)) / 2`.
    :math:`\text{NCE}` is InfoNCE among both views of all rows, in nats, by the cosine. As :math:`Z`
    is contrasted with itself and not one modality with another, what only one of them knows, or
    only both together, is learned beside what they share. One modality: two equal terms. Any
    number: one term each, over the rows that have the modality.

    The views are two augmentations of a row, by the recipe's ``augment``, which should leave the
    target as it is; mixup mixes both with the same other row. Without any they differ by dropout
    alone, where it comes before the fused vector; where it does not they are equal, and :math:`Z`
    is only kept apart from other rows. The paper trains representations by the contrastive loss
    alone and behind a projection head; here it goes with the recipe's objective, on the fused
    vector itself. The mean over terms is that of the authors' code; the paper has the sum.

    Requires a fusion with a joint representation, such as concat, sum or gmu.

    Reference: Dufumier et al., What to Align in Multimodal Contrastive Learning?
    (arXiv:2409.07402).

    Attributes:
        weight: weight of the contrastive loss.
        temperature: what cosines are divided by.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.methods.comm import mutual_nce
        >>> z = jnp.eye(3)  # each row is nearest to itself
        >>> round(mutual_nce(z, z, jnp.ones(3, bool), temperature=0.1).item(), 3)
        0.0
    """

    tried: ClassVar[Tried] = {"weight": (0.03, 0.1, 0.3)}
    weight: float = 0.1
    temperature: float = 0.1

    def init(self, forward: Forward, params: chex.ArrayTree, rows: Batch) -> chex.ArrayTree:
        """Nothing.

        Raises:
            UsageError: the fusion has no joint representation.
        """
        if outline(forward, params, rows).fused is None:
            raise UsageError(
                "fusion",
                expected="one with a joint representation, for the method comm",
                got="one without",
                fix="Use concat, sum or gmu.",
            )
        return ()

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of the sum; "loss" is the objective, "contrast" the unweighted rest."""

        def loss(params, memory, batch, key):
            for_objective, for_views = jax.random.split(key)
            outputs = forward(params, batch, for_objective)
            value, metrics = objective(outputs, batch)
            contrast = self._contrast(forward, params, batch, for_views, sorted(outputs.tokens))
            total = value + self.weight * contrast
            return total, (memory, value, {**metrics, "contrast": contrast})

        return gradient_of(loss)

    def _contrast(self, forward, params, batch, key, names):
        other = batch if batch.view is None else batch._replace(inputs=batch.view)
        views = jax.tree.map(lambda *rows: jnp.concatenate(rows), batch, other)
        coalitions = [names, *([name] for name in names)]
        fused = run_with(forward, params, views, key, coalitions).fused
        assert fused is not None, "checked by init"
        fused = fused.reshape(len(coalitions), 2, -1, fused.shape[-1])
        first, second = fused[:, 0], fused[:, 1]  # [coalition, batch, features]
        present = jnp.stack([batch.present[name] for name in names])
        here = jnp.concatenate([present.any(axis=0, keepdims=True), present])
        nce = jax.vmap(lambda z, w, rows: mutual_nce(z, w, rows, self.temperature), (0, None, 0))
        terms = (nce(first, second[0], here) + nce(second, first[0], here)) / 2
        return mean_where(here.any(axis=1), terms)


def mutual_nce(z: jax.Array, w: jax.Array, here: Array, temperature: float) -> jax.Array:
    """InfoNCE of two views, [rows, features] each, over the rows that count, in nats: [].

    For each view of a row, the other is to be found among both views of all rows but itself.

    Reference: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations
    (arXiv:2002.05709).
    """
    views = jnp.concatenate([z, w])
    views = views / optax.safe_norm(views, 1e-6, axis=-1, keepdims=True)
    counts = jnp.tile(here, 2)
    itself = jnp.eye(len(views), dtype=bool)
    scores = views @ views.T / temperature
    scores = jnp.where(counts[None] & ~itself, scores, jnp.finfo(scores.dtype).min)
    other = jnp.roll(jnp.arange(len(views)), len(z))
    return -mean_where(counts, jax.nn.log_softmax(scores)[jnp.arange(len(views)), other])
