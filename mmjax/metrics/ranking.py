"""Metrics of rankings: how far the rows of a class are ranked above the others.

Classes are taken one against the rest, and averaged over those that have rows on both sides.
"""

from collections.abc import Callable

import numpy as np

from mmjax.data.targets import answers, kind_of
from mmjax.types import Metric

_KINDS = ("classes", "labels")


def _auroc(score: np.ndarray, true: np.ndarray) -> tuple[float, np.ndarray]:
    """The area and the influence of each row, from placements (DeLong et al., Biometrics 1988).

    Args:
        score: [rows].
        true: [rows] bool, of either value at least once.
    """
    above, below = np.zeros(len(score)), np.zeros(len(score))
    positive, negative = np.sort(score[true]), np.sort(score[~true])
    above[true] = _share_below(negative, score[true])
    below[~true] = 1 - _share_below(positive, score[~true])
    area = float(above[true].mean())
    return area, np.where(true, (above - area) / true.mean(), (below - area) / (~true).mean())


def _share_below(ordered: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The share of sorted values below each score, where equal ones count half."""
    sides = np.searchsorted(ordered, score, "left") + np.searchsorted(ordered, score, "right")
    return sides / (2 * len(ordered))


def _average_precision(score: np.ndarray, true: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean precision at the ranks of the rows that are true, and the influence of each row."""
    order = np.argsort(-score, kind="stable")
    score, hits = score[order], true[order].astype(np.float64)
    ends = np.searchsorted(-score, -score, "right")  # rows of equal score share a threshold
    starts = np.searchsorted(-score, -score, "left")
    found, taken = np.cumsum(hits)[ends - 1], ends.astype(np.float64)
    precision = found / taken
    mean = float(precision @ hits / hits.sum())
    # A row counts in the precision at its own score and at all lower ones.
    from_here = lambda x: np.cumsum(x[::-1])[::-1][starts]
    through = hits * from_here(hits / taken) - from_here(hits * precision / taken)
    influence = np.empty(len(score))
    influence[order] = (hits * (precision - mean) + through) * len(score) / hits.sum()
    return mean, influence


def _make(
    name: str,
    label: str,
    area: Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]],
    about: str,
) -> Metric:
    def contributions(
        prediction: np.ndarray, target: np.ndarray, group: np.ndarray | None = None
    ) -> np.ndarray:
        kind = kind_of(target)
        scores = answers(prediction.astype(np.float64), kind)
        true = target[:, None] == np.arange(scores.shape[1]) if target.ndim == 1 else target == 1
        if kind == "classes" and scores.shape[1] == 2:
            scores, true = scores[:, 1:], true[:, 1:]  # the other class mirrors it
        both = np.flatnonzero(true.any(axis=0) & ~true.all(axis=0))
        if not len(both):
            return np.full(len(target), np.nan)
        found = [area(scores[:, index], true[:, index]) for index in both]
        return np.mean([value + influence for value, influence in found], axis=0)

    def score(prediction: np.ndarray, target: np.ndarray) -> float:
        return float(contributions(prediction, target).mean())

    return Metric(name, label, _KINDS, score, contributions, about=about)


_CLASSES = "averaged over classes, each against the rest, or over labels."
AUROC = _make(
    "auroc",
    "AUROC",
    _auroc,
    f"Area under the ROC curve, {_CLASSES}\n\nReference: Hanley and McNeil, The Meaning and Use of "
    "the Area under a Receiver Operating Characteristic Curve (Radiology 1982).",
)
AUPRC = _make(
    "auprc",
    "AUPRC",
    _average_precision,
    f"Area under the precision-recall curve, as average precision, {_CLASSES}\n\nReference: Davis "
    "and Goadrich, The Relationship between Precision-Recall and ROC Curves (ICML 2006).",
)
