"""Losses on the unimodal branches."""

import jax.numpy as jnp

from mmjax.objectives.row_losses import Result, branch_losses, finish, row_losses
from mmjax.types import Batch, Outputs


def branches(outputs: Outputs, batch: Batch, *, weight: float = 1.0) -> Result:
    """Cross-entropy of the prediction plus ``weight`` times that of every branch, in nats.

    Each branch is averaged over the rows that have its modality. For a fusion without branches,
    only the cross-entropy of the prediction remains.

    Reference: Vielzeuf et al., CentralNet: a Multilayer Approach for Multimodal Fusion
    (arXiv:1808.07275), whose multi-task loss it is; the idea is that of Lee et al.,
    Deeply-Supervised Nets (arXiv:1409.5185).

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.objectives import branches
        >>> from mmjax.types import Batch, Outputs
        >>> logits = jnp.zeros((2, 3))
        >>> outputs = Outputs(logits, branches={"audio": logits})
        >>> batch = Batch(inputs={}, present={"audio": jnp.ones(2, bool)}, target=jnp.array([0, 2]))
        >>> loss, metrics = branches(outputs, batch, weight=0.5)
        >>> round(loss.item(), 3)  # 1.5 * log 3
        1.648
    """
    loss = row_losses(outputs.prediction, batch).mean()
    return finish(loss + weight * branch_losses(outputs, batch), outputs, batch)


def branch_mean(outputs: Outputs, batch: Batch) -> Result:
    """Mean of the branches' cross-entropies, in nats; the prediction itself has no loss.

    Each branch is averaged over the rows that have its modality. For a fusion without branches, the
    cross-entropy of the prediction takes their place.

    Reference: Nagrani et al., Attention Bottlenecks for Multimodal Fusion (arXiv:2107.00135).

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.objectives import branch_mean
        >>> from mmjax.types import Batch, Outputs
        >>> logits = jnp.zeros((2, 3))
        >>> outputs = Outputs(logits, branches={"audio": logits})
        >>> batch = Batch(inputs={}, present={"audio": jnp.ones(2, bool)}, target=jnp.array([0, 2]))
        >>> round(branch_mean(outputs, batch)[0].item(), 3)  # log 3
        1.099
    """
    if not outputs.branches:
        return finish(row_losses(outputs.prediction, batch).mean(), outputs, batch)
    mean = branch_losses(outputs, batch) / len(outputs.branches)
    return finish(jnp.asarray(mean), outputs, batch)
