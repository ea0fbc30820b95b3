"""Which rows of a split each strategy has right: what differences are judged by."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmjax.comparison import Comparison
from mmjax.report.study import Study
from mmjax.report.summary import Rows, scored_split


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

    def exchange(self, strategy: str, reference: str) -> tuple[float, float]:
        """Rows in % that only the strategy has right, and that only the reference has."""
        own, other = self.right[strategy], self.right[reference]
        return 100 * float(np.mean(own > other)), 100 * float(np.mean(own < other))


def make_answers(found: Study | Comparison) -> Answers | None:
    """The answers that predictions hold, of the seeds that all strategies share.

    None without predictions, without a shared seed, or with fewer than two groups: then no
    difference can be judged.
    """
    modalities = {row["strategy"]: row["modalities"] for row in found.rows}
    predictions = {n: found.predictions[n] for n in modalities if n in found.predictions}
    if not predictions:
        return None
    split = scored_split(found.rows)
    target, group = (found.labels[f"{split}_{name}"] for name in ("target", "group"))
    shared = set.intersection(*(set(p["seeds"].tolist()) for p in predictions.values()))
    if not shared or len(np.unique(group)) < 2:
        return None
    right = {}
    for name, arrays in predictions.items():
        chosen = [arrays["seeds"].tolist().index(seed) for seed in sorted(shared)]
        right[name] = (arrays[split][chosen].argmax(axis=-1) == target).astype(np.float64)
    valid = {name: _mean_accuracy(found.rows, name, "valid") for name in right}
    alone = [name for name, used in modalities.items() if "+" not in used]
    return Answers(right, group, valid, alone, split)


def _mean_accuracy(rows: Rows, strategy: str, split: str) -> float:
    wanted = (strategy, split, "")
    keys = ("strategy", "split", "hidden")
    return float(np.mean([r["accuracy"] for r in rows if tuple(map(r.get, keys)) == wanted]))
