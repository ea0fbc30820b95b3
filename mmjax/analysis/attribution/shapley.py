"""The contribution of each modality to the score of a strategy: exact Shapley values."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmjax.comparison.scores import modalities_of, present_in
from mmjax.data.coalitions import shapley

Row = Mapping[str, Any]

METRICS = {"accuracy": ("accuracy", 1), "r2": ("r2", 1), "log_likelihood": ("nll", -1)}
"""{metric: (key of a score row, sign)}."""
_KEYS = ("task", "strategy", "seed", "split")


def shapley_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Shapley values of the modalities of every multimodal strategy.

    The value of a subset is the score with all other modalities absent; for the empty subset, it is
    the score of the prediction without any input.

    Args:
        rows: score rows of a run, one for each subset of hidden modalities.

    Returns:
        flat rows with the keys task, strategy, seed, split, metric, modality, and shapley:
        accuracy from 0 to 1, R2, or mean log-likelihood in nats.

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
        for metric, (key, sign) in METRICS.items():
            if key not in row:
                continue
            names = (*(row[k] for k in _KEYS), metric)
            games[names, modalities][present] = sign * np.float64(row[key])  # NaN for null
    shares: list[dict[str, Any]] = []
    for (names, modalities), values in games.items():
        if len(modalities) > 1:
            game = dict(zip((*_KEYS, "metric"), names, strict=True))
            where = f"rows of {game['strategy']}, seed {game['seed']}, {game['split']}"
            gains = shapley(values, modalities, where)
            shares += [{**game, "modality": n, "shapley": float(v)} for n, v in gains.items()]
    return shares
