"""Predictions of an arm on validation and test, and flat rows of scores computed from them."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, NamedTuple

import chex
import jax
import numpy as np

from mmjax.comparison.arm import Arm
from mmjax.comparison.factors import word
from mmjax.data.task import Task
from mmjax.errors import DivergenceError
from mmjax.layers import kernels
from mmjax.metrics import find_metric, majority_scores
from mmjax.registry import FUSIONS
from mmjax.storage.jsonl import Row
from mmjax.training.fit import Fit
from mmjax.training.optimiser import Adam
from mmjax.training.predict import Predict
from mmjax.training.recipe import name_member

SPLITS = ("valid", "test")
VARIED = "varied."
"""Precedes the name of a factor in the column of its values."""
_PACKAGES = ("mmjax", "jax", "jaxlib", "flax", "optax", "numpy")


class Scored(NamedTuple):
    """Scores and predictions of an arm.

    Attributes:
        rows: one flat row per seed and labelled split: the scores, and all that determined them.
        predictions: {"valid", "test": [seeds, rows, out_dim], "seeds": [seeds]}, and with a metric
            of the user's own {"contributions": [seeds, rows]} to it, of test, or of validation
            where the test rows have no labels.
    """

    rows: list[Row]
    predictions: dict[str, np.ndarray]


def score(arm: Arm, trained: Fit) -> Scored:
    """Predicts every row of validation and test with a trained arm, and scores the predictions.

    Raises:
        DivergenceError: a prediction is not finite.
    """
    predict = lambda split: trained.predict(trained.params, arm.task.splits[split].batch())
    predictions = {split: predict(split) for split in SPLITS}
    for split, predicted in predictions.items():
        if lost := np.count_nonzero(~np.isfinite(predicted).all(axis=(0, 2))):
            raise DivergenceError(
                f"{arm.strategy}, {split}",
                expected="finite predictions",
                got=f"NaN or infinity for {lost} of {predicted.shape[1]} rows",
                fix="Look for extreme values in their inputs.",
            )
    rows = [row for split in SPLITS for row in _split_rows(arm, predictions[split], split)]
    predictions["seeds"] = np.array(arm.recipe.seeds)
    if find_metric(arm.task.metric.name) is not arm.task.metric:
        predictions["contributions"] = _contribute(arm.task, predictions)
    return Scored(add_facts(rows, arm, trained), predictions)


def _contribute(task: Task, predictions: Mapping[str, np.ndarray]) -> np.ndarray:
    name = "test" if task.test.labelled else "valid"
    split, read = task.splits[name], [task.restore(one) for one in predictions[name]]
    target = task.restore(split.target)
    return np.stack([task.metric.contributions(one, target, split.group) for one in read])


def score_rows(
    arm: Arm,
    predict: Predict,
    params: chex.ArrayTree,
    hidden: Sequence[str] = (),
    splits: Sequence[str] = SPLITS,
) -> list[Row]:
    """Flat rows of scores without further facts, one per seed and labelled split.

    Args:
        arm: the strategy and its task.
        predict: ``(params, rows) -> predictions [seeds, rows, out_dim]``.
        params: [seeds, ...].
        hidden: modalities to hide before scoring.
        splits: splits to score.
    """
    rows = []
    for split_name in splits:
        split = arm.task.splits[split_name]
        if not split.labelled:
            continue
        prediction = predict(params, split.batch().hide(hidden))
        rows += _split_rows(arm, prediction, split_name, hidden)
    return rows


def _split_rows(
    arm: Arm, prediction: np.ndarray, split_name: str, hidden: Sequence[str] = ()
) -> list[Row]:
    split = arm.task.splits[split_name]
    if not split.labelled:
        return []
    where = {"split": split_name, "hidden": "+".join(hidden)}
    about = {
        "rows": split.size,
        "groups": len(np.unique(split.group)),
        **majority_scores(arm.task, split.target),
    }
    return [
        {**identify(arm), "seed": seed, **where, **arm.task.scores(one, split.target), **about}
        for seed, one in zip(arm.recipe.seeds, prediction, strict=True)
    ]


def add_facts(rows: Sequence[Row], arm: Arm, trained: Fit) -> list[Row]:
    """Adds to an arm's rows all that determined them: recipe, data digest, versions, device."""
    facts = {
        **trained.program.sizes._asdict(),
        **describe_arm(arm),
        "seconds": round(arm.search_seconds + trained.seconds, 3),
        "steps": arm.recipe.steps,
        "trials": arm.trials,
        "recipe": repr(arm.recipe),
        "data": arm.task.digest(),
        "versions": versions(),
        "device": jax.devices()[0].device_kind,
    }
    of_seed = {
        seed: {"best_step": int(best), "skipped": int(skipped), "diverged": bool(diverged)}
        for seed, best, skipped, diverged in zip(
            arm.recipe.seeds,
            trained.best_step,
            np.asarray(trained.state.skipped.total),
            trained.diverged,
            strict=True,
        )
    }
    return [{**row, **of_seed[row["seed"]], **facts} for row in rows]


