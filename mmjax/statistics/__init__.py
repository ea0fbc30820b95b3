"""Which differences between strategies are real: intervals, tests, ranks."""

from mmjax.statistics.intervals import (
    Estimate,
    Spread,
    bootstrap,
    bootstrap_interval,
    estimate,
    spread,
)
from mmjax.statistics.pairs import (
    ALPHA,
    VERDICTS,
    Needed,
    Pair,
    bootstrap_p,
    compare_pair,
    holm,
    mcnemar_p,
    needed,
    power,
)
from mmjax.statistics.ranks import (
    Ranking,
    cliques,
    interquartile_interval,
    interquartile_mean,
    performance_profile,
    rank,
)

__all__ = [
    "ALPHA",
    "VERDICTS",
    "Estimate",
    "Needed",
    "Pair",
    "Ranking",
    "Spread",
    "bootstrap",
    "bootstrap_interval",
    "bootstrap_p",
    "cliques",
    "compare_pair",
    "estimate",
    "holm",
    "interquartile_interval",
    "interquartile_mean",
    "mcnemar_p",
    "needed",
    "performance_profile",
    "power",
    "rank",
    "spread",
]
