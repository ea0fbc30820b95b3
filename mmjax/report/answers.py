"""Which rows of a split each strategy has right: what differences are judged by."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.report.study import Study


class Answers(NamedTuple):
    """Which rows of the scored split each strategy has right.

    Attributes:
        right: {strategy: [seeds, rows] of 0 and 1}, with the same seeds everywhere.
        group: [rows] integers; rows of one group count as one draw.
        valid_accuracy: {strategy: mean over seeds}, what the best are chosen on.
        baselines: the strategies with one modality.
        split: ``test``, or ``valid`` where the test rows have no labels.
    """

    right: Mapping[str, np.ndarray]
    group: np.ndarray
    valid_accuracy: Mapping[str, float]
    baselines: Sequence[str]
    split: str

    def best(self, *, alone: bool) -> str | None:
        """The best baseline, or the best fusion, on validation."""
        names = [name for name in self.right if (name in self.baselines) == alone]
        return max(names, key=lambda name: self.valid_accuracy[name], default=None)


def make_answers(study: Study) -> Answers | None:
    """The answers that the predictions of a study hold, of the seeds that all strategies share.

    None without predictions, without a shared seed, or with fewer than two groups: then no
    difference can be judged.
    """
    predictions = {n: study.predictions[n] for n in study.strategies if n in study.predictions}
    if not predictions:
        return None
    target, group = (study.labels[f"{study.split}_{name}"] for name in ("target", "group"))
    shared = set.intersection(*(set(p["seeds"].tolist()) for p in predictions.values()))
    if not shared or len(np.unique(group)) < 2:
        return None
    right = {}
    for name, arrays in predictions.items():
        chosen = [arrays["seeds"].tolist().index(seed) for seed in sorted(shared)]
        right[name] = (arrays[study.split][chosen].argmax(axis=-1) == target).astype(np.float64)
    valid = {name: study.on_validation(name) for name in right}
    return Answers(right, group, valid, study.baselines, study.split)
