"""Turns what an ablation varies and drops into its factors, levels and variants."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from mmjax.comparison.ablation import DESIGNS, KEPT, REMOVED, Ablation
from mmjax.comparison.arm import Arm, StrategyLike, as_variant
from mmjax.comparison.designs import aliases, make_points
from mmjax.comparison.factors import (
    REMOVE,
    Named,
    Variant,
    components,
    current,
    is_shared,
    read_value,
    word,
)
from mmjax.data.task import Task
from mmjax.errors import UsageError, look_up

_LONGEST = 200  # bytes of a name, from which names of files are made


class Factor(NamedTuple):
    """What an ablation varies.

    Attributes:
        name: as ``comparison.factors`` lists it, or the component that is removed.
        changes: one mapping per level of what it changes of the base; that of the reference first.
        words: what the levels are called.
        now: the value of the base.
    """

    name: str
    changes: tuple[Mapping[str, Any], ...]
    words: tuple[str, ...]
    now: Any = None

    @property
    def removes(self) -> bool:
        """Whether it removes a component."""
        return self.words == (KEPT, REMOVED)


def make_ablation(
    task: Task,
    strategy: StrategyLike,
    base: Arm,
    vary: Mapping[str, Sequence[Any] | Mapping[str, Any]],
    drop: Sequence[str] = (),
    design: str = "one-at-a-time",
    runs: int | None = None,
) -> tuple[Ablation, dict[str, Variant]]:
    """The variants of a base: what an ablation trains.

    Args:
        task: the data.
        strategy: the base.
        base: its arm.
        vary: {factor: its values, or {name: value}}.
        drop: components to remove; ``modalities`` stands for each modality, and ``components`` for
            all that the fusion and the encoders declare.
        design: one of ``DESIGNS``.
        runs: number of variants of a fractional design.

    Returns:
        the ablation, and {name: variant}.

    Raises:
        UnknownNameError: there is no such factor, component or design.
        UsageError: a value cannot be read, or values of a factor are alike.

    Example:
        >>> from mmjax.comparison.arm import make_arm
        >>> from mmjax.tasks import load_task
        >>> task = load_task("synthetic", options={"size": "60"})
        >>> ablation, variants = make_ablation(
        ...     task, "gmu", make_arm(task, "gmu"), {"width": [32, 64]}, ["dropout"]
        ... )
        >>> [*variants]
        ['gmu', 'gmu:width=32', 'gmu:-dropout']
    """
    look_up("design", design, dict.fromkeys(DESIGNS))
    if not isinstance(vary, Mapping):
        raise UsageError("vary", expected="{factor: its values}", got=f"{vary!r:.80}")
    own = design in ("one-at-a-time", "leave-one-out")
    factors = [_varied(base, name, values, own) for name, values in vary.items()]
    factors += [_dropped(name) for name in _components(base, drop)]
    if not factors:
        problem = "nothing is varied or dropped"
        raise UsageError("vary", problem, fix="Name a factor, such as width=32,64.")
    removes = [factor.removes for factor in factors]
    found = make_points([len(f.words) for f in factors], design, removes=removes, runs=runs)
    root = as_variant(task, strategy)

    def variant(point: Sequence[int]) -> Variant:
        changes: dict[str, Any] = dict(root.changes)
        for factor, level in zip(factors, point, strict=True):
            changes |= factor.changes[level]
        if design != "one-at-a-time":  # what another fusion or method would bring by default
            follow = [
                f for f in factors if not f.removes and _follows(f.name, changes, root.changes)
            ]
            changes |= {f.name: f.now for f in follow if f.name not in changes}
        return replace(root, changes=changes)

    variants = {(made := variant(point)).name: made for point in found}
    if len(variants) < len(found):
        raise UsageError("vary", "two variants have the same name")
    names = list(variants)
    if wrong := [name for name in names if "/" in name or len(name.encode()) > _LONGEST]:
        fix = "Name the values, as in vary={'optimizer': {'sgd': ...}}."
        raise UsageError("vary", f"{wrong[0]:.80} cannot name a file", fix=fix)
    words = {factor.name: factor.words for factor in factors}
    points = dict(zip(names, map(tuple, found), strict=True))
    sizes = [len(levels) for levels in words.values()]
    notes = tuple(aliases(found, list(words), sizes)) if design == "fractional" else ()
    return Ablation(names[0], design, words, points, notes=notes), variants


def _varied(base: Arm, name: str, values: Any, own: bool) -> Factor:
    """A factor, with the base's value first if it is listed, ``own``, or needed for a second."""
    now = current(base.recipe, base.task, base.changes, name)
    if isinstance(values, Mapping):
        read = [Named(key, value) for key, value in values.items()]
    else:
        if isinstance(values, Set):
            raise UsageError(f"vary {name}", expected="a list of values", got="a set")
        values = values.tolist() if isinstance(values, np.ndarray) else values
        listed = values if isinstance(values, (list, tuple, range)) else [values]
        if name == "modalities" and [*listed] == ["subsets"]:
            listed = _subsets(base.task.modalities)
        if [*listed] == ["tried"] and name.startswith("method."):
            field = name.removeprefix("method.")
            listed = look_up(f"vary {name}=tried", field, base.recipe.method.tried)
        read = [read_value(name, value, now) for value in listed]
    levels = {word(name, value): {name: value} for value in read}
    if len(levels) < len(read):
        got = ", ".join(word(name, value) for value in read)
        raise UsageError(f"vary {name}", expected="each value once", got=got)
    usual = word(name, now)
    if own or usual in levels or len(levels) == 1:
        levels = {usual: {}, **{key: change for key, change in levels.items() if key != usual}}
    if len(levels) < 2:
        expected = f"a value other than that of the base, {usual}"
        raise UsageError(f"vary {name}", expected=expected, got=usual)
    return Factor(name, tuple(levels.values()), tuple(levels), now)


def _follows(name: str, changes: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
    """Whether the value of a factor depends on the member that a variant has in place of another's.

    A fusion brings fields and an objective of its own; an encoder and a method bring fields.
    """
    parent, dot, _ = name.rpartition(".")
    if not dot:
        parent = "fusion" if name == "objective" or not is_shared(name) else ""
    return bool(parent) and changes.get(parent) is not base.get(parent)


def _subsets(names: Sequence[str]) -> list[str]:
    """All subsets of some modalities but the empty one, the largest first."""
    sizes = range(len(names), 0, -1)
    return ["+".join(some) for size in sizes for some in combinations(names, size)]


def _dropped(name: str) -> Factor:
    return Factor(name, ({}, {f"{REMOVE}{name}": True}), (KEPT, REMOVED))


def _components(base: Arm, drop: Sequence[str]) -> list[str]:
    """The components that are named, or stood for by ``modalities`` or ``components``."""
    declared, modalities = components(base.recipe), base.task.modalities
    found: list[str] = []
    for name in drop:
        if name == "modalities":
            found += modalities if len(modalities) > 1 else ()
        elif name == "components":
            found += declared
        else:
            look_up("component", name, dict.fromkeys(["dropout", *declared, *modalities]))
            found.append(name)
    return list(dict.fromkeys(found))
