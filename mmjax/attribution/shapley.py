"""What each modality adds to a score: exact Shapley values."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from math import comb
from typing import Any

import numpy as np

from mmjax.errors import UsageError

Row = Mapping[str, Any]

METRICS = {"accuracy": ("accuracy", 1), "r2": ("r2", 1), "log_likelihood": ("nll", -1)}
"""{metric: (key of a score row, sign)}."""
_KEYS = ("task", "strategy", "seed", "split")


def shapley(
    values: Mapping[frozenset[str], float | np.ndarray],
) -> dict[str, float | np.ndarray]:
    """The mean gain from adding a player, over all orders in which players can join.

    The gains add up to the value of all players minus that of none; players that add the same get
    the same, and one that adds nothing gets nothing. Reference: Shapley, A Value for n-Person
    Games (Contributions to the Theory of Games II, 1953).

    Args:
        values: {subset of the players: its value}, a number or an array such as [seeds].

    Returns:
        {player: gain}, in the shape and the unit of the values.

    Raises:
        UsageError: a subset has no value; the empty one and the whole need theirs too.
    """
    return _shapley("values", frozenset().union(*values), values)


def shapley_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Shapley values of the modalities of every multimodal strategy.

    The value of a subset is the score with all other modalities absent; with nothing present it is
    the score of what the model then says.

    Args:
        rows: score rows of a run, one for each subset of modalities hidden.

    Returns:
        flat rows with the keys task, strategy, seed, split, metric, modality, and shapley:
        accuracy from 0 to 1, R2, or mean log-likelihood in nats.

    Raises:
        UsageError: a strategy lacks the row of a subset.
    """
    games = defaultdict(dict)
    for row in rows:
        modalities = frozenset(row["modalities"].split("+"))
        present = modalities - set(row["hidden"].split("+"))
        for metric, (key, sign) in METRICS.items():
            if key not in row:
                continue
            names = (*(row[k] for k in _KEYS), metric)
            games[names, modalities][present] = sign * np.float64(row[key])  # NaN for null
    shares = []
    for (names, modalities), values in games.items():
        if len(modalities) > 1:
            game = dict(zip((*_KEYS, "metric"), names, strict=True))
            where = f"rows of {game['strategy']}, seed {game['seed']}, {game['split']}"
            gains = _shapley(where, modalities, values)
            shares += [{**game, "modality": n, "shapley": float(v)} for n, v in gains.items()]
    return shares


def _shapley(
    where: str, players: Collection[str], values: Mapping[frozenset[str], Any]
) -> dict[str, Any]:
    players = sorted(players)
    subsets = [
        frozenset(s) for size in range(len(players) + 1) for s in combinations(players, size)
    ]
    for subset in subsets:
        if subset not in values:
            raise UsageError(
                where,
                expected=f"a value of every subset of {', '.join(players) or 'the players'}",
                got=f"none of {'+'.join(sorted(subset)) or 'the empty subset'}",
            )
    weight = lambda subset: 1 / (len(players) * comb(len(players) - 1, len(subset)))
    return {
        player: sum(
            weight(subset) * (values[subset | {player}] - values[subset])
            for subset in subsets
            if player not in subset
        )
        for player in players
    }
