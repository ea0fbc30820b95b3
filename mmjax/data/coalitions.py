"""Coalitions of players, such as the modalities present, and what each player contributes."""

from collections.abc import Collection, Iterable, Mapping
from itertools import combinations
from math import comb
from typing import Any

from mmjax.errors import UsageError


def subsets(players: Iterable[str]) -> list[tuple[str, ...]]:
    """Every subset, sorted by size, then by name.

    Example:
        >>> subsets(["text", "audio"])
        [(), ('audio',), ('text',), ('audio', 'text')]
    """
    ordered = sorted(players)
    return [s for size in range(len(ordered) + 1) for s in combinations(ordered, size)]


def shapley(
    values: Mapping[frozenset[str], Any],
    players: Collection[str] | None = None,
    where: str = "values",
) -> dict[str, Any]:
    """The Shapley value: the mean gain from adding a player, over all orders of joining.

    The gains add up to the value of all players minus that of none; interchangeable players get
    the same, and one that never changes a value gets zero. Reference: Shapley, A Value for n-Person
    Games (Contributions to the Theory of Games II, 1953).

    Args:
        values: {subset of the players: its value}, a number or an array such as [seeds].
        players: all players; by default those in the subsets.
        where: what holds the values, for the error.

    Returns:
        {player: gain}, in the shape and the unit of the values.

    Raises:
        UsageError: a subset has no value; the empty set and the full set need one, too.

    Example:
        >>> alone = {frozenset(): 0.5, frozenset("a"): 0.75, frozenset("b"): 0.5}
        >>> shapley({**alone, frozenset("ab"): 1.0})
        {'a': 0.375, 'b': 0.125}
    """
    names = sorted(frozenset().union(*values) if players is None else players)
    every = [frozenset(subset) for subset in subsets(names)]
    for subset in every:
        if subset not in values:
            raise UsageError(
                where,
                expected=f"a value for every subset of {', '.join(names) or 'the players'}",
                got=f"none for {'+'.join(sorted(subset)) or 'the empty subset'}",
            )
    weight = lambda subset: 1 / (len(names) * comb(len(names) - 1, len(subset)))
    return {
        name: sum(
            weight(subset) * (values[subset | {name}] - values[subset])
            for subset in every
            if name not in subset
        )
        for name in names
    }
