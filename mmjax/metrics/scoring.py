"""The metric of a task, of rows of scores, and of the most frequent class."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mmjax.data.task import SHOWN, Task
from mmjax.errors import UsageError
from mmjax.metrics.own import MetricLike, make_metric
from mmjax.registry import METRICS
from mmjax.types import Metric


def with_metric(task: Task, metric: MetricLike | None) -> Task:
    """The task with another metric, by which models are selected and compared.

    Raises:
        UnknownNameError: there is no such metric.
        UsageError: it does not score this kind of target, fails, or has no value on validation or
            test.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> with_metric(synthetic(size=60), "macro_f1").metric.label
        'macro F1'
    """
    if metric is None:
        return task
    made = make_metric(metric, task.kind)
    for index, part in enumerate([fold.task for fold in task.folds] or [task]):
        _check_values(part, made, f" of fold {index}" if task.folds else "")
    folds = [fold._replace(task=replace(fold.task, metric=made)) for fold in task.folds]
    return replace(task, metric=made, folds=tuple(folds))


def _check_values(task: Task, metric: Metric, where: str) -> None:
    for name in ("valid", "test"):
        split = task.splits[name]
        guess = np.random.default_rng(0).normal(size=(split.size, task.out_dim))
        value = 0.0
        if split.labelled:
            value = metric.score(task.restore(guess), task.restore(split.target))
        if not np.isfinite(value):
            expected = f"one that has a value on the {split.size} {name} rows{where}"
            raise UsageError("metric", expected=expected, got=f"{metric.name}, which is {value}")


def metric_of(row: Mapping[str, Any]) -> Metric:
    """The metric that a row of scores states, or else the default.

    Example:
        >>> metric_of({"metric": "macro_f1", "macro_f1": 0.5, "accuracy": 0.9}).label
        'macro F1'
    """
    kinds = ("numbers",) if "r2" in row else ("classes", "labels")
    return find_metric(row.get("metric") or SHOWN[kinds[0]][0], kinds)


def find_metric(name: str, kinds: tuple[str, ...] = tuple(SHOWN)) -> Metric:
    """A metric by the name that rows give it.

    Args:
        name: in rows.
        kinds: of the target, if it is the name of a function of the user's, of which no more is
            known.

    Example:
        >>> find_metric("rmse").label, find_metric("mine").label
        ('RMSE', 'mine')
    """
    metric = METRICS.get(name)
    if isinstance(metric, Metric):
        return metric
    limits = -np.inf, np.inf
    return Metric(name, name, kinds, _unknown, _unknown, percent=False, limits=limits)


def _unknown(*arguments: Any) -> Any:
    raise NotImplementedError("the function of this metric is not stored")


def second_metric(metric: Metric) -> Metric:
    """The metric that tables show beside the main one.

    Example:
        >>> second_metric(find_metric("accuracy")).name
        'macro_f1'
    """
    kind = "numbers" if "numbers" in metric.kinds else "classes"
    return next(METRICS[name] for name in SHOWN[kind] if name != metric.name)


def goodness(row: Mapping[str, Any]) -> float:
    """The score of a row, negated where lower is better; -inf where it is not finite.

    Example:
        >>> goodness({"metric": "rmse", "rmse": 2.0, "r2": 0.5})
        -2.0
    """
    metric = metric_of(row)
    value = row.get(metric.name)
    return -np.inf if value is None or np.isnan(value) else metric.sign * value


def majority_scores(task: Task, target: np.ndarray) -> dict[str, float]:
    """The scores of always predicting the frequencies of classes or labels in training.

    Empty for numbers: the R2 of their mean is 0 by definition.

    Args:
        task: for its training rows.
        target: of the rows.

    Returns:
        {"majority_accuracy" and so on: score}.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> task = synthetic(kind="and", size=60)
        >>> majority_scores(task, task.test.target)["majority_accuracy"]
        0.75
    """
    if task.kind == "numbers":
        return {}
    logits = prior_logits(task.train.target, task.out_dim)
    found = task.scores(np.broadcast_to(logits, (len(target), task.out_dim)), target)
    names = dict.fromkeys([task.metric.name, *SHOWN[task.kind]])
    return {f"majority_{name}": found[name] for name in names}


def prior_logits(target: np.ndarray, out_dim: int) -> np.ndarray:
    """[out_dim] the logits of the frequencies of classes or labels.

    Example:
        >>> np.exp(prior_logits(np.array([0, 0, 0, 1]), out_dim=2)).round(2).tolist()
        [0.75, 0.25]
    """
    if target.ndim == 1:
        share = np.bincount(target, minlength=out_dim) / len(target)
        return np.log(np.maximum(share, 1e-12))
    share = np.clip(target.mean(axis=0), 1e-12, 1 - 1e-12)
    return np.log(share) - np.log1p(-share)
