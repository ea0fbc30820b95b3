"""On-the-fly prediction modulation: the modality that is ahead is dropped from some rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from mmjax.errors import UsageError
from mmjax.methods.joint import Joint
from mmjax.methods.mechanics import discrepancy_ratios, modality_logits
from mmjax.types import Array, Forward, Gradient, Method, Objective, Tried


@dataclass(frozen=True)
class OPM(Method):
    r"""Joint training in which rows lose a modality the more often, the further it is ahead.

    :math:`\rho_m = s_m / \text{mean}_{j \ne m} s_j` as in ``OGMGE``, with :math:`s_m` the mean
    probability of the target under the logits of modality :math:`m` alone. Where
    :math:`\rho_m > 1`, each row loses modality :math:`m` with the probability :math:`q_m = \min(1,
    \text{rate} (1 + \alpha \tanh(\rho_m - 1)))`, otherwise never. A step drops modalities with the
    probability ``share``, and trains on whole rows otherwise. The paper has two modalities, of
    which one is never dropped; with more, the ratio is to the mean of the others. A row that would
    lose all that it has keeps them, and with one modality this is joint training. Logits are a
    fusion's branches, or its predictions from one modality alone.

    The paper sets features to zero and scales up the rest, as dropout does. Here the modality is
    absent from the row, so the fusion makes up for it as it does for a missing one. The authors'
    code begins after the first epochs, this in the first step.

    Reference: Wei et al., On-the-fly Modulation for Balanced Multimodal Learning
    (arXiv:2410.11582).

    Attributes:
        rate: probability of dropping a modality that is barely ahead, in [0, 1].
        alpha: how much the lead adds to it.
        share: share of the steps that drop modalities, in [0, 1].

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.methods import OPM
        >>> ratios = {"audio": jnp.array(1.76), "image": jnp.array(0.57)}  # audio is ahead
        >>> {name: round(q.item(), 2) for name, q in OPM().drop_rates(ratios).items()}
        {'audio': 0.66, 'image': 0.0}
    """

    tried: ClassVar[Tried] = {"rate": (0.3, 0.5, 0.7), "alpha": (0.25, 0.5, 1.0)}
    rate: float = 0.5
    alpha: float = 0.5
    share: float = 0.7

    def __post_init__(self) -> None:
        for name in ("rate", "share"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise UsageError(name, expected="a probability in [0, 1]", got=str(value))

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient on the modalities that remain; metrics include the rate of each modality."""
        joint = Joint().gradient(forward, objective)

        def gradient(params, memory, batch, key):
            outputs = forward(params, batch, key)
            logits = modality_logits(forward, params, batch, key, outputs)
            rates = self.drop_rates(discrepancy_ratios(logits, batch))
            # Dropout keeps its key, so that with balanced modalities this equals joint training.
            step_key, row_key = jax.random.split(jax.random.fold_in(key, 0))
            here = jax.random.bernoulli(step_key, self.share)
            drop = {name: here * rate for name, rate in rates.items()}
            left = batch._replace(present=drop_at(row_key, batch.present, drop))
            grads, memory, metrics = joint(params, memory, left, key)
            rates = {f"dropped_{name}": rate for name, rate in rates.items()}
            return grads, memory, {**metrics, **rates}

        return gradient

    def drop_rates(self, ratios: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """The probability of dropping each modality, from the ratios of ``discrepancy_ratios``."""
        grown = lambda ratio: jnp.minimum(self.rate * (1 + self.alpha * jnp.tanh(ratio - 1)), 1)
        return {name: jnp.where(ratio > 1, grown(ratio), 0.0) for name, ratio in ratios.items()}


def drop_at(
    key: jax.Array, present: Mapping[str, Array], rates: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
    """Drops each modality, [batch] bool, with its own probability, []; no row loses all."""
    names = sorted(present)
    here = jnp.stack([present[name] for name in names])  # [modality, batch]
    rate = jnp.stack([rates[name] for name in names])[:, None]
    left = here & (jax.random.uniform(key, here.shape) >= rate)
    left = jnp.where(left.any(axis=0), left, here)
    return dict(zip(names, left, strict=True))
