"""Strategies over several tasks: ranks, robust means, performance profiles.

``scipy.stats`` takes half a second to import, and is imported where it is used.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmjax.analysis.statistics.pairs import ALPHA
from mmjax.errors import UsageError


class Ranking(NamedTuple):
    """Strategies ranked over tasks.

    Attributes:
        mean_ranks: [strategies], 1 is best.
        p: p-value of Friedman's test that all strategies are equal.
        critical_difference: of Nemenyi's test; smaller differences of mean ranks are not
            significant.

    Example:
        >>> ranking = Ranking(np.array([1.0, 2.0, 3.0]), p=0.05, critical_difference=1.5)
        >>> cliques(ranking.mean_ranks, ranking.critical_difference)
        [(0, 1), (1, 2)]
    """

    mean_ranks: np.ndarray
    p: float
    critical_difference: float


def rank(scores: np.ndarray, alpha: float = ALPHA) -> Ranking:
    """Friedman's test with Nemenyi's critical difference (Demsar, JMLR 7, 2006, section 3.2.2).

    Args:
        scores: [tasks, strategies], higher is better; ties share their mean rank.
        alpha: significance level of the critical difference.

    Raises:
        UsageError: there are fewer than two tasks or three strategies.

    Example:
        >>> scores = np.array([[0.9, 0.8, 0.7], [0.6, 0.5, 0.5]])
        >>> ranking = rank(scores)
        >>> ranking.mean_ranks.tolist(), round(ranking.critical_difference, 2)
        ([1.0, 2.25, 2.75], 2.34)
    """
    from scipy import stats

    num_tasks, num_strategies = scores.shape
    if num_tasks < 2 or num_strategies < 3:
        raise UsageError(
            "scores",
            expected="two tasks and three strategies, or more",
            got=f"{num_tasks} and {num_strategies}",
        )
    mean_ranks = stats.rankdata(-scores, axis=1).mean(axis=0)
    # If all strategies are equal on every task, the statistic is 0 / 0.
    alike = (scores == scores[:, :1]).all()
    p = 1.0 if alike else float(stats.friedmanchisquare(*scores.T).pvalue)
    reach = stats.studentized_range.isf(alpha, num_strategies, np.inf) / np.sqrt(2)
    difference = reach * np.sqrt(num_strategies * (num_strategies + 1) / (6 * num_tasks))
    return Ranking(mean_ranks, p, float(difference))


def cliques(mean_ranks: np.ndarray, critical_difference: float) -> list[tuple[int, int]]:
    """The maximal runs of strategies, by rank, within which no difference is significant.

    Args:
        mean_ranks: [strategies], sorted.
        critical_difference: of ``rank``.

    Returns:
        (first, last) of each run of two or more.

    Example:
        >>> cliques(np.array([1.0, 1.5, 2.5, 5.0]), critical_difference=1.2)
        [(0, 1), (1, 2)]
    """
    last = np.searchsorted(mean_ranks, mean_ranks + critical_difference, side="right") - 1
    runs = [(i, int(j)) for i, j in enumerate(last) if j > i]
    return [(i, j) for i, j in runs if not any(a < i and j <= b for a, b in runs)]


def interquartile_mean(scores: np.ndarray) -> float:
    """Mean of the middle half of all scores, pooled over runs and tasks.

    Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice (NeurIPS
    2021), section 4.3.

    Example:
        >>> interquartile_mean(np.array([[0.0, 0.5], [0.75, 1.0]]))  # extremes do not count
        0.625
    """
    from scipy import stats

    return float(stats.trim_mean(scores, 0.25, axis=None))


def interquartile_interval(
    scores: np.ndarray, confidence: float = 0.95, num_resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of ``interquartile_mean``, seeds resampled within each task (ibid.).

    Args:
        scores: [tasks, seeds].
        confidence: fraction of such intervals that cover the mean.
        num_resamples: number of resamples.
        seed: of the resampling.

    Raises:
        UsageError: there is only one seed, so all resamples are equal.

    Example:
        >>> scores = np.array([[0.5, 0.6, 0.7], [0.8, 0.8, 0.9]])
        >>> low, high = interquartile_interval(scores)
        >>> low < interquartile_mean(scores) < high
        True
    """
    from scipy import stats

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
    """The fraction of runs above each threshold (ibid., section 4.2): [thresholds].

    Example:
        >>> performance_profile(np.array([[0.5, 0.6], [0.8, 0.9]]), [0.0, 0.7, 1.0]).tolist()
        [1.0, 0.5, 0.0]
    """
    return (scores.reshape(-1, 1) > np.asarray(thresholds)).mean(axis=0)
