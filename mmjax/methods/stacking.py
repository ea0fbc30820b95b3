"""Stacked generalisation: a meta-classifier trained on out-of-fold logits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from mmjax.data.task import Task
from mmjax.errors import UsageError
from mmjax.fusion import FUSIONS
from mmjax.methods.mechanics import encoder_params, train_alone
from mmjax.objectives.row_losses import row_losses, weigh_classes
from mmjax.types import Batch, FitLoop, Forward, Gradient, Method, Objective, Prepared


@dataclass(frozen=True)
class Stacking(Method):
    r"""Trains unimodal classifiers, and a meta-classifier on their out-of-fold logits.

    The groups of the training rows are split into :math:`K` folds. For each fold and modality a
    classifier is trained on the other folds; :math:`V [l_1; \ldots; l_M] + c` is then fitted to
    their logits on the held-out folds, by cross-entropy on all rows at once with the recipe's
    optimiser. Finally, classifiers trained on all rows replace those of the folds. All of this
    happens in advance: the run itself changes nothing, and its training loss is that of rows the
    readouts have seen. One modality: a correction of its logits. A row that lacks a modality
    contributes nothing to that modality's weights.

    Requires the fusion stacking.

    Reference: Wolpert, Stacked Generalization (Neural Networks 1992).

    Attributes:
        folds: number of folds, at most the number of groups.

    Example:
        >>> from mmjax.methods import Stacking
        >>> Stacking(folds=3).num_runs(num_modalities=2)  # per modality: 3 folds, and all rows
        8
    """

    folds: int = 3

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise UsageError("folds", expected="at least 2", got=str(self.folds))

    def num_runs(self, num_modalities: int) -> int:
        """One per modality and fold, and one per modality on all rows."""
        return num_modalities * (self.folds + 1)

    def prepare(self, fit: FitLoop, recipe: Any, task: Task) -> Prepared:
        """Trains the classifiers and the meta-classifier.

        Raises:
            UsageError: there are fewer groups than folds, or a class occurs in a single fold.
        """
        fusion = recipe.model.fusion
        head = FUSIONS["late_mean"](task.out_dim, fusion.width, fusion.dropout)
        train = lambda part: train_alone(fit, recipe, part, recipe.objective, head)
        folds = deal_groups(task.train.group, self.folds)
        _check_folds(folds, task.train)
        logits = _out_of_fold(train, task, folds)
        rows = weigh_classes(Batch({}, {}, task.train.target), recipe.class_weights)
        meta = _fit_meta(logits, rows, recipe.tx.build(recipe.steps), recipe.steps)
        params: dict[str, Any] = {}
        readouts: dict[str, Any] = {}
        for trained in train(task).values():
            params |= encoder_params(trained.params)
            readouts |= trained.params["fusion"]
        return Prepared({**params, "fusion": {**readouts, "meta": meta}})

    def init(self, forward: Forward, params: chex.ArrayTree, rows: Batch) -> chex.ArrayTree:
        """No memory.

        Raises:
            UsageError: the fusion is not stacking.
        """
        if "meta" not in params["fusion"]:
            raise UsageError("fusion", "the method stacking requires the fusion stacking")
        return ()

    def transform(self, tx: optax.GradientTransformation) -> optax.GradientTransformation:
        """An optimiser that leaves everything as prepared, since these rows have been seen."""
        return optax.set_to_zero()

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """Zeros, and the metrics of the objective."""

        def gradient(params, memory, batch, key):
            value, metrics = objective(forward(params, batch, key), batch)
            return jax.tree.map(jnp.zeros_like, params), memory, {"loss": value, **metrics}

        return gradient


def deal_groups(group: np.ndarray, folds: int) -> np.ndarray:
    """Assigns rows to folds, [rows]: groups stay together, and are spread evenly over the folds.

    Raises:
        UsageError: there are fewer groups than folds.
    """
    groups, index = np.unique(group, return_inverse=True)
    if len(groups) < folds:
        raise UsageError(
            "folds", expected=f"at most {len(groups)}, the number of groups", got=str(folds)
        )
    return (np.random.default_rng(0).permutation(len(groups)) % folds)[index]


def _check_folds(folds: np.ndarray, train: Any) -> None:
    """Raises UsageError for a class in one fold only, which that fold's classifiers never see."""
    for label in np.unique(train.target):
        own = train.target == label
        if len(np.unique(folds[own])) == 1:
            groups = np.unique(train.group[own])
            many = len(groups) > 1
            raise UsageError(
                "folds",
                expected="every class in at least two folds",
                got=f"class {label} only in group{'s' * many} {', '.join(map(str, groups))}"
                + (", all in one fold" if many else ""),
                fix="Try more folds." if many else "Split that group, or use another method.",
            )


def _out_of_fold(train: Callable[..., Any], task: Any, folds: np.ndarray) -> dict[str, np.ndarray]:
    """{modality: [seeds, rows, classes]}, from classifiers trained without the row's group."""
    order, parts = [], []
    for fold in np.unique(folds):
        (rows,) = np.nonzero(folds == fold)
        alone = train(replace(task, train=task.train.take(folds != fold)))
        held_out = task.train.take(rows).batch()
        parts.append({name: each.predict(each.params, held_out) for name, each in alone.items()})
        order.append(rows)
    back = np.argsort(np.concatenate(order))
    return jax.tree.map(lambda *fold: np.concatenate(fold, axis=1)[:, back], *parts)


def _fit_meta(
    logits: Mapping[str, np.ndarray],
    rows: Batch,
    tx: optax.GradientTransformation,
    steps: int,
) -> dict[str, Any]:
    """The linear meta-classifier, [seeds, ...], initialised to average the logits."""
    classes = next(iter(logits.values())).shape[-1]
    start: dict[str, Any] = {n: {"kernel": jnp.eye(classes) / len(logits)} for n in logits}
    start["bias"] = jnp.zeros(classes)

    def fit_one(logits):
        def loss(meta):
            total = sum(x @ meta[name]["kernel"] for name, x in logits.items())
            total += meta["bias"][None]
            return row_losses(total, rows).mean()

        def step(_, carry):
            meta, opt_state = carry
            updates, opt_state = tx.update(jax.grad(loss)(meta), opt_state, meta)
            return optax.apply_updates(meta, updates), opt_state

        return lax.fori_loop(0, steps, step, (start, tx.init(start)))[0]

    # As in the fusion, so that logits from different folds are comparable.
    centre = lambda x: x - x.mean(axis=-1, keepdims=True)
    return jax.jit(jax.vmap(fit_one))(jax.tree.map(centre, dict(logits)))
