"""Modality dropout: rows lose modalities at random in training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from mmjax.errors import UsageError
from mmjax.methods.joint import Joint
from mmjax.types import Forward, Gradient, Method, Objective, Tried


@dataclass(frozen=True)
class ModalityDropout(Method):
    r"""Joint training with each modality of each row dropped at random.

    :math:`\text{present}_m \gets \text{present}_m \land (u_m \ge \min(\text{rate}, \max_j u_j))`,
    with :math:`u` uniform in [0, 1) for each modality that a row has: draws are independent, except
    that the modality with the largest is never dropped, so that no row loses all. A row with a
    single modality keeps it.

    Reference: Neverova et al., ModDrop: Adaptive Multi-modal Gesture Recognition
    (arXiv:1501.00102).

    Attributes:
        rate: probability of dropping a modality, in [0, 1], from a row that has others.

    Example:
        >>> import jax
        >>> from mmjax.methods import ModalityDropout
        >>> from mmjax.methods.modality_dropout import drop_modalities
        >>> here = jax.numpy.ones(5, bool)
        >>> left = drop_modalities(jax.random.key(0), {"audio": here, "image": here}, rate=1.0)
        >>> sum(left.values()).tolist()  # every row keeps one
        [1, 1, 1, 1, 1]
    """

    tried: ClassVar[Tried] = {"rate": (0.1, 0.2, 0.3, 0.5)}
    rate: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise UsageError("rate", expected="a probability in [0, 1]", got=str(self.rate))

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of the objective on the modalities that remain."""
        joint = Joint().gradient(forward, objective)

        def gradient(params, memory, batch, key):
            drop_key, key = jax.random.split(key)
            left = drop_modalities(drop_key, batch.present, self.rate)
            return joint(params, memory, batch._replace(present=left), key)

        return gradient


def drop_modalities(
    key: jax.Array, present: Mapping[str, jax.Array], rate: float
) -> dict[str, jax.Array]:
    """Drops modalities, [batch] bool each, at random; a row that has any keeps at least one."""
    names = sorted(present)
    here = jnp.stack([present[name] for name in names])  # [modality, batch]
    draw = jnp.where(here, jax.random.uniform(key, here.shape), -1)
    left = here & (draw >= jnp.minimum(rate, draw.max(axis=0, keepdims=True)))
    return dict(zip(names, left, strict=True))
