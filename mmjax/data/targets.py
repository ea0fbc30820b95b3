"""Targets, and the scores of predictions.

The type and the shape of a target determine its kind:

=========  ============================  ==========================  ============================
kind       array                         prediction [rows, out_dim]  score of a row
=========  ============================  ==========================  ============================
"classes"  integers [rows]               logits                      1 if the class is right
"labels"   integers [rows, out_dim],     logits of presence          fraction of labels that
           0 or 1                                                    are right
"numbers"  float32 [rows, out_dim]       the numbers                 mean over the numbers of
                                                                     1 - error^2 / variance
=========  ============================  ==========================  ============================

The mean of these scores over rows is the accuracy for classes and labels, and the coefficient of
determination R2 for numbers, with the variance of the scored rows.
"""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np
from scipy.special import expit, log_softmax, softmax

UNLABELLED = -1

Kind = Literal["classes", "labels", "numbers"]


MAIN_SCORES = {"accuracy": "accuracy", "r2": "R2"}
"""{name of a main score, by which models are selected: how to print it}."""

SECOND_SCORES = {"accuracy": "macro_f1", "r2": "rmse"}
"""{name of a main score: the one shown beside it in tables}."""


def kind_of(target: np.ndarray | jax.Array) -> Kind:
    """The kind of a target.

    Example:
        >>> kind_of(np.array([2, 0])), kind_of(np.array([[1, 0]])), kind_of(np.array([[0.5]]))
        ('classes', 'labels', 'numbers')
    """
    if np.issubdtype(target.dtype, np.floating):
        return "numbers"
    return "classes" if target.ndim == 1 else "labels"


def is_labelled(target: np.ndarray) -> bool:
    """Whether any row has a target, that is, not all are ``UNLABELLED`` or NaN."""
    missing = np.isnan(target) if kind_of(target) == "numbers" else target == UNLABELLED
    return not missing.all()


def row_scores(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The score of each row, [..., rows]; 1 is best.

    Args:
        prediction: [..., rows, out_dim].
        target: of the rows.

    Example:
        >>> logits = np.array([[2.0, -1.0], [0.5, 1.0]])
        >>> row_scores(logits, np.array([0, 0])).tolist()  # classes
        [1.0, 0.0]
        >>> row_scores(logits, np.array([[1, 0], [0, 1]])).tolist()  # labels
        [1.0, 0.5]
    """
    match kind_of(target):
        case "classes":
            return (prediction.argmax(axis=-1) == target).astype(np.float64)
        case "labels":
            return ((prediction > 0) == target).mean(axis=-1)
    squares = np.square(prediction.astype(np.float64) - target)
    variance = target.var(axis=0, dtype=np.float64)
    varies = variance > 0  # a constant is right or wrong, as in scikit-learn
    shares = np.where(varies, squares / np.where(varies, variance, 1), squares > 0)
    return 1 - shares.mean(axis=-1)


def row_nll(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of each row in nats, [..., rows].

    Labels are independent. Numbers are normal with unit variance, up to the constant: half the
    squared error.

    Args:
        prediction: [..., rows, out_dim].
        target: of the rows.
    """
    prediction = prediction.astype(np.float64)
    match kind_of(target):
        case "classes":
            return -log_softmax(prediction, axis=-1)[..., np.arange(len(target)), target]
        case "labels":
            return (np.logaddexp(0, prediction) - prediction * target).sum(axis=-1)
    return np.square(prediction - target).sum(axis=-1) / 2


def scores(
    prediction: np.ndarray, target: np.ndarray, deviation: np.ndarray | float = 1.0
) -> dict[str, float]:
    """The scores of a set of rows: the main score first, and the mean of ``row_nll``.

    Classes and labels have ``accuracy`` and ``macro_f1``; numbers have ``r2`` and ``rmse``, the
    root mean squared error averaged over the numbers.

    Args:
        prediction: [rows, out_dim].
        target: of the rows.
        deviation: of numbers before standardisation, [out_dim], to have ``rmse`` in their units.

    Example:
        >>> logits = np.array([[2.0, -1.0], [0.5, 1.0], [0.0, 3.0], [1.0, 0.0]])
        >>> found = scores(logits, np.array([0, 0, 1, 1]))
        >>> list(found), found["accuracy"]
        (['accuracy', 'macro_f1', 'nll'], 0.5)
    """
    main = float(row_scores(prediction, target).mean())
    nll = {"nll": float(row_nll(prediction, target).mean())}
    match kind_of(target):
        case "classes":
            return {"accuracy": main, "macro_f1": macro_f1(prediction.argmax(-1), target)} | nll
        case "labels":
            return {"accuracy": main, "macro_f1": _label_f1(prediction > 0, target == 1)} | nll
    errors = np.square(prediction.astype(np.float64) - target).mean(axis=0) ** 0.5 * deviation
    return {"r2": main, "rmse": float(errors.mean())} | nll


def majority_scores(train: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """The scores of always predicting the most frequent class, or value of each label, in training.

    Empty for numbers: the R2 of their mean is 0 by definition.

    Args:
        train: target of the training rows.
        target: of the rows.

    Returns:
        {"majority_accuracy" and "majority_macro_f1": score}.
    """
    match kind_of(target):
        case "numbers":
            return {}
        case "classes":
            said = np.full_like(target, np.bincount(train).argmax())
            score = macro_f1(said, target)
        case "labels":
            said = np.broadcast_to(train.mean(axis=0) > 0.5, target.shape)
            score = _label_f1(said, target == 1)
    return {"majority_accuracy": float((said == target).mean()), "majority_macro_f1": score}


def macro_f1(predicted: np.ndarray, target: np.ndarray) -> float:
    """The F1 score (harmonic mean of precision and recall), averaged over classes that occur.

    Example:
        >>> macro_f1(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1])) < 0.5  # accuracy is 0.75
        True
    """
    classes = np.union1d(predicted, target)[:, None]
    return _mean_f1((predicted == classes).T, (target == classes).T)


def _label_f1(predicted: np.ndarray, target: np.ndarray) -> float:
    """Likewise over the labels [rows, labels] that occur; 1 where none does."""
    occur = (predicted | target).any(axis=0)
    return _mean_f1(predicted[:, occur], target[:, occur]) if occur.any() else 1.0


def _mean_f1(predicted: np.ndarray, target: np.ndarray) -> float:
    hits = (predicted & target).sum(axis=0)
    return float((2 * hits / (predicted.sum(axis=0) + target.sum(axis=0))).mean())


def answers(prediction: np.ndarray, kind: Kind) -> np.ndarray:
    """Predictions [..., out_dim] as probabilities of classes or labels, or as the numbers."""
    match kind:
        case "classes":
            return softmax(prediction, axis=-1)
        case "labels":
            return expit(prediction)
    return prediction


def main_score(target: np.ndarray) -> str:
    """The name of a target's main score, "accuracy" or "r2"."""
    return "r2" if kind_of(target) == "numbers" else "accuracy"


def find_score(row: Mapping[str, Any], prefix: str = "") -> str:
    """The key of a row's main score; that of classes if the row has none."""
    names = (f"{prefix}{name}" for name in MAIN_SCORES)
    return next((name for name in names if name in row), f"{prefix}accuracy")
