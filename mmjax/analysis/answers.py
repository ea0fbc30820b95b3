"""What each row contributes to the score of each strategy, from which differences are judged."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.analysis.statistics import Pair, compare_pair
from mmjax.analysis.study import Study
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

    def best(self, *, alone: bool) -> str | None:
        """The best unimodal baseline, or the best fusion, on validation."""
        names = [name for name in self.scores if (name in self.baselines) == alone]
        return max(names, key=lambda name: self.valid_score[name], default=None)

    def compare(self, strategy: str, reference: str) -> Pair:
        """Tests the gain of a strategy over another."""
        return compare_pair(*self._versus(strategy, reference), self.group)

    def _versus(self, strategy: str, reference: str) -> tuple[np.ndarray, np.ndarray]:
        """[seeds, rows] twice, equal on rows where the two decide alike."""
        if not self.decisions or self.metric.trade is None or self.target is None:
            return self.scores[strategy], self.scores[reference]
        both = zip(self.decisions[strategy], self.decisions[reference], strict=True)
        own, other = zip(*(self.metric.trade(*pair, self.target) for pair in both), strict=True)
        return np.stack(own), np.stack(other)

    def exchange(self, strategy: str, reference: str) -> tuple[float, float]:
        """Percentage of rows on which the strategy scores higher, and on which it scores lower."""
        own, other = self.scores[strategy], self.scores[reference]
        if self.decisions:
            own, other = (self.decisions[n] == self.target for n in (strategy, reference))
        return 100 * float(np.mean(own > other)), 100 * float(np.mean(own < other))


def make_answers(study: Study) -> Answers | None:
    """Scores the stored predictions of the seeds that all strategies share.

    Returns None without predictions, without a shared seed, or with fewer than two groups, since no
    difference can then be judged.

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
    valid = {name: study.on_validation(name) for name in scored}
    return Answers(
        scored,
        group,
        valid,
        study.baselines,
        study.split,
        study.metric,
        decisions,
        study.target,
    )


def _contribute(study: Study, predictions: np.ndarray) -> np.ndarray:
    target = study.read(study.target)
    each = [study.metric.contributions(one, target, study.group) for one in predictions]
    return np.stack(each)
