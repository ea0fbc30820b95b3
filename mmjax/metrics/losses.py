"""Metrics that average a loss over rows: of probabilities, and of numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mmjax.data.targets import row_nll
from mmjax.types import Metric

_NUMBERS = ("numbers",)
_POSITIVE = (0.0, np.inf)


def _make(
    name: str,
    label: str,
    rows: Callable[[np.ndarray, np.ndarray], np.ndarray],
    kinds: tuple[str, ...],
    **how: Any,
) -> Metric:
    """A metric from the contributions of its rows."""

    def contributions(
        prediction: np.ndarray, target: np.ndarray, group: np.ndarray | None = None
    ) -> np.ndarray:
        return rows(prediction, target)

    def score(prediction: np.ndarray, target: np.ndarray) -> float:
        return float(rows(prediction, target).mean())

    return Metric(name, label, kinds, score, contributions, **how)


def _errors(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    return prediction.astype(np.float64) - target


def _absolute(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.abs(_errors(prediction, target)).mean(axis=-1)


def _root_mean_square(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    errors = _errors(prediction, target)
    unit = _unit(errors)
    squares = np.square(errors / unit)
    mean = squares.mean(axis=0)
    root = np.sqrt(mean)
    return (unit * (root + (squares - mean) / np.where(root > 0, 2 * root, 1))).mean(axis=-1)


def determination(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    r"""What each row contributes to R2, which is their mean: [rows].

    :math:`1 - \text{error}^2 / \text{variance}`, averaged over the numbers. The variance is taken
    as known: it is the same for all models.

    Example:
        >>> target = np.array([[1.0], [3.0]])
        >>> determination(target, target).tolist(), determination(target * 0 + 2, target).tolist()
        ([1.0, 1.0], [0.0, 0.0])
    """
    apart = target.astype(np.float64) - target.mean(axis=0, dtype=np.float64)
    unit = _unit(apart)
    squares = np.square(_errors(prediction, target) / unit)
    variance = np.square(apart / unit).mean(axis=0)
    varies = np.ptp(target, axis=0) > 0  # a constant is right or wrong, as in scikit-learn
    shares = np.where(varies, squares / np.where(varies, variance, 1), squares > 0)
    return 1 - shares.mean(axis=-1)


def _unit(values: np.ndarray) -> np.ndarray:
    """A power of two for each number, so that squares of very small or large ones are finite."""
    return np.exp2(np.frexp(np.abs(values).max(axis=0))[1] - 1)


_LOSS: dict[str, Any] = {"lower_is_better": True, "percent": False, "limits": _POSITIVE}
LOG_LOSS = _make(
    "log_loss",
    "log loss",
    row_nll,
    ("classes", "labels"),
    **_LOSS,
    about="Negative log-likelihood of the class, or of all labels of a row, in nats.\n\n"
    "Reference: Good, Rational Decisions (JRSS B 1952).",
)
_ERRORS = (
    "Reference: Willmott and Matsuura, Advantages of the Mean Absolute Error over the Root Mean "
    "Square Error (Climate Research 2005)."
)
MAE = _make("mae", "MAE", _absolute, _NUMBERS, **_LOSS, about=f"Mean absolute error.\n\n{_ERRORS}")
RMSE = _make(
    "rmse",
    "RMSE",
    _root_mean_square,
    _NUMBERS,
    **_LOSS,
    about=f"Root mean squared error, averaged over the numbers.\n\n{_ERRORS}",
)
R2 = _make(
    "r2",
    "R2",
    determination,
    _NUMBERS,
    limits=(-np.inf, 1.0),
    about="Coefficient of determination, averaged over the numbers.\n\n"
    "Reference: Wright, Correlation and Causation (J. Agric. Res. 1921).",
)
