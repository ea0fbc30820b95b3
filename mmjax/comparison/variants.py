"""Variants of an arm: encoders, objectives and methods to compare side by side."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from mmjax.comparison.arm import (
    StrategyLike,
    default_objective,
    modalities_of,
    prescribed_method,
)
from mmjax.comparison.factors import MethodLike, ObjectiveLike, find_method, find_objective
from mmjax.data.task import Task
from mmjax.encoders import default_encoder
from mmjax.errors import UsageError, look_up
from mmjax.registry import ENCODERS, METHODS, OBJECTIVES
from mmjax.training.recipe import EncoderLike, name_member


class Choices(NamedTuple):
    """What arms may differ in, beside their fusion; a list holds alternatives.

    Attributes:
        encoders: {modality: encoder or alternatives}; other modalities have their default.
        objective: the objective, or alternatives; None for that of each fusion's paper.
        method: the training method, or alternatives.
    """

    encoders: Mapping[str, EncoderLike | Sequence[EncoderLike]] = {}
    objective: ObjectiveLike | Sequence[ObjectiveLike] | None = None
    method: MethodLike | Sequence[MethodLike] = "joint"


def variants(
    choices: Choices, task: Task, strategy: StrategyLike
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Names and arguments of ``make_arm`` for each combination of alternatives.

    A combination is named by its alternatives that are not the default. A strategy of one modality
    has the first method only, since methods differ in how they treat several; and so has a fusion
    that prescribes its own.

    Args:
        choices: what to combine.
        task: the data.
        strategy: as in ``make_arm``.

    Raises:
        UnknownNameError: there is no such modality, objective or method.
        UsageError: something is not an objective or a method.

    Example:
        >>> from mmjax.tasks import load_task
        >>> task = load_task("synthetic", options={"size": "60"})
        >>> choices = Choices({"a": ["mlp", "raw"]}, method=["joint", "ogm_ge"])
        >>> [names for names, _ in variants(choices, task, "sum")]
        [(), ('ogm_ge',), ('a=raw',), ('a=raw', 'ogm_ge')]
        >>> [names for names, _ in variants(choices, task, "b_only")]
        [()]
    """
    for name in choices.encoders:
        look_up("modality of an encoder", name, task.shapes)
    used = modalities_of(task, strategy)
    own = {name: as_list(choices.encoders[name]) for name in used if name in choices.encoders}
    methods = as_list(choices.method)
    if len(used) == 1 or prescribed_method(strategy):
        methods = methods[:1]
    options: list[list[tuple[str, Any]]] = []
    for name, alternatives in own.items():
        encoder = default_encoder(task.shapes[name], task.kinds.get(name), task.codings.get(name))
        named = [(f"{name}={name_member(e, ENCODERS)}", e) for e in alternatives]
        options.append(_without_default(named, f"{name}={encoder}"))
    usual = default_objective(strategy)
    asked = as_list(usual if choices.objective is None else choices.objective)
    objectives = [(name_member(o, OBJECTIVES), find_objective(o)) for o in asked]
    options.append(_without_default(objectives, usual))
    made = [find_method(method) for method in methods]
    options.append(_without_default([(name_member(m, METHODS), m) for m in made], "joint"))
    for combination in product(*options):
        names = tuple(name for name, _ in combination if name)
        *encoders, objective, method = (value for _, value in combination)
        given = {"encoders": dict(zip(own, encoders, strict=True))}
        yield names, {**given, "objective": objective, "method": method}


def as_list(value: Any) -> list[Any]:
    """The alternatives in a value, which may be the only one."""
    listed = list(value) if isinstance(value, (list, tuple)) else [value]
    if not listed:
        raise UsageError("compare", expected="at least one alternative", got=repr(value))
    return listed


def _without_default(named: list[tuple[str, Any]], usual: str) -> list[tuple[str, Any]]:
    """Drops the name of the default, and that of the only alternative."""
    if len({name for name, _ in named}) < len(named):
        got = ", ".join(name for name, _ in named)
        raise UsageError("compare", expected="alternatives with different names", got=got)
    return [("" if len(named) == 1 or name == usual else name, value) for name, value in named]
