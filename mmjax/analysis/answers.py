"""How well each strategy does on each row of a split: what differences are judged by."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.analysis.study import Study
from mmjax.data.targets import MAIN_SCORES, row_scores


class Answers(NamedTuple):
    """How well each strategy does on each row of the scored split.

    Attributes:
        scores: {strategy: [seeds, rows]}, as ``targets.row_scores`` has them, with the same seeds
            everywhere: 1 and 0 where classes are right and wrong.
        group: [rows] integers; rows of one group count as one draw.
        valid_score: {strategy: mean over seeds}, what the best are chosen on.
        baselines: the strategies with one modality.
        split: ``test``, or ``valid`` where the test rows have no labels.
        metric: what the score is called.
    """

    scores: Mapping[str, np.ndarray]
    group: np.ndarray
    valid_score: Mapping[str, float]
    baselines: Sequence[str]
    split: str
    metric: str = "accuracy"

    def best(self, *, alone: bool) -> str | None:
        """The best baseline, or the best fusion, on validation."""
        names = [name for name in self.scores if (name in self.baselines) == alone]
        return max(names, key=lambda name: self.valid_score[name], default=None)

    def exchange(self, strategy: str, reference: str) -> tuple[float, float]:
        """Rows in % on which the strategy does better, and on which the reference does."""
        own, other = self.scores[strategy], self.scores[reference]
        return 100 * float(np.mean(own > other)), 100 * float(np.mean(own < other))


def make_answers(study: Study) -> Answers | None:
    """The answers that predictions hold, of the seeds that all strategies share.

    None without predictions, without a shared seed, or with fewer than two groups: then no
    difference can be judged.
    """
    predictions = {n: study.predictions[n] for n in study.strategies if n in study.predictions}
    if not predictions:
        return None
    split = study.split
    target, group = (study.labels[f"{split}_{name}"] for name in ("target", "group"))
    shared = set.intersection(*(set(p["seeds"].tolist()) for p in predictions.values()))
    if not shared or len(np.unique(group)) < 2:
        return None
    scored = {}
    for name, arrays in predictions.items():
        chosen = [arrays["seeds"].tolist().index(seed) for seed in sorted(shared)]
        scored[name] = row_scores(arrays[split][chosen], target)
    valid = {name: study.on_validation(name) for name in scored}
    return Answers(scored, group, valid, study.baselines, split, MAIN_SCORES[study.metric])
