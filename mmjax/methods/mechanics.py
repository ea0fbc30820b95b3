"""Helpers shared by several training methods."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import chex
import jax
import jax.numpy as jnp

from mmjax.data.task import Task
from mmjax.fusion import FUSIONS
from mmjax.layers import mean_where
from mmjax.methods.joint import Joint
from mmjax.objectives.row_losses import classes_of, over_targets, row_losses
from mmjax.types import (
    Array,
    Batch,
    FitLoop,
    Forward,
    Fusion,
    Gradient,
    Objective,
    Outputs,
    Trained,
)

_ENCODER = "encoders_"  # Flax's prefix for the parameters of MultimodalModel.encoders[name]


def train_alone(
    fit: FitLoop,
    recipe: Any,
    task: Task,
    objective: Objective,
    head: Fusion | None = None,
) -> dict[str, Trained]:
    """Trains each encoder in a unimodal model, by default with concat as head: {modality: Fit}."""
    fits = {}
    head = head or FUSIONS["concat"](out_dim=task.out_dim)
    for name, encoder in recipe.model.encoders.items():
        model = recipe.model.clone(encoders={name: encoder}, fusion=head)
        alone = replace(recipe, model=model, objective=objective, method=Joint())
        fits[name] = fit(alone, task.only(name))
    return fits


def encoder_params(params: chex.ArrayTree) -> dict[str, chex.ArrayTree]:
    """The parameters of the encoders; raw encoders have none."""
    return {part: tree for part, tree in params.items() if part.startswith(_ENCODER)}


def map_encoders(
    change: Callable[..., chex.ArrayTree], tree: chex.ArrayTree, *others: chex.ArrayTree
) -> dict[str, chex.ArrayTree]:
    """Replaces each encoder's part of a tree of parameters by ``change(modality, *parts)``."""
    changed = {}
    for part in encoder_params(tree):
        name = part.removeprefix(_ENCODER)
        changed[part] = change(name, tree[part], *(other[part] for other in others))
    return {**tree, **changed}


def scale_encoders(
    grads: chex.ArrayTree, factors: Mapping[str, jax.Array | float]
) -> chex.ArrayTree:
    """Multiplies the gradient of each modality's encoder by the modality's factor, []."""
    scale = lambda name, part: jax.tree.map(lambda g: g * factors[name], part)
    return map_encoders(scale, grads)


def objective_gradient(forward: Forward, objective: Objective) -> Callable[..., Any]:
    """Returns ``(params, batch, key) -> (gradient, metrics with the loss first, outputs)``."""

    def loss(params, batch, key):
        outputs = forward(params, batch, key)
        value, metrics = objective(outputs, batch)
        return value, (metrics, outputs)

    def gradient(params: chex.ArrayTree, batch: Batch, key: jax.Array):
        follow = jax.value_and_grad(loss, has_aux=True)
        (value, (metrics, outputs)), grads = follow(params, batch, key)
        return grads, {"loss": value, **metrics}, outputs

    return gradient


def gradient_of(loss: Callable[..., Any]) -> Gradient:
    """The gradient of ``(params, memory, batch, key) -> (total, (memory, loss, metrics))``."""

    def gradient(params, memory, batch, key):
        follow = jax.grad(loss, has_aux=True)
        grads, (memory, value, metrics) = follow(params, memory, batch, key)
        return grads, memory, {"loss": value, **metrics}

    return gradient


def modulated_gradient(loss: Callable[..., Any]) -> Gradient:
    """As ``gradient_of``, with each encoder's gradient times a factor.

    Args:
        loss: returns (memory, {modality: factor}) in the place of the memory.
    """
    follow = gradient_of(loss)

    def gradient(params, memory, batch, key):
        grads, (memory, factors), metrics = follow(params, memory, batch, key)
        return scale_encoders(grads, factors), memory, metrics

    return gradient


def outline(forward: Forward, params: chex.ArrayTree, rows: Batch) -> Outputs:
    """The shapes of the model's outputs for some rows, without computing them."""
    return jax.eval_shape(forward, params, rows, jax.random.key(0))


