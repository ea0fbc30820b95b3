"""Designs of ablations: which combinations of levels are trained."""

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np

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
        runs: number of combinations of a fractional design; by default the fewest of a two-level
            design, and one and a half times the number of parameters elsewhere.

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
    whole, needed = int(np.prod(levels)), 1 + sum(levels) - len(levels)
    if runs is not None and runs < needed:
        expected = f"at least {needed}, the number of effects and one"
        raise UsageError("runs", expected=expected, got=str(runs))
    if max(levels) == 2:
        size = 4 * -(-max(needed, runs // 4 * 4 if runs else 0) // 4)
        if size < whole and (signs := hadamard(size)) is not None:
            signs = signs[:, 1 : len(levels) + 1]
            return _unique(((1 - signs * signs[0]) // 2).tolist())
    wanted = runs or -(-3 * needed // 2)
    return make_points(levels, "grid") if wanted >= whole else _d_optimal(levels, wanted)


def _unique(rows: Sequence[Sequence[int]]) -> list[Point]:
    return list(dict.fromkeys(map(tuple, rows)))


def hadamard(size: int) -> np.ndarray | None:
    """A matrix of 1 and -1 with orthogonal columns, the first constant; None if none is known here.

    Its other columns are a two-level design for as many factors (Plackett and Burman, Biometrika
    33, 1946). It is built by Sylvester's doubling and Paley's two constructions (Journal of
    Mathematics and Physics 12, 1933), from quadratic residues of a prime, which give every multiple
    of 4 up to 88 but 52 and 76 and 36 among those without a construction over a prime power.

    Example:
        >>> matrix = hadamard(12)
        >>> bool((matrix.T @ matrix == 12 * np.eye(12)).all())
        True
    """
    if size in (1, 2):
        return np.array([[1, 1], [1, -1]])[:size, :size]
    if size % 4:
        return None
    if _is_prime(size - 1):
        found = _paley(size - 1)
    elif (half := hadamard(size // 2)) is not None:
        found = np.block([[half, half], [half, -half]])
    elif _is_prime(size // 2 - 1):
        found = _paley_two(size // 2 - 1)
    else:
        return None
    return found * found[:, :1]


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % k for k in range(2, int(number**0.5) + 1))


def _residues(prime: int) -> np.ndarray:
    """The quadratic character of the differences of all pairs modulo a prime."""
    squares = {k * k % prime for k in range(1, prime)}
    character = np.array([0, *(1 if k in squares else -1 for k in range(1, prime))])
    index = np.arange(prime)
    return character[(index[:, None] - index) % prime]


def _paley(prime: int) -> np.ndarray:
    skew = np.zeros((prime + 1, prime + 1), int)
    skew[0, 1:], skew[1:, 0] = 1, -1
    skew[1:, 1:] = _residues(prime)
    return skew + np.eye(prime + 1, dtype=int)


def _paley_two(prime: int) -> np.ndarray:
    core = np.ones((prime + 1, prime + 1), int)
    core[0, 0], core[1:, 1:] = 0, _residues(prime)
    plus, on = np.array([[1, 1], [1, -1]]), np.array([[1, -1], [-1, -1]])
    return np.kron(core, plus) + np.kron(np.eye(prime + 1, dtype=int), on)


def model_matrix(points: Sequence[Point], levels: Sequence[int]) -> np.ndarray:
    """[points, effects] of an intercept and main effects, whose levels sum to zero.

    Example:
        >>> model_matrix([(0, 0), (1, 1), (2, 1)], [3, 2]).tolist()
        [[1.0, -1.0, -1.0, -1.0], [1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 1.0]]
    """
    index = np.array(points)
    blocks = [code(n)[index[:, i]] for i, n in enumerate(levels)]
    return np.hstack([np.ones((len(index), 1)), *blocks])


def code(levels: int) -> np.ndarray:
    """[levels, levels - 1] numbers that stand for the levels of a factor, and sum to zero.

    Example:
        >>> code(3).tolist()
        [[-1.0, -1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    return np.vstack([-np.ones(levels - 1), np.eye(levels - 1)])


def _d_optimal(levels: Sequence[int], runs: int) -> list[Point]:
    """The points, the base among them, whose main effects have the least generalised variance.

    Points are exchanged one by one for others of the grid while the determinant grows, from several
    random starts (Fedorov, Theory of Optimal Experiments, 1972; Meyer and Nachtsheim, Technometrics
    37, 1995, for its coordinates one at a time).
    """
    rng = np.random.default_rng(0)
    best: tuple[float, list[Point]] = (-np.inf, [])
    for _ in range(_STARTS):
        points = [(0,) * len(levels)]
        while len(points) < runs:
            drawn = tuple(int(rng.integers(n)) for n in levels)
            points += [drawn] if drawn not in points else []
        value, improved = _log_det(points, levels), True
        while improved:
            improved = False
            for row, place in product(range(1, runs), range(len(levels))):
                for level in range(levels[place]):
                    other = _put(points[row], place, level)
                    if other in points:
                        continue
                    changed = [*points[:row], other, *points[row + 1 :]]
                    if (new := _log_det(changed, levels)) > value + 1e-9:
                        points, value, improved = changed, new, True
        best = max(best, (value, points), key=lambda found: found[0])
    if not np.isfinite(best[0]):
        raise UsageError("runs", f"no {runs} variants give the effects of all factors")
    return [best[1][0], *sorted(best[1][1:])]


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
    main = model_matrix(points, levels)
    starts = np.cumsum([1, *(n - 1 for n in levels)])
    found: dict[str, list[tuple[str, float]]] = {}
    for one, other in combinations(range(len(levels)), 2):
        blocks = [main[:, starts[i] : starts[i + 1]] for i in (one, other)]
        both = np.einsum("pi,pj->pij", *blocks).reshape(len(points), -1)
        mixed = np.abs(np.linalg.pinv(main) @ both)
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
