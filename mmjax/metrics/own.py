"""Metrics of the user's own."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mmjax.data.targets import Kind, answers
from mmjax.errors import UsageError, look_up
from mmjax.registry import METRICS
from mmjax.types import Metric

MAX_BLOCKS = 200
"""Parts of the rows without which a metric of the user's own is computed again."""

MetricLike = str | Metric | Callable[[np.ndarray, np.ndarray], float]
"""A metric by name, as an object, or as a function."""

_NAME = re.compile(r"[A-Za-z]\w*")  # it names a column of rows


def make_metric(metric: MetricLike, kind: Kind) -> Metric:
    """A metric for a kind of target.

    Args:
        metric: a key of ``METRICS``; or a function ``(prediction, target) -> float`` where higher
            is better, of probabilities [rows, out_dim] or of numbers in their own units.
        kind: of the target.

    Raises:
        UnknownNameError: there is no such metric.
        UsageError: it does not score this kind of target, or is a function without a name.

    Example:
        >>> def top2(probability, target):
        ...     best = np.argsort(-probability)[:, :2]
        ...     return (best == target[:, None]).any(axis=1).mean()
        >>> logits = np.array([[3.0, 2.0, 0.0], [0.0, 1.0, 2.0]])
        >>> make_metric(top2, "classes").score(logits, np.array([1, 0]))
        0.5
    """
    named = isinstance(metric, str)
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", "")
    if isinstance(metric, str):
        metric = look_up("metric", metric, METRICS)
    if not isinstance(metric, Metric):
        metric = _from_function(name, metric, kind)
    if not named and metric.name in METRICS and METRICS[metric.name] is not metric:
        problem = f"the name {metric.name} is taken"
        raise UsageError("metric", problem, fix="Give your metric another name.")
    if kind not in metric.kinds:
        others = [name for name, known in METRICS.items() if kind in known.kinds]
        expected = f"one for {kind}, such as {', '.join(others)}"
        raise UsageError("metric", expected=expected, got=metric.name)
    return metric


def _from_function(name: str, function: Any, kind: Kind) -> Metric:
    if not callable(function) or not _NAME.fullmatch(name):
        expected = "a name, or a function (prediction, target) -> float that has a name"
        raise UsageError("metric", expected=expected, got=f"{function!r:.80}")

    score = partial(_apply, function, name, kind)
    limits = -np.inf, np.inf
    contributions = partial(jackknife, score)
    return Metric(name, name, (kind,), score, contributions, percent=False, limits=limits)


def _apply(
    function: Callable[[np.ndarray, np.ndarray], float],
    name: str,
    kind: Kind,
    prediction: np.ndarray,
    target: np.ndarray,
) -> float:
    given = answers(prediction, kind)
    try:
        return float(function(given.copy(), target.copy()))  # it may sort or centre them in place
    except Exception as error:  # whatever its code does
        expected = f"{name} to map predictions {given.shape} and targets {target.shape}"
        got = f"{type(error).__name__}: {error}"
        raise UsageError("metric", expected=f"{expected} to a float", got=got) from error


def as_blocks(group: np.ndarray) -> np.ndarray:
    """Groups joined into at most ``MAX_BLOCKS`` blocks of about equal size, [rows] integers.

    Example:
        >>> first, second, third = as_blocks(np.array([7, 7, 3]))
        >>> bool(first == second != third)
        True
    """
    _, index = np.unique(group, return_inverse=True)
    count = index.max() + 1
    shuffled = np.random.default_rng(0).permutation(count)  # neighbours may be alike
    return shuffled[index] * min(count, MAX_BLOCKS) // count


def jackknife(
    score: Callable[[np.ndarray, np.ndarray], float],
    prediction: np.ndarray,
    target: np.ndarray,
    group: np.ndarray,
) -> np.ndarray:
    """The contribution of each row: pseudo-values of blocks (Tukey, Ann. Math. Stat. 1958).

    Args:
        score: ``(prediction, target) -> float``.
        prediction: [rows, out_dim].
        target: of the rows.
        group: [rows]; rows of one group stay together.

    Returns:
        [rows], whose mean is the score of all rows; equal within each block of ``as_blocks``.

    Example:
        >>> score = lambda prediction, target: float((prediction == target).mean())
        >>> rows = np.array([1, 1, 0]), np.array([1, 0, 0])
        >>> jackknife(score, *rows, group=np.arange(3)).round(3).tolist()  # right, wrong, right
        [1.0, -0.0, 1.0]
    """
    whole, block = score(prediction, target), as_blocks(group)
    size = np.bincount(block)
    # By the infinitesimal form, which copes with blocks of different size.
    influence = np.zeros(len(size))
    for index in range(len(size)):
        rest = block != index
        left = score(prediction[rest], target[rest])
        influence[index] = (whole - left) * rest.sum() / size[index]
    each = influence[block]
    return whole + each - each.mean()
