"""What each row contributes to the score of each strategy, from which differences are judged."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.analysis.statistics import (
    Estimate,
    Folds,
    Pair,
    compare_pair,
    correct,
    estimate,
    widen,
)
from mmjax.analysis.study import Study
from mmjax.analysis.summary import Rows
from mmjax.comparison.scores import labels
from mmjax.data.task import Task
from mmjax.metrics import METRICS, as_blocks, decide
from mmjax.types import Metric


class Answers(NamedTuple):
    """The contribution of each row of the scored split to the score of each strategy.

    Attributes:
        scores: {strategy: [seeds, rows]} from ``Metric.contributions``, such as 1 for a correct and
            0 for an incorrect class; negated if lower is better. All strategies have the same
            seeds.
        group: [rows] integers; rows of one group count as one draw.
        valid_score: {strategy: mean over seeds}, by which the best strategies are selected.
        baselines: the unimodal strategies.
        split: ``test``, or ``valid`` where the test rows have no labels.
        metric: what they contribute to.
        decisions: {strategy: [seeds, rows]}, the class or labels that it decides for, if the
            metric depends on these alone.
        target: [rows] of classes, or [rows, labels], beside ``decisions``.
        folds: how rows were dealt, in cross-validation.

    Example:
        >>> scores = {"image_only": np.eye(1, 4), "sum": np.ones((1, 4))}
        >>> valid = {"image_only": 0.3, "sum": 0.9}
        >>> answers = Answers(scores, np.arange(4), valid, ["image_only"], "test")
        >>> answers.best(alone=True), answers.best(alone=False)
        ('image_only', 'sum')
        >>> answers.exchange("sum", "image_only")  # % of rows gained, and lost
        (75.0, 0.0)
    """

    scores: Mapping[str, np.ndarray]
    group: np.ndarray
    valid_score: Mapping[str, float]
    baselines: Sequence[str]
    split: str
    metric: Metric = METRICS["accuracy"]
    decisions: Mapping[str, np.ndarray] = {}
    target: np.ndarray | None = None
    folds: Folds | None = None

    def best(self, *, alone: bool) -> str | None:
        """The best unimodal baseline, or the best fusion, on validation."""
        names = [name for name in self.scores if (name in self.baselines) == alone]
        return max(names, key=lambda name: self.valid_score[name], default=None)

    def compare(self, strategy: str, reference: str) -> Pair:
        """Tests the gain of a strategy over another."""
        return self.test(*self._versus(strategy, reference))

    def test(self, first: np.ndarray, second: np.ndarray) -> Pair:
        """Tests the difference of two scores of every seed and row, [seeds, rows] each."""
        pair = compare_pair(first, second, self.group)
        return pair if self.folds is None else correct(pair, first - second, self.folds)

    def estimate(self, strategy: str) -> Estimate:
        """The mean contribution of the rows to a strategy's score, with its interval."""
        values = self.scores[strategy]
        found = estimate(values, self.group)
        return found if self.folds is None else widen(found, values, self.folds)

    def _versus(self, strategy: str, reference: str) -> tuple[np.ndarray, np.ndarray]:
        """[seeds, rows] twice, equal on rows where the two decide alike."""
        if not self.decisions or self.metric.trade is None or self.target is None:
            return self.scores[strategy], self.scores[reference]
        own, other = self.decisions[strategy], self.decisions[reference]
        found = np.empty((2, *own.shape[:2]))
        for lane, rows in _tested_together(self.folds, own.shape[0], own.shape[1]):
            part = own[lane, rows], other[lane, rows], self.target[rows]
            found[:, lane, rows] = self.metric.trade(*part)
        return found[0], found[1]

    def exchange(self, strategy: str, reference: str) -> tuple[float, float]:
        """Percentage of rows on which the strategy scores higher, and on which it scores lower."""
        own, other = self.scores[strategy], self.scores[reference]
        if self.decisions:
            own, other = (self.decisions[n] == self.target for n in (strategy, reference))
        return 100 * float(np.mean(own > other)), 100 * float(np.mean(own < other))


