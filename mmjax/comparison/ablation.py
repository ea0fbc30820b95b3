"""What an ablation varies: the factors, their levels, and the variants that are trained."""

from collections.abc import Mapping
from itertools import chain
from typing import Any, NamedTuple

DESIGNS = ("one-at-a-time", "grid", "leave-one-out", "fractional")
"""Which variants of a base are trained; see ``designs.make_points``."""


class Ablation(NamedTuple):
    """The variants of a base, and what was varied to make them.

    Attributes:
        base: the strategy that all variants are compared with.
        design: one of ``DESIGNS``.
        factors: {name of what was varied: its levels in words, that of the base first}. A component
            that was removed is a factor with the levels ``kept`` and ``removed``.
        points: {strategy: the index of its level of each factor}, the base first.
        rates: {strategy: names under which it was trained with other learning rates}; empty if
            every variant has that of the base.
        notes: sentences on what the design cannot tell apart.

    Example:
        >>> points = {"gmu": (0, 0), "gmu:width=32": (1, 0), "gmu:-gate": (0, 1)}
        >>> factors = {"width": ("64", "32"), "gate": ("kept", "removed")}
        >>> Ablation("gmu", "one-at-a-time", factors, points).label("gmu:width=32")
        'width=32'
    """

    base: str
    design: str
    factors: Mapping[str, tuple[str, ...]]
    points: Mapping[str, tuple[int, ...]]
    rates: Mapping[str, tuple[str, ...]] = {}
    notes: tuple[str, ...] = ()

    def label(self, strategy: str) -> str:
        """A variant by what differs from the base; the base by its name."""
        parts, own = [], zip(self.points[strategy], self.points[self.base], strict=True)
        for (name, levels), (index, usual) in zip(self.factors.items(), own, strict=True):
            if index != usual:
                removed = levels == (KEPT, REMOVED)
                parts.append(f"without {name}" if removed else f"{name}={levels[index]}")
        return ", ".join(parts) or self.base


def parse_ablation(content: Any) -> Ablation | None:
    """An ablation from a JSON object, the inverse of ``_asdict``.

    Raises:
        ValueError: a value is invalid.
        TypeError: a value has the wrong type, or a name is unknown.
    """
    if content is None:
        return None
    found = Ablation(**content)
    tuples = lambda values: {name: tuple(one) for name, one in values.items()}
    factors, points, rates = map(tuples, (found.factors, found.points, found.rates))
    made = Ablation(found.base, found.design, factors, points, rates, tuple(found.notes))
    sizes = [len(levels) for levels in factors.values()]
    fits = lambda point: (
        len(point) == len(sizes)
        and all(
            type(index) is int and 0 <= index < size
            for index, size in zip(point, sizes, strict=True)
        )
    )
    words = [*made.notes, *factors, *points, *chain(*factors.values(), *rates.values())]
    if (
        made.design not in DESIGNS
        or made.base not in points
        or not all(map(fits, points.values()))
        or not all(isinstance(one, str) for one in words)
        or not rates.keys() <= points.keys()
    ):
        raise ValueError(f"ablation {content}"[:300])
    return made


KEPT, REMOVED = "kept", "removed"
"""The levels of a component that variants may lack."""
