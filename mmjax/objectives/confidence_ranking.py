"""Confidence ranking: a modality's confidence should rank samples as its losses do."""

import jax
import jax.numpy as jnp

from mmjax.layers import mean_where
from mmjax.objectives.row_losses import (
    Result,
    branch_losses,
    branch_rows,
    classes_of,
    finish,
    row_losses,
    surprise,
)
from mmjax.types import Array, Batch, Outputs


def confidence_ranking(outputs: Outputs, batch: Batch, *, weight: float = 0.1) -> Result:
    r"""Cross-entropies of prediction and branches, plus a ranking loss on the branches' confidence.

    A branch's confidence in a row is :math:`k_i = \text{logsumexp}(l_i)`, and its loss there,
    treated as a constant, is :math:`c_i`. Each pair of rows adds :math:`\max(0, \text{sign}(c_i -
    c_j) (k_i - k_j) + |c_i - c_j|)`, in nats: the row with the larger loss should have the smaller
    confidence, by at least the difference of the losses. The mean over all pairs of rows that have
    the modality, summed over branches, is weighted by ``weight``. The papers rank by the loss
    averaged over training so far, and compare neighbours in the batch; here it is the loss in this
    batch and all pairs, so that the order of the rows does not matter. The authors' code subtracts
    the margin instead of adding it, so that a pair may also be ranked wrongly by as much, divides
    confidences by 10 and scales losses to 0 to 1; the formula here is the paper's. For a fusion
    without branches, only the cross-entropy of the prediction remains.

    Reference: Zhang et al., Provable Dynamic Fusion for Low-Quality Multimodal Data
    (arXiv:2306.02050), after Moon et al., Confidence-Aware Learning for Deep Neural Networks
    (arXiv:2007.01458).

    Raises:
        UsageError: the targets are not classes; only a softmax has this confidence.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.objectives import confidence_ranking
        >>> from mmjax.types import Batch, Outputs
        >>> logits = jnp.array([[1.0, 0.0], [1.0, 0.0]])  # as confident in the row that is wrong
        >>> outputs = Outputs(logits, branches={"audio": logits})
        >>> batch = Batch(inputs={}, present={"audio": jnp.ones(2, bool)}, target=jnp.array([0, 1]))
        >>> loss, metrics = confidence_ranking(outputs, batch, weight=1.0)
        >>> round(loss.item(), 3)  # 2 * 0.813 + 1: the losses of the rows differ by 1
        2.627
    """
    classes_of(batch)
    loss = row_losses(outputs.prediction, batch).mean() + branch_losses(outputs, batch)
    ranks = sum(_misranking(row, batch) for row in branch_rows(outputs, batch))
    return finish(loss + weight * ranks, outputs, batch)


def _misranking(branch: tuple[jax.Array, Array], batch: Batch) -> jax.Array:
    """Mean hinge loss over the pairs of rows that have the branch: []."""
    logits, here = branch
    difference = lambda x: x[:, None] - x[None]  # [row, other row]
    harder = difference(jax.lax.stop_gradient(surprise(logits, batch)))
    more_sure = difference(jax.nn.logsumexp(logits, axis=-1))
    hinge = jax.nn.relu(jnp.sign(harder) * more_sure + jnp.abs(harder))
    pairs = here[:, None] & here[None] & ~jnp.eye(len(here), dtype=bool)
    return mean_where(pairs, hinge)