def make_answers(study: Study) -> Answers | None:
    """Scores the stored predictions of the seeds that all strategies share.

    Returns None without predictions, without a shared seed, with fewer than two groups, or where
    the metric has no value, since no difference can then be judged.

    Example:
        >>> splits, seeds = ("valid", "test"), np.arange(1)
        >>> rows = [{"strategy": "sum", "modalities": "a+b", "seed": 0, "split": split,
        ...          "hidden": "", "accuracy": 0.75} for split in splits]
        >>> labels = {f"{s}_{n}": np.arange(4) for s in splits for n in ("target", "group")}
        >>> logits = {"seeds": seeds, **dict.fromkeys(splits, np.eye(4)[None, [0, 1, 2, 0]])}
        >>> study = Study("toy", (), rows, [], {}, {"sum": logits}, labels, (), {}, {})
        >>> make_answers(study).scores["sum"]
        array([[1., 1., 1., 0.]])
    """
    predictions = {n: study.predictions[n] for n in study.strategies if n in study.predictions}
    if not predictions:
        return None
    shared = set.intersection(*(set(p["seeds"].tolist()) for p in predictions.values()))
    own = METRICS.get(study.metric.name) is not study.metric
    group = as_blocks(study.group) if own else study.group
    if not shared or len(np.unique(group)) < 2:
        return None
    scored, decisions = {}, {}
    for name, arrays in predictions.items():
        chosen = [arrays["seeds"].tolist().index(seed) for seed in sorted(shared)]
        if own:
            scored[name] = arrays["contributions"][chosen]
            continue
        read = study.read(arrays[study.split][chosen])
        scored[name] = study.metric.sign * _contribute(study, read)
        if study.metric.trade:
            decisions[name] = decide(read, study.target)
    if not all(np.isfinite(one).all() for one in scored.values()):
        return None
    valid = {name: study.on_validation(name) for name in scored}
    about = (study.metric, decisions, study.target, study.folds)
    return Answers(scored, group, valid, study.baselines, study.split, *about)


def estimate_arm(task: Task, rows: Rows, predictions: Mapping[str, np.ndarray]) -> Estimate | None:
    """The score of one strategy with its interval, or None where ``make_answers`` has none.

    Args:
        task: the data.
        rows: of the strategy.
        predictions: of the strategy, as in ``Study``.
    """
    (strategy,) = {row["strategy"] for row in rows}
    own = {strategy: dict(predictions)}
    study = Study(task.name, (), [dict(row) for row in rows], [], {}, own, labels(task), (), {}, {})
    answers = make_answers(study)
    if answers is None:
        return None
    mean, error, *ends = answers.estimate(strategy)
    low, high = sorted(study.metric.sign * end for end in ends)
    if study.metric.percent:  # which a mean +- t * error may leave
        low, high = max(low, 0.0), min(high, 1.0)
    return Estimate(study.metric.sign * mean, error, low, high)


def _contribute(study: Study, predictions: np.ndarray) -> np.ndarray:
    target, found = study.read(study.target), np.empty(predictions.shape[:2])
    for lane, rows in _tested_together(study.folds, len(found), len(target)):
        part = predictions[lane, rows], target[rows], study.group[rows]
        found[lane, rows] = study.metric.contributions(*part)
    return found


def _tested_together(
    folds: Folds | None, lanes: int, rows: int
) -> Iterator[tuple[int, np.ndarray]]:
    """(lane, rows) of each model: all rows, or with folds those that it was not trained on."""
    for lane in range(lanes):
        if folds is None:
            yield lane, np.arange(rows)
            continue
        fold = folds.fold[lane * len(folds.fold) // lanes]
        for index in np.unique(fold):
            yield lane, np.flatnonzero(fold == index)
