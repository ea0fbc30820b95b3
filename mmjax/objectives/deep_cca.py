"""Canonical correlation between modalities as part of the loss."""

from itertools import combinations

from mmjax.layers import masked_mean
from mmjax.layers.correlation import total_correlation
from mmjax.objectives.row_losses import Result, finish, row_losses
from mmjax.types import Batch, Outputs


def deep_cca(
    outputs: Outputs, batch: Batch, *, weight: float = 0.01, ridge: float = 1e-3
) -> Result:
    r"""Cross-entropy minus the total canonical correlation of every pair of modalities.

    :math:`\text{CE} - \text{weight} \sum_{i<j} \text{tr}((S_{ii}^{-1} S_{ij} S_{jj}^{-1}
    S_{ji})^{1/2})` over the rows that have both modalities, each represented by the mean of its
    valid tokens. The paper trains encoders by the second term alone. The batch should have many
    times more rows than tokens have features: with as many or fewer, any two sets of rows correlate
    perfectly, and nothing is learned from it.

    Reference: Andrew et al., Deep Canonical Correlation Analysis (ICML 2013).

    Args:
        outputs: outputs of the model; their tokens are correlated.
        batch: the rows.
        weight: weight of the correlation, in nats per unit.
        ridge: regulariser of the covariances, in units of their mean variance.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.objectives import deep_cca
        >>> from mmjax.testing import make_tokens
        >>> from mmjax.types import Batch, Outputs
        >>> audio = make_tokens({"audio": (1, 2)}, batch=64)["audio"]
        >>> outputs = Outputs(jnp.zeros((64, 3)), {"audio": audio, "image": audio})
        >>> loss, metrics = deep_cca(outputs, Batch({}, {}, jnp.arange(64) % 3), weight=0.1)
        >>> round(loss.item(), 2)  # log 3 - 0.1 * 2, for 2 perfectly correlated features
        0.9
    """
    pooled = {n: masked_mean(outputs.tokens[n]) for n in sorted(outputs.tokens)}
    present = {n: outputs.tokens[n].mask.any(axis=1) for n in pooled}
    total = sum(
        total_correlation(pooled[i], pooled[j], present[i] & present[j], ridge=ridge)
        for i, j in combinations(pooled, 2)
    )
    return finish(row_losses(outputs.prediction, batch).mean() - weight * total, outputs, batch)
