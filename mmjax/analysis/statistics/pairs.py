"""Is one strategy significantly better than another, and if not, what would it take?"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaincinv, ndtr

from mmjax.analysis.statistics.intervals import (
    Estimate,
    Spread,
    spread_of_sums,
    sum_groups,
)
from mmjax.errors import UsageError

ALPHA, POWER = 0.05, 0.8
_MANY = 10**7
_ROUNDING = 1e-12
_ENUMERATED = 16  # differing groups up to which all 2^16 sign patterns are enumerated
VERDICTS = ("better", "worse", "not distinguishable")
FEWEST = 5
"""Groups that must differ for a verdict: fewer have too few sign patterns, 2^-4 > ``ALPHA``."""


class Pair(NamedTuple):
    """First minus second, in the unit of the scores.

    Attributes:
        difference: mean, standard error and 95 % interval, for new seeds and new groups.
        spread: its variance, by component.
        p: two-sided p-value of no difference between the strategies, for new seeds and new groups.
        differing: number of groups on which the two differ.
        groups: number of groups.

    Example:
        >>> correct = np.repeat([[[1.0]], [[0.0]]], 10, axis=-1)  # [strategies, 1 seed, 10 rows]
        >>> pair = compare_pair(*correct, group=np.arange(10) // 5)
        >>> pair.difference.mean, pair.differing, pair.verdict()  # two groups are too few
        (1.0, 2, 'not distinguishable')
    """

    difference: Estimate
    spread: Spread
    p: float
    differing: int
    groups: int

    def verdict(self, p: float | None = None) -> str:
        """One of ``VERDICTS``, at the 5 % level; ``p`` is a corrected p-value, if there is one."""
        if (self.p if p is None else p) >= ALPHA:
            return "not distinguishable"
        return "better" if self.difference.mean > 0 else "worse"


def compare_pair(first: np.ndarray, second: np.ndarray, group: np.ndarray) -> Pair:
    """Tests a difference, paired by seed and by row.

    The p-value is the larger of two: that of the crossed analysis described in ``Spread``, and that
    of a sign-flip test on the groups that differ, which assumes nothing about variances.

    Args:
        first: [seeds, rows] scores, such as 1 for correct and 0 for incorrect.
        second: the same for the other strategy.
        group: [rows] integers; rows of one group count as one draw.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> right = rng.random((2, 3, 200)) < [[[0.9]], [[0.6]]]  # two strategies, three seeds
        >>> pair = compare_pair(*right, group=np.arange(200))
        >>> pair.verdict(), pair.groups
        ('better', 200)
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    sums, size = sum_groups(difference, group)
    mean, parts, sums = float(difference.mean()), spread_of_sums(sums, size), sums.mean(axis=0)
    p = max(_p(mean, parts), sign_flip_p(sums))
    reach = float(parts.reach(1 - ALPHA))
    if p >= ALPHA:  # so that the interval excludes zero only where there is a verdict
        reach = max(reach, abs(mean))
    low, high = mean - reach, mean + reach
    if all(scores.min() >= 0 and scores.max() <= 1 for scores in map(np.asarray, (first, second))):
        low, high = max(low, -1.0), min(high, 1.0)
    return Pair(
        difference=Estimate(mean, float(parts.total**0.5), low, high),
        spread=parts,
        p=p,
        differing=int(_differ(sums).sum()),
        groups=len(sums),
    )


def _p(mean: float, parts: Spread) -> float:
    """One minus the confidence level of the interval that just reaches zero."""
    if mean == 0:
        return 1.0
    least = 1e-12
    if parts.reach(1 - least) <= abs(mean):
        return least
    return float(brentq(lambda p: parts.reach(1 - p) - abs(mean), least, 1.0))


def sign_flip_p(sums: np.ndarray) -> float:
    """Two-sided mid-p of a sign-flip test on the sums of groups, [groups].

    All sign patterns are enumerated; for more than sixteen nonzero sums, the smallest possible p is
    returned. For sums of one and minus one this is McNemar's test, whose exact version is
    needlessly conservative while the mid-p version keeps its level (Fagerland et al., BMC Medical
    Research Methodology 13, 2013).

    Example:
        >>> sign_flip_p(np.ones(4)), sign_flip_p(np.ones(5))  # five groups are the fewest
        (0.0625, 0.03125)
    """
    if not np.isfinite(sums).all():
        raise UsageError("sums", expected="finite numbers", got=str(sums[~np.isfinite(sums)][0]))
    sizes = np.abs(sums[_differ(sums)])
    if len(sizes) > _ENUMERATED:
        return 0.5 ** len(sizes)
    totals = np.zeros(1)
    for size in sizes:
        totals = np.concatenate([totals + size, totals - size])
    beyond, rounding = np.abs(totals) - abs(sums.sum()), _ROUNDING * sizes.sum()
    return float(np.mean(beyond > rounding) + np.mean(np.abs(beyond) <= rounding) / 2)


def _differ(sums: np.ndarray) -> np.ndarray:
    """Which sums of differences are not zero."""
    return np.abs(sums) > _ROUNDING


def holm(p: Sequence[float]) -> np.ndarray:
    """p-values corrected for multiple testing (Holm, Scandinavian Journal of Statistics 6, 1979).

    Example:
        >>> holm([0.01, 0.04, 0.02]).tolist()  # the smallest times 3, the next times 2, ...
        [0.03, 0.04, 0.04]
    """
    order = np.argsort(p)
    scaled = np.asarray(p, np.float64)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected


class Needed(NamedTuple):
    """Numbers that would detect a difference of the observed size; None where no number would.

    Example:
        >>> Needed(seeds=None, groups=400).groups
        400
    """

    seeds: int | None
    groups: int | None


def needed(pair: Pair) -> Needed:
    """The smallest number of seeds with the same groups, and of groups with the same seeds.

    Each gives the test at the 5 % level a power of 80 % against the observed difference, if the
    variances are as observed, and enough differing groups for a verdict.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> correct = rng.random((2, 3, 200)) < [[[0.92]], [[0.9]]]
        >>> more = needed(compare_pair(*correct, group=np.arange(200)))
        >>> more.groups > 200
        True
    """
    parts = pair.spread

    def enough(seeds: int, groups: int) -> bool:
        times = groups / pair.groups
        if times * pair.differing < FEWEST:
            return False
        return power(parts.at(seeds, times * parts.num_groups), pair.difference.mean) >= POWER

    return Needed(
        seeds=_smallest(lambda n: enough(n, pair.groups), 1 + (parts.num_seeds > 1)),
        groups=_smallest(lambda n: enough(parts.num_seeds, n), 2),
    )


def detectable(parts: Spread, alpha: float = ALPHA) -> float:
    """The smallest difference that the test at level ``alpha`` detects with a power of 80 %.

    Example:
        >>> parts = Spread(seeds=1e-4, groups=1e-4, both=0.0, num_seeds=3, num_groups=200)
        >>> detectable(parts.at(num_seeds=5, num_groups=200)) < detectable(parts)
        True
    """
    high = float(parts.reach(1 - alpha))
    while power(parts, high, alpha) < POWER:
        high *= 2
    return float(brentq(lambda difference: power(parts, difference, alpha) - POWER, 0.0, high))


def _smallest(enough: Callable[[int], bool], low: int) -> int | None:
    """The smallest number from ``low`` that is enough, if every larger one is."""
    if enough(low):
        return low
    high = 2 * low
    while not enough(high):
        if high > _MANY:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def power(parts: Spread, difference: float, alpha: float = ALPHA) -> float:
    """Probability that the test at level ``alpha`` detects a true difference, given the variances.

    The test will estimate the variances anew, which matters with few seeds: the power is a mean
    over the estimates, each component following a chi-squared over its degrees of freedom.

    Example:
        >>> parts = Spread(seeds=1e-4, groups=1e-4, both=0.0, num_seeds=3, num_groups=200)
        >>> power(parts, 0.02) < power(parts, 0.1) < 1
        True
    """
    error = float(parts.total**0.5)
    if error == 0:
        return float(difference != 0)
    found = parts._replace(
        seeds=parts.seeds * _likely_ratios(parts.num_seeds, 200)[:, None],
        groups=parts.groups * _likely_ratios(parts.num_groups, 20),
    )
    reach = found.reach(1 - alpha)
    above, below = (reach - abs(difference)) / error, (-reach - abs(difference)) / error
    return float(np.mean(ndtr(-above) + ndtr(below)))


def _likely_ratios(draws: float, size: int) -> np.ndarray:
    """``size`` equally likely ratios of an estimated variance to the true one."""
    if draws == 1:
        return np.ones(1)
    freedom = (draws - 1) / 2
    return gammaincinv(freedom, (np.arange(size) + 0.5) / size) / freedom  # chi-squared
