"""How far probabilities can be believed; a row's confidence is the largest of its softmax."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from mmjax.errors import DataError

NUM_BINS = 15
TEMPERATURES = (0.05, 20.0)
"""Bounds of a fitted temperature: validation without a mistake drives it to the lower one, logits
that say nothing about the target to the upper one."""


class Reliability(NamedTuple):
    """A reliability diagram: rows binned by confidence, [bins] each.

    Attributes:
        confidence: mean confidence of a bin's rows, NaN where there are none.
        accuracy: share of a bin's rows that are right, NaN where there are none.
        count: number of rows.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of confidence and accuracy over the rows."""
        gap = np.abs(self.accuracy - self.confidence)
        return float(np.nansum(self.count * gap) / self.count.sum())


class RiskCoverage(NamedTuple):
    """How accurate the most confident rows are, [rows] each.

    Attributes:
        coverage: share of the rows that are answered, rising to 1.
        accuracy: share of those that are right.
    """

    coverage: np.ndarray
    accuracy: np.ndarray

    @property
    def area(self) -> float:
        """Area under the curve of risk (1 - accuracy) over coverage, lower is better.

        Geifman et al., Bias-Reduced Uncertainty Estimation (arXiv:1805.08206).
        """
        return float(1 - self.accuracy.mean())


def reliability(
    logits: np.ndarray, target: np.ndarray, num_bins: int = NUM_BINS, *, equal_mass: bool = False
) -> Reliability:
    """Compares confidence with accuracy, bin by bin.

    Bins of equal width are those of Guo et al. (arXiv:1706.04599). Those of equal mass hold as many
    rows each (Nixon et al., arXiv:1904.01685); rows of one confidence stay together, so that with
    many ties some bins are empty. The error is biased upwards, more so with more bins and fewer
    rows: compare models on the same rows only.

    Args:
        logits: [rows, classes].
        target: [rows] classes.
        num_bins: number of bins.
        equal_mass: whether bins hold as many rows each, and not as wide an interval.

    Raises:
        DataError: the shapes do not fit, or values are out of range.
    """
    confidence, right = _judge(logits, target)
    edges = np.linspace(0, 1, num_bins + 1)
    if equal_mass:
        edges = np.quantile(confidence, edges)
    index = np.searchsorted(edges[1:-1], confidence)  # an edge belongs to the bin below it
    total = lambda weights=None: np.bincount(index, weights, minlength=num_bins)
    count = total()
    with np.errstate(invalid="ignore"):  # 0 / 0 in an empty bin
        return Reliability(total(confidence) / count, total(right) / count, count)


def brier_score(logits: np.ndarray, target: np.ndarray) -> float:
    """Squared distance of probabilities and one-hot targets, summed over classes: 0 to 2.

    This is the score of Brier, Monthly Weather Review 78 (1950); with two classes it is twice the
    score that counts one class only.

    Args:
        logits: [rows, classes].
        target: [rows] classes.
    """
    off = np.exp(_log_p(logits, target))
    off[np.arange(len(target)), target] -= 1
    return float(np.sum(off**2, axis=1).mean())


def negative_log_likelihood(logits: np.ndarray, target: np.ndarray) -> float:
    """Mean over the rows of logits [rows, classes] and targets [rows], in nats."""
    return float(-_log_p(logits, target)[np.arange(len(target)), target].mean())


def fit_temperature(valid_logits: np.ndarray, valid_target: np.ndarray) -> float:
    """The temperature T within ``TEMPERATURES`` at which logits / T have the least loss.

    Temperature scaling is that of Guo et al. (arXiv:1706.04599). The loss, the negative
    log-likelihood, is convex in 1 / T, so that its one minimum is found.

    Args:
        valid_logits: [rows, classes] of rows that are not reported on.
        valid_target: [rows] classes.
    """
    loss = lambda t: negative_log_likelihood(valid_logits / t, valid_target)
    bounds, options = np.log(TEMPERATURES), {"xatol": 1e-6}
    found = minimize_scalar(lambda x: loss(np.exp(x)), bounds=bounds, options=options)
    # The search never tries the bounds themselves.
    return float(min((TEMPERATURES[0], np.exp(found.x), TEMPERATURES[1]), key=loss))


def risk_coverage(logits: np.ndarray, target: np.ndarray) -> RiskCoverage:
    """Answers the most confident rows first (Geifman and El-Yaniv, arXiv:1705.08500).

    Rows of one confidence come in no order: the curve is the mean over all orders of them.

    Args:
        logits: [rows, classes].
        target: [rows] classes.
    """
    confidence, right = _judge(logits, target)
    _, tie, size = np.unique(-confidence, return_inverse=True, return_counts=True)
    expected = np.repeat(np.bincount(tie, right) / size, size)
    answered = np.arange(1, len(right) + 1)
    return RiskCoverage(answered / len(right), np.cumsum(expected) / answered)


def calibration_rows(
    valid_logits: np.ndarray,
    valid_target: np.ndarray,
    logits: np.ndarray,
    target: np.ndarray,
    seeds: Sequence[int],
) -> list[dict[str, Any]]:
    """Two flat rows per seed: scores as trained, and after temperature scaling on validation.

    Args:
        valid_logits: [seeds, valid rows, classes].
        valid_target: [valid rows] classes.
        logits: [seeds, rows, classes] of the split that is reported on.
        target: [rows] classes.
        seeds: [seeds], names of the first axis.
    """
    rows = []
    for seed, valid, raw in zip(seeds, valid_logits, logits, strict=True):
        fitted = fit_temperature(valid, valid_target)
        for scaled, temperature in ((False, 1.0), (True, fitted)):
            which = {"seed": seed, "scaled": scaled, "temperature": temperature}
            rows.append({**which, **_scores(raw / temperature, target)})
    return rows


def _scores(logits: np.ndarray, target: np.ndarray) -> dict[str, float]:
    return {
        "ece": reliability(logits, target).error,
        "ece_equal_mass": reliability(logits, target, equal_mass=True).error,
        "brier": brier_score(logits, target),
        "nll": negative_log_likelihood(logits, target),
        "aurc": risk_coverage(logits, target).area,
    }


def _judge(logits: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    log_p = _log_p(logits, target)
    return np.exp(log_p.max(axis=1)), log_p.argmax(axis=1) == target


def _log_p(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    if logits.ndim != 2 or target.shape != logits.shape[:1] or not len(target):
        raise DataError(
            "logits and target",
            expected="[rows, classes] and [rows], at least one row",
            got=f"{logits.shape} and {target.shape}",
        )
    bad = (~np.isfinite(logits)).any(axis=1).sum()
    if bad:
        raise DataError("logits", expected="finite values", got=f"NaN or infinity in {bad} rows")
    low, high = target.min(), target.max()
    if low < 0 or high >= logits.shape[1]:
        raise DataError(
            "target",
            expected=f"classes from 0 to {logits.shape[1] - 1}",
            got=f"values from {low} to {high}",
        )
    return log_softmax(logits.astype(np.float64), axis=1)