def take_turns(
    batch: Batch, names: Sequence[str], turn: Callable[[int], jax.Array]
) -> tuple[Batch, jax.Array]:
    """Hides the modalities whose turn it is not; also returns which rows, [batch], keep any.

    Args:
        batch: the rows.
        names: names of the modalities.
        turn: maps the index of a modality to whether, [] bool, it is its turn.
    """
    present = {name: batch.present[name] & turn(i) for i, name in enumerate(names)}
    here = jnp.stack(list(present.values())).any(axis=0)
    return batch._replace(present=present), here


def predict_with(
    forward: Forward,
    params: chex.ArrayTree,
    batch: Batch,
    key: jax.Array,
    coalitions: Sequence[Sequence[str]],
) -> list[jax.Array]:
    """Predictions, [batch, out_dim], from each of several subsets of the modalities."""
    outputs = run_with(forward, params, batch, key, coalitions)
    return jnp.split(outputs.prediction, len(coalitions))


def run_with(
    forward: Forward,
    params: chex.ArrayTree,
    batch: Batch,
    key: jax.Array,
    coalitions: Sequence[Sequence[str]],
) -> Outputs:
    """The outputs, [coalition * batch, ...], from each of several subsets of the modalities.

    All go through the model as one tall batch: rows are independent, and the model is traced once.
    """
    kept = [batch.hide(batch.present.keys() - coalition) for coalition in coalitions]
    tall = jax.tree.map(lambda *rows: jnp.concatenate(rows), *kept)
    return forward(params, tall, key)


def modality_logits(
    forward: Forward, params: chex.ArrayTree, batch: Batch, key: jax.Array, outputs: Outputs
) -> dict[str, jax.Array]:
    """The logits of each modality by itself: {name: [batch, out_dim]}, sorted by name.

    These are the fusion's branches if it has any, otherwise its predictions with the other
    modalities absent.
    """
    if outputs.branches:
        return {name: outputs.branches[name] for name in sorted(outputs.branches)}
    names = sorted(outputs.tokens)
    predictions = predict_with(forward, params, batch, key, [[name] for name in names])
    return dict(zip(names, predictions, strict=True))


def modality_losses(logits: Mapping[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
    """Cross-entropy of each modality's logits over the rows that have it, in nats: {name: []}."""
    return {name: loss_where(batch.present[name], x, batch) for name, x in logits.items()}


def loss_where(counts: Array, prediction: jax.Array, batch: Batch) -> jax.Array:
    """Mean loss in nats over the rows, [batch] bool, that count; zero if none does: []."""
    return over_targets(lambda rows: mean_where(counts, row_losses(prediction, rows)), batch)


def target_scores(logits: Mapping[str, jax.Array], batch: Batch) -> jax.Array:
    """Mean probability of the target over the rows that have the modality: [modality]."""
    scores, target = [], classes_of(batch)
    for name, rows in logits.items():
        chosen = jnp.take_along_axis(jax.nn.softmax(rows), target[:, None], axis=1)[:, 0]
        scores.append(mean_where(batch.present[name], chosen))
    return jnp.stack(scores)


def occurs(names: Iterable[str], batch: Batch) -> jax.Array:
    """Which modalities any row has: [modality] bool, in the order of the names."""
    return jnp.stack([batch.present[name].any() for name in names])


def mean_of_others(values: jax.Array, counts: jax.Array) -> tuple[jax.Array, jax.Array]:
    """For each modality the mean of the others that count, and whether there is such a mean.

    Args:
        values: [modality].
        counts: [modality] bool.

    Returns:
        [modality] means, and [modality] bool: whether it and another one count.
    """
    values = jnp.where(counts, values, 0)
    others = counts.sum() - counts
    return (values.sum() - values) / jnp.maximum(others, 1), counts & (others > 0)


def discrepancy_ratios(logits: Mapping[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
    """How far ahead of the others each modality is, over the rows that have it: {name: []}.

    One for a modality that no row has, or that has no other beside it.
    """
    scores = target_scores(logits, batch)
    others, comparable = mean_of_others(scores, occurs(logits, batch))
    ratios = jnp.where(comparable, scores / jnp.where(comparable, others, 1), 1)
    return dict(zip(logits, ratios, strict=True))
