"""Evidential classification: evidence as the parameters of a Dirichlet distribution."""

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln

from mmjax.layers import mean_where
from mmjax.objectives.row_losses import Result, branch_rows, classes_of, finish, weigh
from mmjax.types import Batch, Outputs


def evidential(outputs: Outputs, batch: Batch, *, kl_weight: float = 0.1) -> Result:
    r"""Expected cross-entropy of the fused opinion and all branches, plus a KL regulariser.

    Logits are interpreted as log-parameters of a Dirichlet, :math:`\alpha = \exp(\text{logits})`,
    as returned by the evidential fusion. The loss of an opinion is :math:`\text{digamma}(\sum_k
    \alpha_k) - \text{digamma}(\alpha_y) + \lambda \text{KL}(\text{Dir}(a) \| \text{Dir}(1))`, in
    nats, where :math:`\lambda` is ``kl_weight``, and :math:`a` is :math:`\alpha` with one in place
    of :math:`\alpha_y`. The paper anneals the weight from zero to one over the first epochs; an
    objective does not know the epoch, so here it is constant and small. Each branch is averaged
    over the rows that have its modality. The opinion of all modalities together, ``outputs.joint``,
    counts like a branch where there is one. For a fusion without either, only the fused opinion
    counts.

    Reference: Han et al., Trusted Multi-View Classification (arXiv:2102.02051).

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.objectives import evidential
        >>> from mmjax.types import Batch, Outputs
        >>> outputs = Outputs(jnp.zeros((2, 3)))  # no evidence
        >>> batch = Batch(inputs={}, present={}, target=jnp.array([0, 2]))
        >>> loss, metrics = evidential(outputs, batch)
        >>> round(loss.item(), 3)  # 1 + 1/2, for three classes
        1.5
    """
    target = classes_of(batch)
    everywhere = jnp.ones(target.shape, bool)
    opinions = [(outputs.prediction, everywhere), *branch_rows(outputs, batch)]
    if outputs.joint is not None:
        opinions.append((outputs.joint, everywhere))
    logits, here = map(jnp.stack, zip(*opinions, strict=True))
    is_target = jax.nn.one_hot(target, logits.shape[-1], dtype=bool)[None]
    alpha = jnp.exp(logits)  # [opinion, batch, classes]
    surprise = digamma(alpha.sum(axis=-1)) - jnp.where(is_target, digamma(alpha), 0).sum(axis=-1)
    losses = surprise + kl_weight * _kl_to_uniform(jnp.where(is_target, 1, alpha))
    losses = jax.vmap(weigh, (0, None))(losses, batch)
    return finish(mean_where(here, losses, axis=1).sum(), outputs, batch)


def _kl_to_uniform(alpha: jax.Array) -> jax.Array:
    """KL divergence of Dir(alpha), [..., classes], from the uniform Dir(1), in nats: [...]."""
    total = alpha.sum(axis=-1)
    log_ratio = gammaln(total) - gammaln(float(alpha.shape[-1])) - gammaln(alpha).sum(axis=-1)
    return log_ratio + ((alpha - 1) * (digamma(alpha) - digamma(total)[..., None])).sum(axis=-1)
