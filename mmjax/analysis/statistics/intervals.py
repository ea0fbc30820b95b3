"""Means over seeds and over groups of rows, with their uncertainty."""

from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from mmjax.errors import UsageError

NUM_RESAMPLES = 2000
_CHUNK = 100  # resamples at a time, to bound memory


Numbers = float | np.ndarray  # one variance, or an array of them


class Estimate(NamedTuple):
    """A mean with its standard error and interval.

    Example:
        >>> Estimate(mean=0.5, error=0.1, low=0.25, high=0.75).low
        0.25
    """

    mean: float
    error: float
    low: float
    high: float


class Spread(NamedTuple):
    """The variance of a mean over seeds and groups, by component.

    Seeds and groups are crossed, because every trained model sees every group: the variance of the
    mean has components for the seeds, the groups and their interaction, as in a two-way analysis
    with random effects (Searle et al., Variance Components, Wiley 1992, chapter 4).

    Estimated components can be zero by chance, so two have a lower bound. The groups' component is
    at least what three groups would give that deviate from the rest as those observed do (the rule
    of three, Hanley and Lippman-Hand, JAMA 249, 1983), and what one on which all seeds agree would.
    The seeds' means are counts of rows, and equal ones may differ by half a row.

    Attributes:
        seeds: variance of the mean over new seeds, interaction included; 0 with one seed, which
            carries no information about others. A number, or an array [...].
        groups: the variance that new groups add.
        both: the interaction alone; with one seed it is part of ``groups``.
        num_seeds: number of seeds.
        num_groups: effective number of groups: as many of equal size would be as informative (Kish,
            Survey Sampling, Wiley 1965, section 8.2).

    Example:
        >>> parts = Spread(seeds=3e-4, groups=1e-4, both=0.0, num_seeds=3, num_groups=200)
        >>> more = parts.at(num_seeds=6, num_groups=200)  # halves the variance over seeds
        >>> f"{parts.total:.5f} {more.total:.5f}"
        '0.00040 0.00025'
    """

    seeds: Numbers
    groups: Numbers
    both: Numbers
    num_seeds: int
    num_groups: float

    @property
    def total(self) -> Numbers:
        """Variance of the mean, for new seeds and new groups."""
        return self.seeds + self.groups

    def at(self, num_seeds: int, num_groups: float) -> "Spread":
        """The spread to expect with other numbers of seeds and groups."""
        fewer, coarser = self.num_seeds / num_seeds, self.num_groups / num_groups
        both = np.minimum(self.both, self.seeds)
        own = self.seeds - both
        both *= fewer * coarser
        return Spread(fewer * own + both, coarser * self.groups, both, num_seeds, num_groups)

    def reach(self, confidence: float) -> Numbers:
        """Half the width of an interval that covers the mean at least as often as ``confidence``.

        Each component is as uncertain as its own number of draws implies (Banerjee, Sankhya 22,
        1960): Satterthwaite's degrees of freedom undercover with two or three seeds.
        """
        tail = (1 + confidence) / 2
        of_groups = stdtrit(self.num_groups - 1, tail) ** 2 * self.groups
        if self.num_seeds == 1:
            return of_groups**0.5
        return (stdtrit(self.num_seeds - 1, tail) ** 2 * self.seeds + of_groups) ** 0.5


def spread(values: np.ndarray, group: np.ndarray) -> Spread:
    """The variance components of ``values.mean()``.

    Args:
        values: [..., seeds, rows], a score of each row, such as 1 for correct and 0 for incorrect,
            or the difference of such scores between two strategies.
        group: [rows] integers; rows of one group count as one draw.

    Returns:
        components [...].

    Raises:
        UsageError: there are fewer than two groups.

    Example:
        >>> correct = np.random.default_rng(0).random((3, 200)) < 0.9
        >>> parts = spread(correct, group=np.arange(200))
        >>> coarse = spread(correct, group=np.arange(200) // 50)  # four speakers, say
        >>> [round(found.num_groups) for found in (parts, coarse)]
        [200, 4]
    """
    return spread_of_sums(*sum_groups(values, group))


def spread_of_sums(sums: np.ndarray, size: np.ndarray) -> Spread:
    """``spread`` from the result of ``sum_groups``: [..., seeds, groups], [groups].

    Example:
        >>> values, group = np.eye(2, 6), np.repeat([0, 1, 2], 2)
        >>> spread_of_sums(*sum_groups(values, group)) == spread(values, group)
        True
    """
    num_seeds = sums.shape[-2]
    if len(size) < 2:
        raise UsageError("group", expected="two groups or more", got=str(len(size)))
    num_groups = 1 / np.square(size).sum()
    of_seed = sums.sum(axis=-1, keepdims=True)
    # Deviation of a group from the mean of each seed, a ratio estimate as groups differ in size.
    excess = sums - of_seed * size
    shared = excess.mean(axis=-2, keepdims=True)
    more_groups = num_groups / (num_groups - 1)
    seen = np.square(shared).sum(axis=(-2, -1))
    of_three, of_one = _departures(sums, size)
    groups = more_groups * np.maximum.reduce([seen, 3 * of_three, of_one])
    if num_seeds == 1:
        nothing = np.zeros_like(groups)
        return Spread(nothing, groups, nothing, 1, num_groups)
    seeds = (np.var(of_seed[..., 0], axis=-1, ddof=1) + of_one / 4) / num_seeds
    both = np.square(excess - shared).sum(axis=(-2, -1)) / (num_seeds * (num_seeds - 1))
    both = more_groups * both
    # New groups vary the interaction too, which the seeds' component already includes.
    return Spread(seeds, np.maximum(groups - both, 0.0), both, num_seeds, num_groups)