def describe_arm(arm: Arm) -> Row:
    """What rows are grouped by: the parts of an arm, and the changes that its name states."""
    recipe, fusion = arm.recipe, arm.recipe.model.fusion
    encoders = sorted(recipe.model.encoders.items())
    rate = recipe.tx.learning_rate if isinstance(recipe.tx, Adam) else None
    return {
        "fusion": name_member(type(fusion), FUSIONS),
        "method": word("method", recipe.method),
        "objective": word("objective", recipe.objective),
        "encoders": "+".join(f"{name}={word('encoders', encoder)}" for name, encoder in encoders),
        "width": getattr(fusion, "width", None),
        "dropout": getattr(fusion, "dropout", None) if recipe.dropout is None else recipe.dropout,
        "learning_rate": rate,
        **{f"{VARIED}{name}": word(name, value) for name, value in arm.changes.items()},
    }


def identify(arm: Arm) -> Row:
    """The columns that identify an arm: task, strategy, modalities, and repeat and fold."""
    modalities = "+".join(arm.task.modalities)
    of_fold = {"repeat": arm.fold.repeat, "fold": arm.fold.index} if arm.fold else {}
    return {"task": arm.task.name, "strategy": arm.strategy, "modalities": modalities, **of_fold}


def modalities_of(row: Mapping[str, Any]) -> list[str]:
    """The modalities that a row's strategy uses.

    Example:
        >>> modalities_of({"modalities": "audio+image"})
        ['audio', 'image']
    """
    return row["modalities"].split("+")


def present_in(row: Mapping[str, Any]) -> frozenset[str]:
    """The modalities that were left when a row was scored: those used and not hidden.

    Example:
        >>> sorted(present_in({"modalities": "audio+image", "hidden": "audio"}))
        ['image']
    """
    return frozenset(modalities_of(row)) - set(row["hidden"].split("+"))


def baselines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The unimodal strategies, in the order of the rows.

    Example:
        >>> both, one = {"modalities": "a+b"}, {"modalities": "a"}
        >>> baselines([{"strategy": "sum", **both}, {"strategy": "a_only", **one}])
        ['a_only']
    """
    return list(dict.fromkeys(row["strategy"] for row in rows if len(modalities_of(row)) == 1))


def standard_error(values: np.ndarray) -> np.ndarray | np.float64:
    """Standard error of the mean over the first axis, [seeds, ...] -> [...]; NaN for one seed.

    Example:
        >>> standard_error(np.array([0.9, 0.8])).round(3).item()
        0.05
    """
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)[()]
    return np.std(values, axis=0, ddof=1) / np.sqrt(len(values))


def over_folds(rows: Sequence[Mapping[str, Any]], column: str) -> np.ndarray:
    """[runs] of a column, one value per seed, or per repeat and seed: the mean of all tested rows.

    Example:
        >>> rows = [{"seed": 0, "fold": fold, "rows": 10 * fold, "accuracy": fold / 4}
        ...         for fold in (1, 3)]
        >>> over_folds(rows, "accuracy").tolist()
        [0.625]
    """
    found: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for row in rows:
        value = row.get(column)
        of_run = found.setdefault((row.get("repeat", 0), row["seed"]), [])
        of_run.append((np.nan if value is None else value, row.get("rows", 1)))
    runs = (np.array(found[run], np.float64).T for run in sorted(found))
    means = [values[0] if len(values) == 1 else np.average(values, weights=sizes)
             for values, sizes in runs]  # fmt: skip
    return np.array(means, np.float64)


def history_rows(arm: Arm, trained: Fit) -> list[Row]:
    """Learning curves: one flat row per seed and step at which something is known.

    All have ``recent_loss``, the mean since the row before; those of validations the rest.
    """
    known: dict[int, dict[str, Any]] = {}
    for entry in (*trained.losses, *trained.history):
        known.setdefault(entry["step"], {}).update(entry)
    rows = []
    for step, entry in known.items():
        for index, seed in enumerate(arm.recipe.seeds):
            metrics = {k: float(v[index]) for k, v in entry.items() if k != "step"}
            rows.append({**identify(arm), "seed": seed, "step": step, **metrics})
    return rows


def labels(task: Task) -> dict[str, np.ndarray]:
    """Targets and groups of the rows that are predicted: ``valid_target``, ``test_group``, ...

    And ``names`` [classes], if classes have any, ``deviation`` [out_dim], by which numbers were
    divided, ``fold`` [repeats, rows] of test rows, and ``fold_train``, the numbers of training rows
    of the folds.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> sorted(labels(synthetic(size=60)))
        ['test_group', 'test_target', 'valid_group', 'valid_target']
    """
    extra = {"deviation": task.scale.deviation} if task.scale else {}
    if task.kind == "classes" and task.names:
        extra["names"] = np.array(task.names)
    if task.folds:
        extra["fold"] = np.empty((1 + task.folds[-1].repeat, task.test.size), int)
        extra["fold_train"] = np.array([fold.task.train.size for fold in task.folds])
    for fold in task.folds:
        extra["fold"][fold.repeat, fold.rows["test"]] = fold.index
    return extra | {
        f"{split}_{name}": getattr(task.splits[split], name)
        for name in ("target", "group")
        for split in SPLITS
    }


@cache
def versions() -> str:
    """Versions of the packages that determine a result, and of the C++ kernels, if used."""
    packages = [f"{name} {version(name)}" for name in _PACKAGES]
    return ", ".join([*packages, kernels.version()])
