"""Metrics of decisions: of the class, or of the labels, that a prediction comes down to.

All are functions of three counts for each class: of the rows where it is right to say it (hits),
where it is said, and where it is true, as fractions of all rows.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mmjax.types import Metric


class Counts(NamedTuple):
    """Fractions of the rows, or derivatives by them, [classes] each.

    Attributes:
        hits: rows of a class that are said to be of it.
        said: rows that are said to be of it.
        true: rows of it.
    """

    hits: np.ndarray
    said: np.ndarray
    true: np.ndarray


Rate = Callable[[Counts], tuple[float, Counts]]
"""``counts -> (value, its derivatives by them)``."""


def _class_accuracy(counts: Counts) -> tuple[float, Counts]:
    nothing = np.zeros_like(counts.hits)
    return float(counts.hits.sum()), Counts(nothing + 1, nothing, nothing)


def _label_accuracy(counts: Counts) -> tuple[float, Counts]:
    each = np.full_like(counts.hits, 1 / len(counts.hits))
    right = 1 + 2 * counts.hits - counts.said - counts.true
    return float(right.mean()), Counts(2 * each, -each, -each)


def _balanced(counts: Counts) -> tuple[float, Counts]:
    occurs = counts.true > 0
    share = occurs / occurs.sum() / np.where(occurs, counts.true, 1)
    recall = counts.hits * share
    return float(recall.sum()), Counts(share, np.zeros_like(share), -recall * _inverse(counts.true))


def _macro_f1(counts: Counts) -> tuple[float, Counts]:
    occurs = counts.said + counts.true > 0
    if not occurs.any():
        return 1.0, Counts(*np.zeros((3, len(occurs))))
    f1, slopes = _f1(*counts)
    share = occurs / occurs.sum()
    return float(share @ f1), Counts(*(share * slope for slope in slopes))


def _weighted_f1(counts: Counts) -> tuple[float, Counts]:
    f1, slopes = _f1(*counts)
    total = counts.true.sum()
    if total == 0:
        return _macro_f1(counts)
    share, value = counts.true / total, float(counts.true @ f1 / total)
    hits, said, true = (share * slope for slope in slopes)
    return value, Counts(hits, said, true + (f1 - value) / total)


def _micro_f1(counts: Counts) -> tuple[float, Counts]:
    if not (counts.said + counts.true).any():
        return _macro_f1(counts)
    f1, slopes = _f1(*(part.sum(keepdims=True) for part in counts))
    return float(f1[0]), Counts(*(np.repeat(slope, len(counts.hits)) for slope in slopes))


def _f1(hits: np.ndarray, said: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, Counts]:
    """The harmonic mean of precision and recall of each class, 0 without any row."""
    inverse = _inverse(said + true)
    f1 = 2 * hits * inverse
    return f1, Counts(2 * inverse, -f1 * inverse, -f1 * inverse)


def _inverse(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, 1 / np.where(x > 0, x, 1), 0)


def decide(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """What logits [..., out_dim] come down to: classes [...], or labels [..., out_dim] bool.

    Example:
        >>> decide(np.array([[0.1, 0.7]]), np.array([0])).tolist()
        [1]
    """
    return prediction.argmax(axis=-1) if target.ndim == 1 else prediction > 0


def _count(said: np.ndarray, true: np.ndarray, classes: int) -> Counts:
    """The counts of decisions: classes [rows], or labels [rows, classes] bool."""
    if said.ndim == 2:
        return Counts((said & true).mean(axis=0), said.mean(axis=0), true.mean(axis=0))
    parts = said[said == true], said, true
    return Counts(*(np.bincount(part, minlength=classes) / len(true) for part in parts))


def _weigh(slopes: Counts, said: np.ndarray, true: np.ndarray) -> np.ndarray:
    """[rows] the derivative of a metric by the weight of a row."""
    if said.ndim == 2:
        return (said & true) @ slopes.hits + said @ slopes.said + true @ slopes.true
    return (said == true) * slopes.hits[true] + slopes.said[said] + slopes.true[true]


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)


def _trade(
    rate: Rate, one: np.ndarray, other: np.ndarray, true: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The contributions of the rows to the difference between two sets of decisions.

    The metric is integrated along the line from one set of counts to the other (Aumann and Shapley,
    Values of Non-Atomic Games, 1974): rows on which both agree then contribute alike, and the
    contributions of the others add up to the whole difference.

    Args:
        rate: the metric.
        one: classes [rows], or labels [rows, classes] bool.
        other: likewise.
        true: likewise, the targets.
    """
    classes = 1 + max(int(x.max()) for x in (one, other, true))
    ends = _count(other, true, classes), _count(one, true, classes)
    gain = np.zeros((2, len(true)))
    for node, weight in zip((_NODES + 1) / 2, _WEIGHTS / 2, strict=True):
        between = Counts(*(low + node * (high - low) for low, high in zip(*ends, strict=True)))
        _, slopes = rate(between)
        gain += weight * np.stack([_weigh(slopes, said, true) for said in (one, other)])
    # The set of classes that occur may differ at the ends, where a class is never said.
    whole = rate(ends[1])[0] - rate(ends[0])[0]
    differ = (one != other).reshape(len(true), -1).any(axis=1)
    gain[0, differ] += (whole - (gain[0] - gain[1]).mean()) / max(differ.mean(), 1 / len(true))
    return gain[0], gain[1]


