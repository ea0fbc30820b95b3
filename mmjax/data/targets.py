"""Targets: what is to be predicted, and how well it was.

The type and the shape of a target say what it is:

=========  ============================  ==========================  ============================
kind       array                         prediction [rows, out_dim]  score of a row
=========  ============================  ==========================  ============================
"classes"  integers [rows]               logits                      1 if the class is right
"labels"   integers [rows, out_dim],     logits of presence          share of labels that are
           0 or 1                                                    right
"numbers"  float32 [rows, out_dim]       the numbers                 mean over the numbers of
                                                                     1 - error^2 / variance
=========  ============================  ==========================  ============================

The mean over rows of the score is the accuracy of classes and of labels, and the coefficient of
determination R2 of numbers, the variance being that of the rows that are scored.
"""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np
from scipy.special import expit, log_softmax, softmax

UNLABELLED = -1

Kind = Literal["classes", "labels", "numbers"]


MAIN_SCORES = {"accuracy": "accuracy", "r2": "R2"}
"""{name of a main score, by which choices are made: what sentences call it}."""

SECOND_SCORES = {"accuracy": "macro_f1", "r2": "rmse"}
"""{name of a main score: the one beside it in tables}."""


def kind_of(target: np.ndarray | jax.Array) -> Kind:
    """What a target is."""
    if np.issubdtype(target.dtype, np.floating):
        return "numbers"
    return "classes" if target.ndim == 1 else "labels"


def is_labelled(target: np.ndarray) -> bool:
    """Whether the rows have targets: not all are ``UNLABELLED``, or NaN."""
    missing = np.isnan(target) if kind_of(target) == "numbers" else target == UNLABELLED
    return not missing.all()


def row_scores(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The score of each row, [..., rows]; one is best.

    Args:
        prediction: [..., rows, out_dim].
        target: of the rows.
    """
    match kind_of(target):
        case "classes":
            return (prediction.argmax(axis=-1) == target).astype(np.float64)
        case "labels":
            return ((prediction > 0) == target).mean(axis=-1)
    squares = np.square(prediction.astype(np.float64) - target)
    variance = target.var(axis=0, dtype=np.float64)
    varies = variance > 0  # what does not is told right or wrong, as scikit-learn has it
    shares = np.where(varies, squares / np.where(varies, variance, 1), squares > 0)
    return 1 - shares.mean(axis=-1)


def row_nll(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of each row in nats, [..., rows].

    Labels are independent; numbers are normal with variance one, up to the constant: half the
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
    """The scores of some rows: the main one first, and the mean of ``row_nll``.

    Classes and labels have ``accuracy`` and ``macro_f1``, numbers ``r2`` and ``rmse``, a mean over
    the numbers of the root of their mean squared error.

    Args:
        prediction: [rows, out_dim].
        target: of the rows.
        deviation: of numbers before they were standardised, [out_dim]: ``rmse`` is in their units.
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
    """The scores of the answer that is most frequent in training, given for every row.

    Of labels, each has its own. Empty for numbers: the R2 of their mean is 0 by definition.

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
    """Mean over the classes that occur of the harmonic mean of precision and recall."""
    classes = np.union1d(predicted, target)[:, None]
    return _mean_f1((predicted == classes).T, (target == classes).T)


def _label_f1(predicted: np.ndarray, target: np.ndarray) -> float:
    """The same over the labels [rows, labels] that occur; one where none does."""
    occur = (predicted | target).any(axis=0)
    return _mean_f1(predicted[:, occur], target[:, occur]) if occur.any() else 1.0


def _mean_f1(predicted: np.ndarray, target: np.ndarray) -> float:
    hits = (predicted & target).sum(axis=0)
    return float((2 * hits / (predicted.sum(axis=0) + target.sum(axis=0))).mean())


def answers(prediction: np.ndarray, kind: Kind) -> np.ndarray:
    """What a prediction [..., out_dim] says: probabilities of classes or labels, or the numbers."""
    match kind:
        case "classes":
            return softmax(prediction, axis=-1)
        case "labels":
            return expit(prediction)
    return prediction


def main_score(target: np.ndarray) -> str:
    """The name of the main score of a kind of target."""
    return "r2" if kind_of(target) == "numbers" else "accuracy"


def find_score(row: Mapping[str, Any], prefix: str = "") -> str:
    """The key of a row under which its main score is; that of classes where it has none."""
    names = (f"{prefix}{name}" for name in MAIN_SCORES)
    return next((name for name in names if name in row), f"{prefix}accuracy")
