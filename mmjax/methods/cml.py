"""Calibrating multimodal learning: confidence must not rise when a modality is removed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from mmjax.layers import mean_where
from mmjax.methods.mechanics import gradient_of
from mmjax.objectives.row_losses import classes_of
from mmjax.types import Array, Forward, Gradient, Method, Objective, Tried


@dataclass(frozen=True)
class CML(Method):
    r"""Penalises rows in which the model is surer after it has lost a modality.

    :math:`\text{loss} + \text{weight} \text{mean} \max(0, c(S) - c(T))` with :math:`c` the largest
    probability that the model predicts, from a set of modalities :math:`T` and from :math:`S`,
    which lacks one of them. As in the paper, not all pairs are compared: each row loses its
    modalities one after another, in random order, down to the last, and the mean is over these
    steps of all rows. Dropout is the same for both sets. A row with a single modality has no pair,
    so that with one modality this is joint training. Each step predicts from :math:`M` sets of
    modalities. For targets that are classes, and any fusion.

    The authors' code sums over rows and steps, where this takes the mean: its weight of 0.1 on
    batches of 200 rows is 20 here, with two modalities. It also trains on the smaller sets, counts
    only rows that :math:`T` predicts correctly, and where both sets are wrong corrects :math:`S`
    alone.

    Reference: Ma et al., Calibrating Multimodal Learning (arXiv:2306.01265).

    Attributes:
        weight: weight of the mean rise in confidence.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from mmjax.methods.cml import remove_in_turn
        >>> present = {"audio": jnp.array([True, True]), "image": jnp.array([True, False])}
        >>> chain, removed = remove_in_turn(jax.random.key(0), present)
        >>> sum(chain.values()).tolist()  # how many each row has, before and after
        [[2, 1], [1, 1]]
        >>> removed.tolist()  # the second row has nothing to lose
        [[True, False]]
    """

    tried: ClassVar[Tried] = {"weight": (0.1, 1.0, 10.0)}
    weight: float = 1.0

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of the sum; "loss" is the objective alone, "rise" that of confidence."""

        def loss(params, memory, batch, key):
            classes_of(batch)
            # Dropout keeps its key, so that with a weight of zero this equals joint training.
            chain, removed = remove_in_turn(jax.random.fold_in(key, 0), batch.present)
            predict = lambda present: forward(params, batch._replace(present=present), key)
            outputs = jax.vmap(predict)(chain)
            value, metrics = objective(jax.tree.map(lambda x: x[0], outputs), batch)
            confidence = jax.nn.softmax(outputs.prediction).max(axis=-1)  # [step, batch]
            rise = mean_where(removed, jax.nn.relu(confidence[1:] - confidence[:-1]))
            return value + self.weight * rise, (memory, value, {**metrics, "rise": rise})

        return gradient_of(loss)


def remove_in_turn(
    key: jax.Array, present: Mapping[str, Array]
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Removes modalities of each row one after another in random order, all but the last.

    Args:
        key: decides on the order.
        present: {name: [batch] bool}.

    Returns:
        {name: [modality, batch] bool}, the rows as they are and after each removal, and [modality -
        1, batch] bool, whether the row had a modality to lose.
    """
    names = sorted(present)
    here = jnp.stack([present[name] for name in names])  # [modality, batch]
    draw = jnp.where(here, jax.random.uniform(key, here.shape), -1)
    place = draw.argsort(axis=0).argsort(axis=0)  # absent ones come first
    count = here.sum(axis=0, keepdims=True)
    step = jnp.arange(len(names))[:, None]
    gone = len(names) - count + jnp.minimum(step, jnp.maximum(count - 1, 0))  # [step, batch]
    kept = {name: here[None, i] & (place[None, i] >= gone) for i, name in enumerate(names)}
    return kept, step[1:] < count
