"""Strategies over several tasks: ranks, robust means, profiles of performance."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from mmjax.analysis.statistics.pairs import ALPHA
from mmjax.errors import UsageError


class Ranking(NamedTuple):
    """Strategies ranked over tasks.

    Attributes:
        mean_ranks: [strategies], 1 is best.
        p: of Friedman's test that all strategies are alike.
        critical_difference: of mean ranks, by Nemenyi's test; smaller ones tell nothing.
    """

    mean_ranks: np.ndarray
    p: float
    critical_difference: float


def rank(scores: np.ndarray, alpha: float = ALPHA) -> Ranking:
    """Friedman's test with Nemenyi's critical difference (Demsar, JMLR 7, 2006, section 3.2.2).

    Args:
        scores: [tasks, strategies], higher is better; ties share their ranks.
        alpha: of the critical difference, how often chance alone would exceed it.

    Raises:
        UsageError: there are fewer than two tasks or three strategies.
    """
    num_tasks, num_strategies = scores.shape
    if num_tasks < 2 or num_strategies < 3:
        raise UsageError(
            "scores",
            expected="two tasks and three strategies, or more",
            got=f"{num_tasks} and {num_strategies}",
        )
    mean_ranks = stats.rankdata(-scores, axis=1).mean(axis=0)
    # Every strategy alike everywhere: the statistic is 0 / 0.
    alike = (scores == scores[:, :1]).all()
    p = 1.0 if alike else float(stats.friedmanchisquare(*scores.T).pvalue)
    reach = stats.studentized_range.isf(alpha, num_strategies, np.inf) / np.sqrt(2)
    difference = reach * np.sqrt(num_strategies * (num_strategies + 1) / (6 * num_tasks))
    return Ranking(mean_ranks, p, float(difference))


def cliques(mean_ranks: np.ndarray, critical_difference: float) -> list[tuple[int, int]]:
    """The largest runs of strategies, by rank, within which no difference is critical.

    Args:
        mean_ranks: [strategies], sorted.
        critical_difference: of ``rank``.

    Returns:
        (first, last) of each run of two or more.
    """
    last = np.searchsorted(mean_ranks, mean_ranks + critical_difference, side="right") - 1
    runs = [(i, int(j)) for i, j in enumerate(last) if j > i]
    return [(i, j) for i, j in runs if not any(a < i and j <= b for a, b in runs)]


def interquartile_mean(scores: np.ndarray) -> float:
    """Mean of the middle half of all scores, of runs and tasks alike.

    Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice (NeurIPS
    2021), section 4.3.
    """
    return float(stats.trim_mean(scores, 0.25, axis=None))


def interquartile_interval(
    scores: np.ndarray, confidence: float = 0.95, num_resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of ``interquartile_mean``, seeds resampled within each task (ibid.).

    Args:
        scores: [tasks, seeds].
        confidence: share of such intervals that cover the mean.
        num_resamples: how many.
        seed: of the resampling.

    Raises:
        UsageError: there is one seed, whose resamples are all alike.
    """
    num_tasks, num_seeds = scores.shape
    if num_seeds < 2:
        raise UsageError("scores", expected="at least two seeds of each task", got="one")
    rng = np.random.default_rng(seed)
    chosen = rng.integers(num_seeds, size=(num_resamples, num_tasks, num_seeds))
    drawn = np.take_along_axis(scores[None], chosen, axis=2).reshape(num_resamples, -1)
    means = stats.trim_mean(drawn, 0.25, axis=1)
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def performance_profile(scores: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """The share of runs above each threshold (ibid., section 4.2): [thresholds]."""
    return (scores.reshape(-1, 1) > np.asarray(thresholds)).mean(axis=0)
