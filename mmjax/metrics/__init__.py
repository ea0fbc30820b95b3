"""Metrics, which score predictions, and their table ``METRICS``.

Every metric is the mean of a contribution of each row, from which its uncertainty follows.
"""

from mmjax.metrics.decisions import decide
from mmjax.metrics.own import MetricLike, as_blocks, make_metric
from mmjax.metrics.scoring import (
    find_metric,
    goodness,
    majority_scores,
    metric_of,
    second_metric,
    with_metric,
)
from mmjax.registry import METRICS

__all__ = [
    "METRICS",
    "MetricLike",
    "as_blocks",
    "decide",
    "find_metric",
    "goodness",
    "majority_scores",
    "make_metric",
    "metric_of",
    "second_metric",
    "with_metric",
]
