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

    Attributes:
        seeds: variance of the mean by other seeds, interaction included; 0 with one seed, which
            says nothing about others.
        groups: what other groups add to it.
        both: the interaction alone; with one seed it is in ``groups``.
        num_seeds: number of seeds.
        num_groups: number of groups.
    """

    seeds: float
    groups: float
    both: float
    num_seeds: int
    num_groups: int

    @property
    def total(self) -> float:
        """Variance of the mean, for new seeds and new groups."""
        return self.seeds + self.groups

    def at(self, num_seeds: int, num_groups: int) -> "Spread":
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
        values: [seeds, rows], a score of each row such as 0 and 1 for wrong and right, or the
            difference between two strategies of such scores.
        group: [rows] integers; rows of one group count as one draw.

    Raises:
        UsageError: there are fewer than two groups.
    """
    index, size = _groups(group)
    num_seeds, num_groups = len(values), len(size)
    if num_groups < 2:
        raise UsageError("group", expected="two groups or more", got=str(num_groups))
    of_seed = values.mean(axis=1)
    # What a group adds to the mean of each seed, a ratio of sums because groups differ in size.
    excess = np.stack([np.bincount(index, row) for row in values - of_seed[:, None]])
    excess /= values.shape[1]
    shared = excess.mean(axis=0)
    more_groups = num_groups / (num_groups - 1)
    groups = more_groups * np.sum(shared**2)
    if num_seeds == 1:
        return Spread(0.0, float(groups), 0.0, 1, num_groups)
    seeds = np.var(of_seed, ddof=1) / num_seeds
    both = more_groups * np.sum((excess - shared) ** 2) / (num_seeds * (num_seeds - 1))
    # Other groups vary the interaction too, which the seeds' part has already.
    own = max(float(groups - both), 0.0)
    return Spread(float(seeds), own, float(both), num_seeds, num_groups)


def estimate(values: np.ndarray, group: np.ndarray, confidence: float = 0.95) -> Estimate:
    """Mean, standard error and interval over new seeds and new groups.

    With one seed they hold for that trained model only.

    Args:
        values: [seeds, rows].
        group: [rows].
        confidence: share of such intervals that cover the mean.
    """
    mean, parts = float(values.mean()), spread(values, group)
    reach = parts.reach(confidence)
    return Estimate(mean, parts.total**0.5, float(mean - reach), float(mean + reach))


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
    """
    index, size = _groups(group)
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
