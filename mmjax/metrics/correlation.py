"""Correlations of predicted numbers with the targets, averaged over the numbers."""

from collections.abc import Callable

import numpy as np

from mmjax.types import Metric


def _pearson(x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """The correlation and the influence of each row (Devlin et al., Biometrika 1975)."""
    x, y = _standardise(x), _standardise(y)
    value = float((x * y).mean())
    return value, x * y - value * (np.square(x) + np.square(y)) / 2


def _spearman(x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """The same of ranks; a row also shifts the ranks of those above it (Croux and Dehon, 2010)."""
    ranks, others = _ranks(x), _ranks(y)
    value, influence = _pearson(ranks, others)
    pull = _slope(ranks, others, value), _slope(others, ranks, value)
    shift = _sum_above(x, pull[0]) + _sum_above(y, pull[1])
    return value, influence + shift - shift.mean()


def _standardise(x: np.ndarray) -> np.ndarray:
    # What is constant has no correlation with anything; its mean may be rounded.
    return (x - x.mean()) / x.std() if np.ptp(x) > 0 else np.zeros_like(x)


def _ranks(x: np.ndarray) -> np.ndarray:
    """The share of rows below each, where equal ones count half."""
    ordered = np.sort(x)
    sides = np.searchsorted(ordered, x, "left") + np.searchsorted(ordered, x, "right")
    return sides / (2 * len(x))


def _slope(x: np.ndarray, y: np.ndarray, value: float) -> np.ndarray:
    """The derivative of a correlation by the values x, [rows], times the number of rows."""
    deviation = x.std() if np.ptp(x) > 0 else 1
    return (_standardise(y) - value * _standardise(x)) / deviation


def _sum_above(x: np.ndarray, pull: np.ndarray) -> np.ndarray:
    """The mean of ``pull`` over rows above each row, where equal ones count half."""
    order = np.argsort(x, kind="stable")
    ordered = x[order]
    total = np.concatenate([[0.0], np.cumsum(pull[order])])
    sides = [total[-1] - total[np.searchsorted(ordered, x, side)] for side in ("left", "right")]
    return (sides[0] + sides[1]) / (2 * len(x))


def _make(
    name: str,
    label: str,
    correlate: Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]],
    about: str,
) -> Metric:
    def contributions(
        prediction: np.ndarray, target: np.ndarray, group: np.ndarray | None = None
    ) -> np.ndarray:
        columns = zip(prediction.astype(np.float64).T, target.astype(np.float64).T, strict=True)
        found = [correlate(x, y) for x, y in columns]
        return np.mean([value + influence for value, influence in found], axis=0)

    def score(prediction: np.ndarray, target: np.ndarray) -> float:
        return float(contributions(prediction, target).mean())

    return Metric(
        name,
        label,
        ("numbers",),
        score,
        contributions,
        percent=False,
        limits=(-1.0, 1.0),
        about=about,
    )


PEARSON = _make(
    "pearson",
    "Pearson correlation",
    _pearson,
    "Linear correlation with the target, averaged over the numbers.\n\n"
    "Reference: Pearson, Notes on Regression and Inheritance (Proc. R. Soc. 1895).",
)
SPEARMAN = _make(
    "spearman",
    "Spearman correlation",
    _spearman,
    "Correlation of ranks with those of the target, averaged over the numbers.\n\nReference: "
    "Spearman, The Proof and Measurement of Association between Two Things (Am. J. Psychol. 1904).",
)