def _make(name: str, label: str, rates: dict[str, Rate], about: str) -> Metric:
    """A metric of decisions, from its rate for each kind of target."""

    def rate_of(target: np.ndarray) -> Rate:
        return rates["classes" if target.ndim == 1 else "labels"]

    def count(prediction: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, Counts]:
        said, true = decide(prediction, target), target if target.ndim == 1 else target == 1
        return said, true, _count(said, true, prediction.shape[-1])

    def score(prediction: np.ndarray, target: np.ndarray) -> float:
        return rate_of(target)(count(prediction, target)[2])[0]

    def contributions(
        prediction: np.ndarray, target: np.ndarray, group: np.ndarray | None = None
    ) -> np.ndarray:
        said, true, counts = count(prediction, target)
        value, slopes = rate_of(target)(counts)
        weight = _weigh(slopes, said, true)
        return weight + np.round(value - weight.mean(), 12)  # rows that are right are all alike

    def trade(
        one: np.ndarray, other: np.ndarray, target: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return _trade(rate_of(target), one, other, target if target.ndim == 1 else target == 1)

    own = None if name == "accuracy" else trade  # a mean over rows needs none
    return Metric(name, label, tuple(rates), score, contributions, own, about=about)


_F1 = "Reference: van Rijsbergen, Information Retrieval (1979)."
ACCURACY = _make(
    "accuracy",
    "accuracy",
    {"classes": _class_accuracy, "labels": _label_accuracy},
    "The fraction of rows whose class is right, or of labels that are right.\n\nReference: Hand, "
    "Construction and Assessment of Classification Rules (1997).",
)
BALANCED_ACCURACY = _make(
    "balanced_accuracy",
    "balanced accuracy",
    {"classes": _balanced},
    "Recall, averaged over the classes.\n\nReference: Brodersen et al., The Balanced Accuracy and "
    "Its Posterior Distribution (ICPR 2010).",
)
MACRO_F1 = _make(
    "macro_f1",
    "macro F1",
    {"classes": _macro_f1, "labels": _macro_f1},
    f"F1 (the harmonic mean of precision and recall), averaged over classes or labels.\n\n{_F1}",
)
MICRO_F1 = _make(
    "micro_f1",
    "micro F1",
    {"classes": _micro_f1, "labels": _micro_f1},
    f"F1 of all labels together; for classes it equals accuracy.\n\n{_F1}",
)
WEIGHTED_F1 = _make(
    "weighted_f1",
    "weighted F1",
    {"classes": _weighted_f1, "labels": _weighted_f1},
    f"F1, averaged over classes or labels with their frequencies as weights.\n\n{_F1}",
)
