"""More vs. Fewer: a row should not be predicted better with fewer of its modalities."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp

from mmjax.methods.mechanics import gradient_of
from mmjax.objectives.row_losses import over_targets, row_losses
from mmjax.types import Forward, Gradient, Method, Objective, Removable, Tried


@dataclass(frozen=True)
class MoreVsFewer(Method):
    r"""Trains on two nested subsets of each row's modalities, and ranks the losses of the two.

    :math:`(L(X^+) + L(X^-)) / 2 + \text{weight} \text{mean} \max(0, l(X^+) - l(X^-))` with
    :math:`X^-` a proper subset of :math:`X^+`, both drawn anew for each row in each step, :math:`L`
    the objective and :math:`l` the rows' cross-entropies in nats (for numbers, half the squared
    errors). The sizes are uniform, that of :math:`X^+` from two to all that the row has and that of
    :math:`X^-` from one to one less; the authors' code draws pairs by rejection, so that it sees
    each subset about as often, and augments both by themselves. Here both see the same dropout. A
    row with a single modality keeps it in both, and is not ranked. Works for any number of
    modalities and any fusion.

    Reference: Li et al., SimMLM: A Simple Framework for Multi-modal Learning with Missing Modality
    (arXiv:2507.19264), with its fusion, ``simmlm``.

    Attributes:
        weight: weight of the ranking loss.

    Example:
        >>> import jax
        >>> from mmjax.methods.more_vs_fewer import nested_subsets
        >>> here = jax.numpy.ones(5, bool)
        >>> more, fewer = nested_subsets(jax.random.key(0), {"audio": here, "image": here})
        >>> sum(more.values()).tolist(), sum(fewer.values()).tolist()
        ([2, 2, 2, 2, 2], [1, 1, 1, 1, 1])
    """

    removable: ClassVar[Removable] = {"ranking": {"weight": 0.0}}
    tried: ClassVar[Tried] = {"weight": (0.01, 0.1, 1.0)}
    weight: float = 0.1

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of the sum; "loss" is the mean objective, "ranking" the ranking loss."""

        def loss(params, memory, batch, key):
            draw_key, key = jax.random.split(key)
            halves = []
            for present in nested_subsets(draw_key, batch.present):
                rows = batch._replace(present=present)
                outputs = forward(params, rows, key)
                lost = over_targets(partial(row_losses, outputs.prediction), rows)
                halves.append((*objective(outputs, rows), lost))
            (more, metrics, more_lost), (fewer, _, fewer_lost) = halves
            value = (more + fewer) / 2
            ranking = jax.nn.relu(more_lost - fewer_lost).mean()
            metrics = {**metrics, "ranking": ranking}
            return value + self.weight * ranking, (memory, value, metrics)

        return gradient_of(loss)


def nested_subsets(
    key: jax.Array, present: Mapping[str, jax.Array]
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Two subsets of each row's modalities, {name: [batch] bool}, the second within the first."""
    names = sorted(present)
    here = jnp.stack([present[name] for name in names])  # [modality, batch]
    order_key, more_key, fewer_key = jax.random.split(key, 3)
    draws = jnp.where(here, jax.random.uniform(order_key, here.shape), 2)
    rank = draws.argsort(axis=0).argsort(axis=0)  # of modalities in a row; absent ones come last
    pick = lambda key, count: jnp.floor(count * jax.random.uniform(key, count.shape))
    more = 2 + pick(more_key, here.sum(axis=0) - 1)
    fewer = 1 + pick(fewer_key, more - 1)
    split = lambda size: dict(zip(names, here & (rank < size[None]), strict=True))
    return split(more), split(fewer)
