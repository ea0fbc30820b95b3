"""Weights of classes in the loss."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmjax.data.task import Task
from mmjax.errors import UsageError, look_up
from mmjax.training.recipe import Recipe

BALANCED = "balanced"


def name_class_weights(
    task: Task, given: str | Mapping[Any, float] | Sequence[float] | None
) -> tuple[str, ...]:
    """Class weights as the words that ``make_class_weights`` takes.

    Args:
        task: the data, for the names of its classes.
        given: "balanced", {class: weight}, [classes], or None.

    Raises:
        UsageError: there is not one weight for each class.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> name_class_weights(synthetic(size=100), np.array([1.0, 2.5]))
        ('0=1.0', '1=2.5')
    """
    if given is None:
        return ()
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, Mapping):
        if np.shape(given) != (task.out_dim,):
            expected = f"balanced, or a weight for each of {task.out_dim} classes"
            raise UsageError("class_weights", expected=expected, got=f"{given!r:.80}")
        given = dict(zip(_names(task), given, strict=True))
    return tuple(f"{name}={weight}" for name, weight in given.items())


def make_class_weights(task: Task, given: Sequence[str]) -> tuple[float, ...] | None:
    r"""The weight of each class: [classes], or None if nothing is given.

    ``balanced`` is :math:`\text{rows} / (\text{classes} \cdot \text{rows of the class})` over the
    training rows, whose mean over these rows is 1. Otherwise the weights are CLASS=WEIGHT; a class
    that is not named has weight 1.

    Reference: King and Zeng, Logistic Regression in Rare Events Data (Political Analysis 2001),
    weighting; the numbers are those of scikit-learn's ``compute_class_weight``.

    Raises:
        UnknownNameError: there is no such class.
        UsageError: the targets are not classes, or a weight is not a positive number.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> make_class_weights(synthetic(size=100), ["1=2.5"])
        (1.0, 2.5)
    """
    if not given:
        return None
    _check_kind("class_weights", task)
    if tuple(given) == (BALANCED,):
        counts = np.bincount(task.train.target, minlength=task.out_dim)
        return tuple((task.train.size / (task.out_dim * counts)).tolist())
    weights = dict.fromkeys(_names(task), 1.0)
    for pair in given:
        name, equals, number = pair.rpartition("=")
        if not equals:
            expected = "balanced alone, or CLASS=WEIGHT"
            raise UsageError("class_weights", expected=expected, got=pair)
        look_up("class of class_weights", name, weights)
        weights[name] = _parse(pair, number)
    return tuple(weights.values())


def _names(task: Task) -> tuple[str, ...]:
    return task.names or tuple(map(str, range(task.out_dim)))


def _parse(pair: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise UsageError("class_weights", expected="CLASS=WEIGHT, a positive number", got=pair)
    return weight


def check_balance(recipe: Recipe, task: Task) -> None:
    """Raises UsageError if a recipe weighs or balances classes that the task does not have.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import Recipe, make_model
        >>> task = synthetic(size=100)
        >>> check_balance(Recipe(make_model(task, "sum"), sampling="balanced"), task)
    """
    if recipe.sampling == BALANCED:
        _check_kind("sampling", task)
    if recipe.class_weights is not None:
        _check_kind("class_weights", task)
        if len(recipe.class_weights) != task.out_dim:
            expected = f"{task.out_dim} weights, one for each class"
            got = str(len(recipe.class_weights))
            raise UsageError("class_weights", expected=expected, got=got)


def _check_kind(argument: str, task: Task) -> None:
    if task.kind != "classes":
        raise UsageError(argument, expected="a task of classes", got=f"one of {task.kind}")
