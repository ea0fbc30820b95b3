"""A modality is to be as sure of a sample as it is right about it, compared with other samples."""

import jax
import jax.numpy as jnp

from mmjax.layers import mean_where
from mmjax.objectives.row_losses import (
    Result,
    branch_losses,
    branch_rows,
    finish,
    row_losses,
)
from mmjax.types import Array, Batch, Outputs


def confidence_ranking(outputs: Outputs, batch: Batch, *, weight: float = 0.1) -> Result:
    """Cross-entropies of prediction and branches, and confidence in the order of the losses.

    A branch's confidence in a row is ``k_i = logsumexp(l_i)``, its loss there ``c_i``, a constant.
    Two rows add ``max(0, sign(c_i - c_j) (k_i - k_j) + |c_i - c_j|)``, in nats: the one with the
    larger loss is to have the smaller confidence, by the difference of the losses at least. The
    mean over all pairs of rows that have the modality, added up over branches, counts ``weight``
    times. The papers rank by the loss averaged over training so far, and compare neighbours in the
    batch; here it is the loss in this batch and all pairs, so that no row's place matters. A
    fusion without branches is left with the cross-entropy of its prediction.

    Reference: Zhang et al., Provable Dynamic Fusion for Low-Quality Multimodal Data
    (arXiv:2306.02050), after Moon et al., Confidence-Aware Learning for Deep Neural Networks
    (arXiv:2007.01458).
    """
    loss = row_losses(outputs.prediction, batch).mean() + branch_losses(outputs, batch)
    ranks = sum(_misranking(row, batch) for row in branch_rows(outputs, batch))
    return finish(loss + weight * ranks, outputs, batch)


def _misranking(branch: tuple[jax.Array, Array], batch: Batch) -> jax.Array:
    """Mean hinge over the pairs of rows that have the branch: []."""
    logits, here = branch
    difference = lambda x: x[:, None] - x[None]  # [row, other row]
    harder = difference(jax.lax.stop_gradient(row_losses(logits, batch)))
    surer = difference(jax.nn.logsumexp(logits, axis=-1))
    hinge = jax.nn.relu(jnp.sign(harder) * surer + jnp.abs(harder))
    pairs = here[:, None] & here[None] & ~jnp.eye(len(here), dtype=bool)
    return mean_where(pairs, hinge)
