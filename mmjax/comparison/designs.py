"""Designs of ablations: which combinations of levels are trained."""

from collections.abc import Sequence
from functools import reduce
from itertools import combinations, product
from math import prod

import numpy as np

from mmjax.comparison.hadamard import hadamard
from mmjax.errors import UsageError

Point = tuple[int, ...]
"""The index of the level of each factor; 0 is that of the base."""

_STARTS = 20
_ALIASES = 6  # effects that are mixed with others: more are counted, not listed


def make_points(
    levels: Sequence[int], design: str, *, removes: Sequence[bool] = (), runs: int | None = None
) -> list[Point]:
    """The combinations that a design trains, all different, the reference first.

    Args:
        levels: number of levels of each factor, at least two.
        design: ``one-at-a-time``, ``grid``, ``leave-one-out`` or ``fractional``.
        removes: for each factor, whether it removes a component, whose full level is 0; that of
            other factors is their last.
        runs: the most combinations of a fractional design, of which a two-level one trains a
            multiple of 4; by default the fewest that it can have, and where factors have more
            levels one and a half times the number of parameters.

    Raises:
        UsageError: a fractional design has a single factor, or too few runs for the effects.

    Example:
        >>> make_points([3, 2], "one-at-a-time")
        [(0, 0), (1, 0), (2, 0), (0, 1)]
        >>> make_points([3, 2], "leave-one-out", removes=[False, True])
        [(2, 0), (0, 0), (2, 1)]
        >>> len(make_points([2] * 7, "fractional")), len(make_points([2] * 7, "grid"))
        (8, 128)
    """
    if runs is not None and design != "fractional":
        raise UsageError("runs", f"a design {design} has a number of its own")
    base = (0,) * len(levels)
    if design == "one-at-a-time":
        return [base, *(_put(base, i, k) for i, n in enumerate(levels) for k in range(1, n))]
    if design == "grid":
        return list(product(*map(range, levels)))
    if design == "leave-one-out":
        removed = removes or [False] * len(levels)
        full = tuple(0 if gone else n - 1 for n, gone in zip(levels, removed, strict=True))
        less = (_put(full, i, int(gone)) for i, gone in enumerate(removed))
        return [full, *less]
    if len(levels) < 2:
        raise UsageError("design", "a fractional design needs at least two factors")
    return _fractional(levels, runs)


def _put(point: Point, place: int, level: int) -> Point:
    return (*point[:place], level, *point[place + 1 :])


