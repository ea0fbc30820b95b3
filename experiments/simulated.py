"""Scores of simulated strategies, whose true differences are known, and the loop over kinds."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from mmjax.storage.jsonl import append_rows, read_rows

Row = dict[str, Any]


def cross(**levels: Iterable[Any]) -> list[Row]:
    """A kind for each combination of levels."""
    return [dict(zip(levels, kind, strict=True)) for kind in product(*levels.values())]


def sampling_error(number: int) -> str:
    """The standard error, in %, of a rate of 5 % that is counted over so many."""
    return f"{100 * (0.05 * 0.95 / number) ** 0.5:.1f}"


def go_on(path: Path, kinds: Sequence[Row], make: Callable[[Row], Iterable[Row]]) -> list[Row]:
    """Appends rows for each kind of which the file has none yet, and reads all of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = [
        {name: row[name] for name in kinds[0]} for row in (read_rows(path) if path.exists() else [])
    ]
    for kind in track([kind for kind in kinds if kind not in done], path.stem):
        append_rows(path, [kind | row for row in make(kind)])
    return read_rows(path)


def simulate(rng, gap=0.0, seeds=3, groups=200, per_group=2, of_seed=0.1, of_group=0.4):
    """Answers of two strategies [2, seeds, rows], 1 where right, and the group of each row.

    A row is answered rightly when difficulty of its group, skill of the strategy, luck of the seed
    and of the strategy with the group, and noise add up to more than zero (a probit model).

    Args:
        rng: random generator.
        gap: how much more skilled the first strategy is; with 0 they are alike.
        seeds: number of seeds.
        groups: number of groups.
        per_group: rows of each group.
        of_seed: standard deviation of a seed's luck; noise has 1.
        of_group: standard deviation of a strategy's luck with a group.
    """
    group = np.repeat(np.arange(groups), per_group)
    normal = lambda *shape: rng.normal(size=shape)
    skill = np.array([gap, 0.0])[:, None, None]
    luck = of_seed * normal(2, seeds, 1) + of_group * normal(2, 1, groups)[..., group]
    return (
        1 + skill + normal(groups)[group] + luck + normal(2, seeds, len(group)) > 0
    ) * 1.0, group


SCORES = {
    "accuracy": lambda margin: margin > 0,
    "R2": lambda margin: 1 - 0.3 * margin**2,
    "NLL": lambda margin: np.logaddexp(0, -3 * margin),
}
"""{name: score of a row's margin, which has mean ``norm.ppf(accuracy)`` and variance one}."""


def true_score(name, skill):
    """The mean of a score over margins of that mean."""
    if name == "accuracy":
        return float(norm.cdf(skill))
    return float(SCORES[name](skill + norm.ppf((np.arange(100_000) + 0.5) / 100_000)).mean())


def simulate_lists(rng, rounds, strategies, group, *, seeds, accuracy, discordance, luck, gap=0.0):
    """Margins [rounds, strategies, seeds, rows] of strategies that are alike but for a gap.

    What strategies share, the difficulty of groups and rows, has as much of the variance as makes
    two of them differ on ``discordance`` of the rows. Of what is a strategy's own, ``luck`` is
    its seed's; half of the rest is one for all seeds in a group, and half is noise.

    Args:
        rng: random generator.
        rounds: number of independent lists.
        strategies: number of strategies in a list.
        group: [rows] integers from 0.
        seeds: number of seeds.
        accuracy: of each strategy.
        discordance: share of the rows on which one of two is right.
        luck: share of the seeds' luck in what is a strategy's own.
        gap: what is added to the margins of all but the first strategy.
    """
    rows, groups = len(group), group.max() + 1
    shared = _correlation(accuracy, discordance)
    normal = lambda *shape: rng.standard_normal(shape, np.float32)
    scale = lambda share: np.float32(share**0.5)
    difficulty = scale(shared / 2) * (normal(rounds, 1, 1, groups)[..., group])
    difficulty += scale(shared / 2) * normal(rounds, 1, 1, rows)
    own = scale((1 - shared) * (1 - luck) / 2) * normal(rounds, strategies, seeds, rows)
    own += scale((1 - shared) * (1 - luck) / 2) * normal(rounds, strategies, 1, groups)[..., group]
    own += scale((1 - shared) * luck) * normal(rounds, strategies, seeds, 1)
    own[:, 1:] += np.float32(gap)
    return np.float32(norm.ppf(accuracy)) + difficulty + own


@cache
def _correlation(accuracy, discordance):
    """Of the margins of two strategies that differ on so many rows, at most as chance has it."""
    most = norm.ppf(accuracy)

    def excess(correlation):
        both = multivariate_normal([0, 0], [[1, correlation], [correlation, 1]]).cdf([most, most])
        return 2 * (accuracy - both) - discordance

    return brentq(excess, 0.0, 1 - 1e-7)
