"""Sample-level valuation: rows are repeated with the modality that contributes little to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from mmjax.data.coalitions import shapley, subsets
from mmjax.layers import mean_where
from mmjax.methods.mechanics import gradient_of, predict_with
from mmjax.objectives.row_losses import classes_of, over_targets, row_losses
from mmjax.types import Batch, Forward, Gradient, Method, Objective, Tried


@dataclass(frozen=True)
class SampleValuation(Method):
    r"""Repeats each row with one modality alone, the more often, the less that one contributes.

    :math:`v(S)`, the value of a set of modalities for a row, is the number of those in :math:`S`
    that the row has, if the prediction from them is right, otherwise zero. The contribution
    :math:`\phi_m` is the Shapley value of modality :math:`m`; they sum to the number of modalities
    if the whole row is predicted correctly, so that 1 is a fair share. Where :math:`\phi_m < 1` the
    row is repeated :math:`c_m = \text{copies} (1 - \phi_m)` times with modality :math:`m` alone.
    The loss is the mean over the rows and their copies: :math:`(N \text{loss} + \sum_{i, m} c_{i,
    m} \text{CE}_{i, m}) / (N + \sum_{i, m} c_{i, m})`, with :math:`\text{CE}_{i, m}` the
    cross-entropy of row :math:`i` predicted from :math:`m` alone. A row with a single modality is
    not repeated, so that with one modality this is joint training. Each step predicts from all
    :math:`2^M - 1` sets of modalities, so it suits only a few. For targets that are classes.

    The paper values the training rows after each epoch without dropout, and samples the copies into
    the next epoch, after some epochs of joint training. Here copies are weights in the step that
    values the rows, from the first step on: the same expected loss, of newer values. With two
    modalities there are as many copies as in the authors' code: 1, 2 or 3.

    Reference: Wei et al., Enhancing Multimodal Cooperation via Sample-level Modality Valuation
    (arXiv:2309.06255).

    Attributes:
        copies: number of copies of a row with a modality that contributes nothing.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.methods.sample_valuation import contributions
        >>> from mmjax.types import Batch
        >>> wrong, right = jnp.array([[0.0, 1.0]]), jnp.array([[1.0, 0.0]])
        >>> predictions = {("audio",): wrong, ("image",): right, ("audio", "image"): right}
        >>> batch = Batch({}, {n: jnp.array([True]) for n in ("audio", "image")}, jnp.array([0]))
        >>> {name: phi.item() for name, phi in contributions(predictions, batch).items()}
        {'audio': 0.5, 'image': 1.5}
    """

    tried: ClassVar[Tried] = {"copies": (1.0, 2.0, 4.0)}
    copies: float = 2.0

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of the mean; metrics include the mean contribution of each modality."""

        def loss(params, memory, batch, key):
            outputs = forward(params, batch, key)
            value, metrics = objective(outputs, batch)
            *parts, whole = subsets(outputs.tokens)[1:]
            predictions: dict[Sequence[str], jax.Array] = {whole: outputs.prediction}
            if parts:
                found = predict_with(forward, params, batch, key, parts)
                predictions.update(zip(parts, found, strict=True))
            phi = contributions(predictions, batch)
            several = sum(batch.present[name].astype(jnp.int32) for name in phi) > 1
            total, size = value * len(batch.target), jnp.float32(len(batch.target))
            for name, each in phi.items():
                counts = batch.present[name] & several
                copies = jnp.where(counts, self.copies * jax.nn.relu(1 - each), 0)
                total += (copies * _row_losses(predictions[(name,)], batch)).sum()
                size += copies.sum()
            means = {f"contribution_{n}": mean_where(batch.present[n], x) for n, x in phi.items()}
            return total / size, (memory, value, {**metrics, **means})

        return gradient_of(loss)


def contributions(
    predictions: Mapping[Sequence[str], jax.Array], batch: Batch
) -> dict[str, jax.Array]:
    """What each modality contributes to the right prediction of each row: {name: [batch]}.

    Args:
        predictions: {modalities: logits [batch, class]} of all sets but the empty one.
        batch: the rows.
    """
    target = classes_of(batch)
    values = {frozenset[str](): jnp.zeros(len(target))}
    for names, logits in predictions.items():
        number = sum(batch.present[name].astype(jnp.int32) for name in names)
        values[frozenset(names)] = jnp.where(logits.argmax(axis=-1) == target, number, 0.0)
    return shapley(values)


def _row_losses(prediction: jax.Array, batch: Batch) -> jax.Array:
    return over_targets(lambda rows: row_losses(prediction, rows), batch)
