"""Summaries of score rows: one per strategy."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np

from mmjax.comparison.scores import baselines, over_folds
from mmjax.metrics import metric_of, second_metric
from mmjax.types import Metric

Rows = Sequence[Mapping[str, Any]]
R = TypeVar("R", bound=Mapping[str, Any])
K = TypeVar("K", bound=Hashable)

MAJORITY = "majority class"
"""The name, in tables, of always predicting the most frequent class of the training split."""


def group_by(rows: Iterable[R], key: Callable[[R], K]) -> dict[K, list[R]]:
    """The rows of each key, keys and rows in their order.

    Example:
        >>> rows = [{"seed": 1, "score": 5}, {"seed": 0, "score": 3}, {"seed": 1, "score": 4}]
        >>> {seed: len(some) for seed, some in group_by(rows, itemgetter("seed")).items()}
        {1: 2, 0: 1}
    """
    found: dict[K, list[R]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


@dataclass(frozen=True)
class Summary:
    """A strategy over its seeds, on one split with no modality hidden.

    Attributes:
        strategy: its name.
        unimodal: whether it is a unimodal baseline.
        metric: what ``score`` and ``valid_score`` are values of.
        score: [seeds], seeds sorted; with folds, [repeats * seeds], each over all folds.
        second: [seeds] of the metric that tables show beside it.
        valid_score: [seeds], by which strategies are selected.
        params: number of parameters.
        seconds: wall time of training all seeds.
        majority: both scores of ``MAJORITY``, where the rows have them.
    """

    strategy: str
    unimodal: bool
    metric: Metric
    score: np.ndarray
    second: np.ndarray
    valid_score: np.ndarray
    params: int
    seconds: float
    majority: tuple[float, float] | None = None

    @property
    def goodness(self) -> float:
        """The mean score, negated if lower is better."""
        return self.metric.sign * float(self.score.mean())


def summarise(rows: Rows) -> list[Summary]:
    """One Summary per strategy, best score on the scored split first.

    Example:
        >>> row = {"modalities": "a+b", "split": "test", "hidden": "", "macro_f1": 0.5,
        ...        "params": 10, "seconds": 1.0}
        >>> rows = [{**row, "strategy": name, "seed": seed, "accuracy": score}
        ...         for name, score in (("sum", 0.5), ("gmu", 0.75)) for seed in range(2)]
        >>> [(s.strategy, s.score.tolist()) for s in summarise(rows)]
        [('gmu', [0.75, 0.75]), ('sum', [0.5, 0.5])]
    """
    split = scored_split(rows)
    shown = [row for row in rows if not row["hidden"]]
    by_strategy = group_by(shown, itemgetter("strategy"))
    return sorted(
        (_summarise_one(name, part, split) for name, part in by_strategy.items()),
        key=lambda s: (-s.goodness, s.strategy),
    )


def scored_split(rows: Rows) -> str:
    """``test``, or ``valid`` where the test rows have no labels.

    Example:
        >>> scored_split([{"split": "valid"}, {"split": "test"}])
        'test'
    """
    return "test" if any(row["split"] == "test" for row in rows) else "valid"


def _summarise_one(strategy: str, rows: Rows, split: str) -> Summary:
    of = lambda column, split: over_folds([r for r in rows if r["split"] == split], column)
    metric = metric_of(rows[0])
    second = second_metric(metric)
    names = [f"majority_{one.name}" for one in (metric, second)]
    known = any(names[1] in row for row in rows if row["split"] == split)
    return Summary(
        strategy=strategy,
        unimodal=strategy in baselines(rows),
        metric=metric,
        score=of(metric.name, split),
        second=of(second.name, split),
        valid_score=of(metric.name, "valid"),
        params=rows[0]["params"],
        seconds=rows[0]["seconds"],
        majority=(float(of(names[0], split)[0]), float(of(names[1], split)[0])) if known else None,
    )


def find_majority(summaries: Sequence[Summary]) -> tuple[float, float] | None:
    """Both scores of ``MAJORITY``; None for numbers, and where the rows lack them."""
    return next((s.majority for s in summaries if s.majority), None)


def majority_warnings(summaries: Sequence[Summary]) -> list[str]:
    """A sentence that names the strategies that do not beat the majority class, if any.

    However high they score, they may have learned nothing but the class frequencies.

    Example:
        >>> from mmjax.metrics import METRICS
        >>> seeds = [np.array([0.9])] * 3
        >>> poor = Summary("sum", False, METRICS["accuracy"], *seeds, 10, 1.0, (0.9, 0.47))
        >>> majority_warnings([poor])[0].split(",")[0]
        'No strategy beats the majority class'
    """
    found = find_majority(summaries)
    if found is None:
        return []
    metric = summaries[0].metric
    names = [s.strategy for s in summaries if s.goodness <= metric.sign * found[0]]
    if not names:
        return []
    none = len(names) == len(summaries)
    between = "; " if any("," in name for name in names) else ", "
    who = "No strategy beats" if none else f"{between.join(names)}: no better than"
    reached = f"{who} the majority class, which reaches"
    hint = " Macro F1, which weights all classes equally, shows whether more was learned."
    reached = f"{reached} {metric.tell(found[0])} without any input."
    return [reached + (hint if metric.name == "accuracy" else "")]
