"""Calibration of predicted probabilities; a row's confidence is its largest softmax output."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from mmjax.errors import DataError, name_rows

NUM_BINS = 15
TEMPERATURES = (0.05, 20.0)
"""Bounds of a fitted temperature: validation rows without an error drive it to the lower bound,
logits that carry no information about the target to the upper bound."""


class Reliability(NamedTuple):
    """A reliability diagram: rows binned by confidence, [bins] each.

    Attributes:
        confidence: mean confidence of the rows of a bin, NaN in an empty bin.
        accuracy: accuracy on the rows of a bin, NaN in an empty bin.
        count: number of rows.

    Example:
        >>> overconfident = Reliability(np.array([1.0]), np.array([0.75]), np.array([8]))
        >>> overconfident.error
        0.25
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray  # type: ignore[assignment]  # shadows tuple.count, a method

    @property
    def error(self) -> float:
        """Expected calibration error: mean gap between confidence and accuracy over the rows."""
        gap = np.abs(self.accuracy - self.confidence)
        return float(np.nansum(self.count * gap) / self.count.sum())


class RiskCoverage(NamedTuple):
    """Accuracy on the most confident rows, [rows] each.

    Attributes:
        coverage: fraction of rows that are predicted, rising to 1.
        accuracy: accuracy on those rows.

    Example:
        >>> perfect = RiskCoverage(coverage=np.array([0.5, 1.0]), accuracy=np.ones(2))
        >>> perfect.area
        0.0
    """

    coverage: np.ndarray
    accuracy: np.ndarray

    @property
    def area(self) -> float:
        """Area under the risk-coverage curve (risk is 1 - accuracy); lower is better.

        Geifman et al., Bias-Reduced Uncertainty Estimation (arXiv:1805.08206).
        """
        return float(1 - self.accuracy.mean())


def reliability(
    logits: np.ndarray, target: np.ndarray, num_bins: int = NUM_BINS, *, equal_mass: bool = False
) -> Reliability:
    """Compares confidence with accuracy, bin by bin.

    Bins of equal width follow Guo et al. (arXiv:1706.04599). Bins of equal mass hold the same
    number of rows (Nixon et al., arXiv:1904.01685); rows of equal confidence share a bin, so many
    ties leave some bins empty. The error is biased upwards, the more so with more bins and fewer
    rows, so compare models on the same rows only.

    Args:
        logits: [rows, classes].
        target: [rows] classes.
        num_bins: number of bins.
        equal_mass: whether bins have equal numbers of rows instead of equal width.

    Raises:
        DataError: the shapes do not match, or values are out of range.

    Example:
        >>> logits = np.log([[0.75, 0.25]] * 4)
        >>> bins = reliability(logits, np.array([0, 0, 0, 1]), num_bins=2)  # 3 of 4 correct
        >>> bins.count.tolist(), round(bins.error, 6)
        ([0, 4], 0.0)
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
    """Squared distance between probabilities and one-hot targets, summed over classes: 0 to 2.

    This is the score of Brier, Monthly Weather Review 78 (1950); with two classes it is twice the
    version that counts only one class.

    Args:
        logits: [rows, classes].
        target: [rows] classes.

    Example:
        >>> brier_score(np.zeros((1, 2)), np.array([0]))  # a coin flip
        0.5
    """
    off = np.exp(_log_p(logits, target))
    off[np.arange(len(target)), target] -= 1
    return float(np.sum(off**2, axis=1).mean())


def negative_log_likelihood(logits: np.ndarray, target: np.ndarray) -> float:
    """Mean over the rows of logits [rows, classes] and targets [rows], in nats.

    Example:
        >>> guess = negative_log_likelihood(np.zeros((5, 10)), np.arange(5))
        >>> np.isclose(guess, np.log(10)).item()  # uniform over ten classes
        True
    """
    return float(-_log_p(logits, target)[np.arange(len(target)), target].mean())


def fit_temperature(valid_logits: np.ndarray, valid_target: np.ndarray) -> float:
    """The temperature T within ``TEMPERATURES`` that minimises the loss of logits / T.

    This is the temperature scaling of Guo et al. (arXiv:1706.04599). The loss, the negative
    log-likelihood, is convex in 1 / T and has a single minimum.

    Args:
        valid_logits: [rows, classes] of rows that are not reported on.
        valid_target: [rows] classes.

    Example:
        >>> logits = 3 * np.log([[0.75, 0.25]] * 4)  # overconfident: 3 of 4 are correct
        >>> round(fit_temperature(logits, np.array([0, 0, 0, 1])), 3)
        3.0
    """
    loss = lambda t: negative_log_likelihood(valid_logits / t, valid_target)
    bounds, options = np.log(TEMPERATURES), {"xatol": 1e-6}
    found = minimize_scalar(lambda x: loss(np.exp(x)), bounds=bounds, options=options)
    # The search never tries the bounds themselves.
    return float(min((TEMPERATURES[0], np.exp(found.x), TEMPERATURES[1]), key=loss))


def risk_coverage(logits: np.ndarray, target: np.ndarray) -> RiskCoverage:
    """Accuracy when only the most confident rows are predicted.

    Reference: Geifman and El-Yaniv (arXiv:1705.08500). Rows of equal confidence have no order; the
    curve is the mean over all their orders.

    Args:
        logits: [rows, classes].
        target: [rows] classes.

    Example:
        >>> logits = np.array([[4.0, 0.0], [0.0, 3.0], [1.0, 0.0], [0.0, 2.0]])
        >>> curve = risk_coverage(logits, np.array([0, 1, 1, 1]))  # the least confident is wrong
        >>> curve.accuracy.tolist()
        [1.0, 1.0, 1.0, 0.75]
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
    """Two flat rows per seed: scores before and after temperature scaling on validation.

    Args:
        valid_logits: [seeds, valid rows, classes].
        valid_target: [valid rows] classes.
        logits: [seeds, rows, classes] of the split that is reported on.
        target: [rows] classes.
        seeds: [seeds], names of the first axis.

    Example:
        >>> logits, target = 3 * np.log([[[0.75, 0.25]] * 4]), np.array([0, 0, 0, 1])
        >>> before, after = calibration_rows(logits, target, logits, target, seeds=[0])
        >>> after["scaled"], after["nll"] < before["nll"]
        (True, True)
    """
    rows = []
    for seed, valid, raw in zip(seeds, valid_logits, logits, strict=True):
        fitted = fit_temperature(valid, valid_target)
        for scaled, temperature in ((False, 1.0), (True, fitted)):
            about = {"seed": seed, "scaled": scaled, "temperature": temperature}
            rows.append({**about, **_scores(raw / temperature, target)})
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
    bad = (~np.isfinite(logits)).any(axis=1)
    if bad.any():
        got = f"NaN or infinity in {name_rows(bad)}"
        raise DataError("logits", expected="finite values", got=got)
    low, high = target.min(), target.max()
    if low < 0 or high >= logits.shape[1]:
        raise DataError(
            "target",
            expected=f"classes from 0 to {logits.shape[1] - 1}",
            got=f"values from {low} to {high}",
        )
    return log_softmax(logits.astype(np.float64), axis=1)
