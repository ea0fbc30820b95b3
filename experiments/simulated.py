"""Right and wrong answers of simulated strategies, whose true accuracies are known."""

import numpy as np


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
