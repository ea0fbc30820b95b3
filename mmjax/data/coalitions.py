"""Sets of players, such as the modalities present, and what each player adds to them."""

from collections.abc import Collection, Iterable, Mapping
from itertools import combinations
from math import comb
from typing import Any

from mmjax.errors import UsageError


def subsets(players: Iterable[str]) -> list[tuple[str, ...]]:
    """Every subset, the smallest first, sorted."""
    ordered = sorted(players)
    return [s for size in range(len(ordered) + 1) for s in combinations(ordered, size)]


def shapley(
    values: Mapping[frozenset[str], Any],
    players: Collection[str] | None = None,
    where: str = "values",
) -> dict[str, Any]:
    """The mean gain from adding a player, over all orders in which players can join.

    The gains add up to the value of all players minus that of none; players that add the same get
    the same, and one that adds nothing gets nothing. Reference: Shapley, A Value for n-Person
    Games (Contributions to the Theory of Games II, 1953).

    Args:
        values: {subset of the players: its value}, a number or an array such as [seeds].
        players: all of them; None for those that the subsets have.
        where: what has the values, for the error.

    Returns:
        {player: gain}, in the shape and the unit of the values.

    Raises:
        UsageError: a subset has no value; the empty one and the whole need theirs too.
    """
    names = sorted(frozenset().union(*values) if players is None else players)
    every = [frozenset(subset) for subset in subsets(names)]
    for subset in every:
        if subset not in values:
            raise UsageError(
                where,
                expected=f"a value of every subset of {', '.join(names) or 'the players'}",
                got=f"none of {'+'.join(sorted(subset)) or 'the empty subset'}",
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