def _fractional(levels: Sequence[int], runs: int | None) -> list[Point]:
    """Plackett and Burman's design where it exists in that size, a D-optimal one elsewhere."""
    whole, needed = prod(levels), 1 + sum(levels) - len(levels)
    if runs is not None and runs < needed:
        expected = f"at least {needed}, the number of effects and one"
        raise UsageError("runs", expected=expected, got=str(runs))
    wanted = min(whole, runs or -(-3 * needed // 2))
    fewest = 4 * -(-needed // 4)
    sizes = [wanted // 4 * 4] if runs else [fewest, fewest + 4]  # one of two neighbours exists
    sizes = [size for size in sizes if needed <= size < whole and max(levels) == 2]
    for points in (_two_level(len(levels), size) for size in sizes):
        if points:
            return points
    return make_points(levels, "grid") if wanted == whole else _d_optimal(levels, wanted)


def _two_level(factors: int, size: int) -> list[Point]:
    """A design of Plackett and Burman with the base, or none."""
    signs = hadamard(size)
    if signs is None:
        return []
    signs = signs[:, 1 : factors + 1]
    points = dict.fromkeys(map(tuple, ((1 - signs * signs[0]) // 2).tolist()))
    # Of a size that is far larger than needed, columns may be chosen that repeat themselves.
    return list(points) if len(points) == size else []


def model_matrix(points: Sequence[Point], levels: Sequence[int]) -> np.ndarray:
    """[points, effects] of an intercept and main effects, whose levels sum to zero.

    Example:
        >>> model_matrix([(0, 0), (1, 1), (2, 1)], [3, 2]).tolist()
        [[1.0, -1.0, -1.0, -1.0], [1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 1.0]]
    """
    return np.hstack([*model_columns(points, levels, order=1).values()])


def model_columns(
    points: Sequence[Point], levels: Sequence[int], order: int
) -> dict[tuple[int, ...], np.ndarray]:
    """{factors: [points, columns]} of the intercept, ``()``, and effects of factors.

    Effects are those of single factors, and of up to ``order`` of them together.

    Example:
        >>> columns = model_columns([(0, 0), (1, 1), (2, 1)], [3, 2], order=2)
        >>> list(columns), columns[0, 1].tolist()
        ([(), (0,), (1,), (0, 1)], [[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    """
    index = np.array(points)
    coded = [code(n)[index[:, i]] for i, n in enumerate(levels)]
    sets = [some for size in range(order + 1) for some in combinations(range(len(levels)), size)]
    return {some: multiply([np.ones((len(index), 1)), *(coded[i] for i in some)]) for some in sets}


def multiply(parts: Sequence[np.ndarray]) -> np.ndarray:
    """[points, columns] of the products of a column of each part, which are [points, ...].

    Example:
        >>> multiply([np.array([[1, 2]]), np.array([[3, 4]])]).tolist()
        [[3, 4, 6, 8]]
    """
    both = lambda one, other: np.einsum("pa,pb->pab", one, other).reshape(len(one), -1)
    return reduce(both, parts)


def code(levels: int) -> np.ndarray:
    """[levels, levels - 1] numbers that stand for the levels of a factor, and sum to zero.

    Example:
        >>> code(3).tolist()
        [[-1.0, -1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    return np.vstack([-np.ones(levels - 1), np.eye(levels - 1)])


def _d_optimal(levels: Sequence[int], runs: int) -> list[Point]:
    """The points, the base among them, whose main effects have the least generalised variance.

    The best of several random starts, each improved by coordinate exchange.
    """
    rng = np.random.default_rng(0)
    base = (0,) * len(levels)
    found: list[list[Point]] = []
    for _ in range(_STARTS):
        points = [base]
        while len(points) < runs:
            drawn = tuple(int(rng.integers(n)) for n in levels)
            points += [drawn] if drawn not in points else []
        found.append(_exchange(points, levels))
    best = max(found, key=lambda points: _log_det(points, levels))
    if not np.isfinite(_log_det(best, levels)):
        raise UsageError("runs", f"no {runs} variants give the effects of all factors")
    return [base, *sorted(best[1:])]


def _exchange(points: Sequence[Point], levels: Sequence[int]) -> list[Point]:
    """Changes that level of a point that helps most, for all but the first, until none helps.

    Reference: Meyer and Nachtsheim, The Coordinate-Exchange Algorithm for Constructing Exact
    Optimal Experimental Designs (Technometrics 37, 1995).
    """
    points, improved = list(points), True
    matrix = model_matrix(points, levels)
    inverse = _invert(matrix)
    while improved:
        improved = False
        for row in range(1, len(points)):
            others = [
                other
                for place, size in enumerate(levels)
                for level in range(size)
                if (other := _put(points[row], place, level)) not in points
            ]
            if not others:
                continue
            new, old = model_matrix(others, levels), matrix[row]
            gained = 1 + np.einsum("oe,oe->o", new @ inverse, new)
            ratio = gained * (1 - old @ inverse @ old) + np.square(new @ inverse @ old)
            if ratio.max() > 1 + 1e-6:  # the determinant's, by the matrix determinant lemma
                points[row], matrix[row] = others[ratio.argmax()], new[ratio.argmax()]
                inverse, improved = _invert(matrix), True
    return points


def _invert(matrix: np.ndarray) -> np.ndarray:
    """The inverse of the information, of which singular designs have a little, too."""
    return np.linalg.inv(matrix.T @ matrix + 1e-6 * np.eye(matrix.shape[1]))


def _log_det(points: Sequence[Point], levels: Sequence[int]) -> float:
    matrix = model_matrix(points, levels)
    sign, value = np.linalg.slogdet(matrix.T @ matrix)
    return float(value) if sign > 0 else -np.inf


def aliases(points: Sequence[Point], names: Sequence[str], levels: Sequence[int]) -> list[str]:
    """Sentences on the interactions that main effects of a design are mixed with.

    An effect is mixed with an interaction to the degree to which one would be taken for the other
    by least squares.

    Example:
        >>> points = make_points([2, 2, 2], "fractional")
        >>> print(aliases(points, ["a", "b", "c"], [2, 2, 2])[0])
        The effect of a is mixed with b x c.
    """
    inverse = np.linalg.pinv(model_matrix(points, levels))
    starts = np.cumsum([1, *(n - 1 for n in levels)])
    columns = model_columns(points, levels, order=2)
    found: dict[str, list[tuple[str, float]]] = {}
    for one, other in combinations(range(len(levels)), 2):
        mixed = np.abs(inverse @ columns[one, other])
        for place, name in enumerate(names):
            share = mixed[starts[place] : starts[place + 1]].max()
            if place not in (one, other) and share > 0.01:
                pair = f"{names[one]} x {names[other]}"
                found.setdefault(name, []).append((pair, float(share)))
    mixed_up = [name for name in names if name in found]
    return [_tell(name, found[name]) for name in mixed_up[:_ALIASES]] + (
        [f"So are those of {len(found) - _ALIASES} more factors."] if len(found) > _ALIASES else []
    )


def _tell(name: str, pairs: Sequence[tuple[str, float]]) -> str:
    largest = max(share for _, share in pairs)
    of_each = "" if largest > 0.99 else f", each at most {largest:.2f} of it"
    if len(pairs) > 3:
        return f"The effect of {name} is mixed with {len(pairs)} interactions{of_each}."
    return f"The effect of {name} is mixed with {' and '.join(p for p, _ in pairs)}{of_each}."
