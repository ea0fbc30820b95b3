"""Rows into one line of numbers per strategy."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmjax.comparison.scores import baselines
from mmjax.data.targets import SECOND_SCORES, find_score

Rows = Sequence[Mapping[str, Any]]

MAJORITY = "majority class"
"""The name, in tables, of the answer that is most frequent in training, given for every row."""


@dataclass(frozen=True)
class Summary:
    """A strategy over its seeds, on one split with no modality hidden.

    Attributes:
        strategy: its name.
        unimodal: whether it is a baseline with one modality.
        metric: name of the main score.
        score: [seeds], seeds sorted.
        second: [seeds] macro F1 of classes and labels, root mean squared error of numbers.
        valid_score: [seeds], what choices are made on.
        params: number of parameters.
        seconds: wall time of its training, all seeds together.
        majority: accuracy and macro F1 of ``MAJORITY``, where the rows have them.
    """

    strategy: str
    unimodal: bool
    metric: str
    score: np.ndarray
    second: np.ndarray
    valid_score: np.ndarray
    params: int
    seconds: float
    majority: tuple[float, float] | None = None


def summarise(rows: Rows) -> list[Summary]:
    """One Summary per strategy, best score on the scored split first."""
    split = scored_split(rows)
    by_strategy = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["seed"]):
        if not row["hidden"]:
            by_strategy[row["strategy"]].append(row)
    return sorted(
        (_summarise_one(name, part, split) for name, part in by_strategy.items()),
        key=lambda s: -s.score.mean(),
    )


def scored_split(rows: Rows) -> str:
    """``test``, or ``valid`` where the test rows have no labels."""
    return "test" if any(row["split"] == "test" for row in rows) else "valid"


def _summarise_one(strategy: str, rows: Rows, split: str) -> Summary:
    of = lambda metric, split: np.array([row[metric] for row in rows if row["split"] == split])
    metric = find_score(rows[0])
    scored = next((row for row in rows if row["split"] == split), {})
    majority = scored.get("majority_accuracy"), scored.get("majority_macro_f1")
    return Summary(
        strategy=strategy,
        unimodal=strategy in baselines(rows),
        metric=metric,
        score=of(metric, split),
        second=of(SECOND_SCORES[metric], split),
        valid_score=of(metric, "valid"),
        params=rows[0]["params"],
        seconds=rows[0]["seconds"],
        majority=None if None in majority else majority,
    )


def find_majority(summaries: Sequence[Summary]) -> tuple[float, float] | None:
    """Accuracy and macro F1 of ``MAJORITY``; None of numbers, and of rows that lack them."""
    return next((s.majority for s in summaries if s.majority), None)


def majority_warnings(summaries: Sequence[Summary]) -> list[str]:
    """A sentence that names the strategies which do not beat the majority class, if there are any.

    They may have learned no more than how frequent the answers are, however high they score.
    """
    found = find_majority(summaries)
    if found is None:
        return []
    names = [s.strategy for s in summaries if s.score.mean() <= found[0]]
    if not names:
        return []
    none = len(names) == len(summaries)
    who = "No strategy beats" if none else f"{', '.join(names)}: no better than"
    return [
        f"{who} the majority class, which has {100 * found[0]:.2f} % accuracy without any input. "
        "Macro F1, in which every class counts alike, shows whether more was learned."
    ]
