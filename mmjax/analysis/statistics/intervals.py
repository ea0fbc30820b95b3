"""Means over seeds and over groups of rows, and how far each may be off."""

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from mmjax.errors import UsageError

NUM_RESAMPLES = 2000
_CHUNK = 100  # resamples at a time, to bound memory


class Estimate(NamedTuple):
    """A mean with its standard error and interval."""

    mean: float
    error: float
    low: float
    high: float


class Spread(NamedTuple):
    """How far a mean over seeds and groups varies, and why.

    Seeds and groups are crossed, because every trained model sees every group: the variance of the
    mean has a part of the seeds, one of the groups, and one of their interaction, as in a two-way
    analysis with random effects (Searle et al., Variance Components, Wiley 1992, chapter 4).

    Chance can make an estimated part zero, so two are kept above it. The groups' part is at least
    what three groups would give that depart from the others as those seen do (the rule of three,
    Hanley and Lippman-Hand, JAMA 249, 1983), and what one on which all seeds agree would. The means
    of seeds are counts of rows, and equal ones may differ by half a row.

    Attributes:
        seeds: variance of the mean by other seeds, interaction included; 0 with one seed, which
            says nothing about others.
        groups: what other groups add to it.
        both: the interaction alone; with one seed it is in ``groups``.
        num_seeds: number of seeds.
        num_groups: number of groups of equal size that would tell as much as those at hand (Kish,
            Survey Sampling, Wiley 1965, section 8.2).
    """

    seeds: float
    groups: float
    both: float
    num_seeds: int
    num_groups: float

    @property
    def total(self) -> float:
        """Variance of the mean, for new seeds and new groups."""
        return self.seeds + self.groups

    def at(self, num_seeds: int, num_groups: float) -> "Spread":
        """What other numbers of seeds and groups would give."""
        fewer, coarser = self.num_seeds / num_seeds, self.num_groups / num_groups
        both = min(self.both, self.seeds)
        own = self.seeds - both
        both *= fewer * coarser
        return Spread(fewer * own + both, coarser * self.groups, both, num_seeds, num_groups)

    def reach(self, confidence: float) -> float:
        """Half the width of an interval that covers the mean at least as often as ``confidence``.

        Each part is as uncertain as its own number of draws makes it (Banerjee, Sankhya 22, 1960):
        Satterthwaite's degrees of freedom cover too seldom with two or three seeds.
        """
        tail = (1 + confidence) / 2
        of_groups = student.ppf(tail, self.num_groups - 1) ** 2 * self.groups
        if self.num_seeds == 1:
            return of_groups**0.5
        return (student.ppf(tail, self.num_seeds - 1) ** 2 * self.seeds + of_groups) ** 0.5


def spread(values: np.ndarray, group: np.ndarray) -> Spread:
    """The parts of the variance of ``values.mean()``.

    Args:
        values: [..., seeds, rows], a score of each row such as 0 and 1 for wrong and right, or the
            difference between two strategies of such scores.
        group: [rows] integers; rows of one group count as one draw.

    Returns:
        parts [...].

    Raises:
        UsageError: there are fewer than two groups.
    """
    return spread_of_sums(*sum_groups(values, group))


def spread_of_sums(sums: np.ndarray, size: np.ndarray) -> Spread:
    """``spread``, of what ``sum_groups`` gives: [..., seeds, groups], [groups]."""
    num_seeds = sums.shape[-2]
    if len(size) < 2:
        raise UsageError("group", expected="two groups or more", got=str(len(size)))
    num_groups = 1 / np.square(size).sum()
    of_seed = sums.sum(axis=-1, keepdims=True)
    # What a group adds to the mean of each seed, a ratio of sums because groups differ in size.
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
    # Other groups vary the interaction too, which the seeds' part has already.
    return Spread(seeds, np.maximum(groups - both, 0.0), both, num_seeds, num_groups)


def sum_groups(values: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each group adds to the mean over rows, [..., groups], and its share of the rows."""
    index, size = _groups(group)
    ordered = np.asarray(values, np.float64)[..., np.argsort(index, kind="stable")]
    return np.add.reduceat(ordered, np.cumsum(size) - size, axis=-1) / len(index), size / len(index)


def _departures(sums: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean squares of what departs from the usual: of groups over all seeds, of those of one."""
    usual = np.median(sums.mean(axis=-2) / size, axis=-1)[..., None, None]
    departing = sums - usual * size
    of_seeds = departing.reshape(*departing.shape[:-2], -1)
    return _mean_square(departing.mean(axis=-2), size), _mean_square(of_seeds, size)


def _mean_square(departing: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Of those [..., draws] that are not zero; of groups whose every row departs, if all are."""
    square = np.where(np.abs(departing) > 1e-12, np.square(departing), 0.0)
    count = np.count_nonzero(square, axis=-1)
    return np.where(count, square.sum(axis=-1) / np.maximum(count, 1), np.square(size).mean())


def estimate(values: np.ndarray, group: np.ndarray, confidence: float = 0.95) -> Estimate:
    """Mean, standard error and interval over new seeds and new groups.

    With one seed they hold for that trained model only.

    Args:
        values: [seeds, rows].
        group: [rows].
        confidence: share of such intervals that cover the mean.
    """
    mean, parts = float(values.mean()), spread(values, group)
    reach = float(parts.reach(confidence))
    return Estimate(mean, float(parts.total**0.5), mean - reach, mean + reach)


def bootstrap(
    values: np.ndarray, group: np.ndarray, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Means over rows of as many resamples of whole groups (Efron, Ann. Statist. 7, 1979).

    Args:
        values: [..., rows].
        group: [rows].
        num_resamples: how many.
        seed: of the resampling.

    Returns:
        [resamples, ...].

    Raises:
        UsageError: there is one group, whose resamples are all alike.
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
    """95 % percentile intervals of means over rows, [..., rows], for new groups: [...] each."""
    low, high = np.quantile(bootstrap(values, group, **resampling), [0.025, 0.975], axis=0)
    return low, high


def _groups(group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of each row's group, counted from 0, and the size of each group."""
    _, index, size = np.unique(group, return_inverse=True, return_counts=True)
    return index, size