def sum_groups(values: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The contribution of each group to the mean over rows, [..., groups], and its share of rows.

    Example:
        >>> sums, share = sum_groups(np.array([1.0, 0.0, 1.0, 1.0]), np.array([7, 7, 7, 9]))
        >>> sums.tolist(), share.tolist()
        ([0.5, 0.25], [0.75, 0.25])
    """
    index, size = _groups(group)
    ordered = np.asarray(values, np.float64)[..., np.argsort(index, kind="stable")]
    return np.add.reduceat(ordered, np.cumsum(size) - size, axis=-1) / len(index), size / len(index)


def _departures(sums: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean squares of deviations from the median group: over all seeds, and for each seed."""
    usual = np.median(sums.mean(axis=-2) / size, axis=-1)[..., None, None]
    departing = sums - usual * size
    of_seeds = departing.reshape(*departing.shape[:-2], -1)
    return _mean_square(departing.mean(axis=-2), size), _mean_square(of_seeds, size)


def _mean_square(departing: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Over the nonzero deviations [..., draws]; of wholly deviating groups if all are zero."""
    square = np.where(np.abs(departing) > 1e-12, np.square(departing), 0.0)
    count = np.count_nonzero(square, axis=-1)
    return np.where(count, square.sum(axis=-1) / np.maximum(count, 1), np.square(size).mean())


def estimate(values: np.ndarray, group: np.ndarray, confidence: float = 0.95) -> Estimate:
    """Mean, standard error and interval over new seeds and new groups.

    With one seed they hold for that trained model only.

    Args:
        values: [seeds, rows].
        group: [rows].
        confidence: fraction of such intervals that cover the mean.

    Example:
        >>> correct = np.random.default_rng(0).random((3, 200)) < 0.9
        >>> narrow = estimate(correct, np.arange(200))
        >>> wide = estimate(correct, np.arange(200) // 50)  # only four groups
        >>> wide.mean == narrow.mean, wide.low < narrow.low < narrow.mean < narrow.high
        (True, True)
    """
    mean, parts = float(values.mean()), spread(values, group)
    reach = float(parts.reach(confidence))
    return Estimate(mean, float(parts.total**0.5), mean - reach, mean + reach)


def bootstrap(
    values: np.ndarray, group: np.ndarray, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Means over rows of bootstrap resamples of whole groups (Efron, Ann. Statist. 7, 1979).

    Args:
        values: [..., rows].
        group: [rows].
        num_resamples: number of resamples.
        seed: of the resampling.

    Returns:
        [resamples, ...].

    Raises:
        UsageError: there is only one group, so all resamples are equal.

    Example:
        >>> means = bootstrap(np.eye(1, 20), np.arange(20), num_resamples=500)
        >>> means.shape, bool(means.min() == 0)  # some resamples miss the one correct row
        ((500, 1), True)
    """
    index, size = _groups(group)
    if len(size) < 2:
        raise UsageError("group", expected="at least two groups", got="one")
    flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
    sums = np.stack([np.bincount(index, row, minlength=len(size)) for row in flat], axis=1)
    rng = np.random.default_rng(seed)
    equal = np.full(len(size), 1 / len(size))
    means = []
    for start in range(0, num_resamples, _CHUNK):
        count = min(_CHUNK, num_resamples - start)
        times = rng.multinomial(len(size), equal, size=count)
        means.append(times @ sums / (times @ size)[:, None])
    return np.concatenate(means).reshape(num_resamples, *values.shape[:-1])


def bootstrap_interval(
    values: np.ndarray, group: np.ndarray, **resampling: int
) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile intervals of means over rows, [..., rows], for new groups: [...] each.

    Example:
        >>> low, high = bootstrap_interval(np.repeat([0, 1], 50), np.arange(100))
        >>> bool(0.3 < low < 0.5 < high < 0.7)
        True
    """
    low, high = np.quantile(bootstrap(values, group, **resampling), [0.025, 0.975], axis=0)
    return low, high


def _groups(group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The index of each row's group, from 0, and the size of each group."""
    _, index, size = np.unique(group, return_inverse=True, return_counts=True)
    return index, size
