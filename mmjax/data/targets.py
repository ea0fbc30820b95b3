"""Targets, and the likelihood of predictions.

The type and the shape of a target determine its kind:

=========  ==================================  ===========================
kind       array                               prediction [rows, out_dim]
=========  ==================================  ===========================
"classes"  integers [rows]                     logits
"labels"   integers [rows, out_dim], 0 or 1    logits of presence
"numbers"  float32 [rows, out_dim]             the numbers
=========  ==================================  ===========================
"""

from typing import Literal

import jax
import numpy as np
from scipy.special import expit, log_softmax, softmax

UNLABELLED = -1

Kind = Literal["classes", "labels", "numbers"]


def counted(count: int, kind: Kind) -> str:
    """How many classes, labels or numbers, in words.

    Example:
        >>> counted(10, "classes"), counted(1, "classes"), counted(1, "numbers")
        ('10 classes', '1 class', '1 number')
    """
    one = {"classes": "class", "labels": "label", "numbers": "number"}
    return f"{count} {one[kind] if count == 1 else kind}"


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
    """Whether any row has a target, that is, not all are ``UNLABELLED`` or NaN.

    Example:
        >>> is_labelled(np.array([UNLABELLED, 2])), is_labelled(np.array([UNLABELLED]))
        (True, False)
    """
    missing = np.isnan(target) if kind_of(target) == "numbers" else target == UNLABELLED
    return not missing.all()


def row_nll(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of each row in nats, [..., rows].

    Labels are independent. Numbers are normal with unit variance, up to the constant: half the
    squared error.

    Args:
        prediction: [..., rows, out_dim].
        target: of the rows.

    Example:
        >>> row_nll(np.zeros((1, 4)), np.array([2])).round(3).tolist()  # log 4
        [1.386]
    """
    prediction = prediction.astype(np.float64)
    match kind_of(target):
        case "classes":
            return -log_softmax(prediction, axis=-1)[..., np.arange(len(target)), target]
        case "labels":
            return (np.logaddexp(0, prediction) - prediction * target).sum(axis=-1)
    return np.square(prediction - target).sum(axis=-1) / 2


def answers(prediction: np.ndarray, kind: Kind) -> np.ndarray:
    """Predictions [..., out_dim] as probabilities of classes or labels, or as the numbers.

    Example:
        >>> answers(np.zeros((1, 4)), "classes").tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """
    match kind:
        case "classes":
            return softmax(prediction, axis=-1)
        case "labels":
            return expit(prediction)
    return prediction
