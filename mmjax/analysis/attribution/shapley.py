"""The contribution of each modality to the score of a strategy: exact Shapley values."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmjax.comparison.scores import modalities_of, present_in
from mmjax.data.coalitions import shapley
from mmjax.metrics import metric_of

Row = Mapping[str, Any]

LIKELIHOOD = "log_likelihood"
"""The name of the negated ``nll`` among the metrics."""
_KEYS = ("task", "strategy", "seed", "repeat", "fold", "split")


def shapley_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Shapley values of the modalities of every multimodal strategy.

    The value of a subset is the score with all other modalities absent; for the empty subset, it is
    the score of the prediction without any input.

    Args:
        rows: score rows of a run, one for each subset of hidden modalities.

    Returns:
        flat rows with the keys task, strategy, seed, split, metric, modality, and shapley: in the
        unit of the metric, or in nats for ``LIKELIHOOD``; positive where a modality helps.

    Raises:
        UsageError: a strategy lacks the row of a subset.

    Example:
        >>> arm = {"task": "toy", "strategy": "sum", "modalities": "a+b", "seed": 0}
        >>> scores = {"": 0.9, "a": 0.5, "b": 0.7, "a+b": 0.1}  # by what is hidden
        >>> rows = [{**arm, "split": "test", "hidden": hidden, "accuracy": score}
        ...         for hidden, score in scores.items()]
        >>> {row["modality"]: round(row["shapley"], 6) for row in shapley_rows(rows)}
        {'a': 0.5, 'b': 0.3}
    """
    games: dict[tuple[tuple, frozenset[str]], dict[frozenset[str], np.float64]] = defaultdict(dict)
    for row in rows:
        modalities, present = frozenset(modalities_of(row)), present_in(row)
        metric = metric_of(row)
        read = {metric.name: (metric.name, metric.sign), LIKELIHOOD: ("nll", -1)}
        for name, (key, sign) in read.items():
            if key in row:
                names = (*(row.get(k) for k in _KEYS), name)
                games[names, modalities][present] = sign * np.float64(row[key])  # NaN for null
    shares: list[dict[str, Any]] = []
    for (names, modalities), values in games.items():
        if len(modalities) > 1:
            both = zip((*_KEYS, "metric"), names, strict=True)
            game = {key: value for key, value in both if value is not None}
            where = f"rows of {game['strategy']}, seed {game['seed']}, {game['split']}"
            gains = shapley(values, modalities, where)
            shares += [{**game, "modality": n, "shapley": float(v)} for n, v in gains.items()]
    return shares
