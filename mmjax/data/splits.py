"""Splitting rows into training, validation and test."""

import numpy as np

from mmjax.errors import DataError, UsageError, tell

ROLES = ("train", "valid", "test")
SYNONYMS = {"validation": "valid", "val": "valid", "dev": "valid"}
SHARES = {"test": 0.2, "valid": 0.2}
"""Fraction of all groups in test, and of the remaining groups in validation."""
_FAR = 0.05  # a split whose share of rows is off by more is reported


def make_rng(seed: int) -> np.random.Generator:
    """A NumPy generator.

    Raises:
        UsageError: ``seed`` is not a non-negative integer.

    Example:
        >>> make_rng(0).integers(10, size=3).tolist()
        [8, 6, 5]
    """
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise UsageError("seed", expected="a non-negative integer", got=repr(seed))
    return np.random.default_rng(seed)


def deal(group: np.ndarray, strata: np.ndarray, seed: int) -> np.ndarray:
    """The role of each row, "train", "valid" or "test"; the rows of a group stay together.

    Groups of equal size are sorted by the stratum of their first row, in random order within it;
    then every k-th is taken from a random start, which gives each stratum its share: systematic
    sampling (Madow and Madow, Annals of Mathematical Statistics 15, 1944). Groups of unequal sizes
    are dealt out one by one, large ones first and in random order among similar ones, each to the
    role that is furthest below its share of rows. With three groups or more, no role is empty.

    Args:
        group: [rows].
        strata: [rows] integers, such as classes.
        seed: of the order and of the start.

    Example:
        >>> role = deal(np.arange(50), strata=np.repeat([0, 1], 25), seed=0)
        >>> {name: int((role == name).sum()) for name in ROLES}
        {'train': 32, 'valid': 8, 'test': 10}
    """
    role = _deal(group, strata, seed)
    has = {name: float((role == name).mean()) for name in _WANTED}
    if max(abs(has[name] - want) for name, want in _WANTED.items()) > _FAR:
        shares = ", ".join(f"{share:.0%} {name}" for name, share in has.items())
        tell(f"split: groups are so few or unequal that rows are {shares}; override by split=...")
    return role


def _deal(group: np.ndarray, strata: np.ndarray, seed: int) -> np.ndarray:
    rng = make_rng(seed)
    _, first, index, size = np.unique(
        group, return_index=True, return_inverse=True, return_counts=True
    )
    chance = rng.random(len(size))
    if size.min() == size.max():
        return _take_systematically(np.lexsort((chance, strata[first])), rng)[index]
    doublings = np.frexp(size)[1]  # so that the order is random among similar sizes
    order, share = np.lexsort((chance, -doublings)), np.array([*_WANTED.values()])
    return np.array([*_WANTED])[_fill_up(order, size, strata[first], share)][index]


def _take_systematically(left: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The role of each group, given their order."""
    role = np.full(len(left), "train")
    for name, share in SHARES.items():
        if len(left) > 1:
            share = max(share, 1 / len(left))
        steps = np.floor(np.arange(len(left) + 1) * share + rng.random())
        taken = steps[1:] > steps[:-1]
        role[left[taken]] = name
        left = left[~taken]
    return role


_WANTED = {
    "train": (1 - SHARES["test"]) * (1 - SHARES["valid"]),
    "valid": (1 - SHARES["test"]) * SHARES["valid"],
    "test": SHARES["test"],
}
"""Fraction of all rows in each role."""


def _fill_up(
    order: np.ndarray, size: np.ndarray, strata: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """The part of each group, so that each part gets its share of all rows and of each stratum.

    A group goes where it minimises the sum of squared differences from the wanted numbers of rows,
    each divided by that number, as in the apportionment of seats by Webster and Sainte-Lague.

    Args:
        order: of the groups.
        size: [groups].
        strata: [groups].
        share: [parts].
    """
    stratum = np.unique(strata, return_inverse=True)[1]
    lacks = share * size.sum()
    lacks_of = np.outer(share, np.bincount(stratum, weights=size))
    chosen, taken = np.full(len(size), -1), np.zeros(len(share), bool)
    for count, group in enumerate(order):
        rows, part = size[group], stratum[group]
        cost = rows * (rows - lacks - lacks_of[:, part]) / share
        if len(order) - count <= (~taken).sum():  # the empty ones need all remaining groups
            cost[taken] = np.inf
        best = int(cost.argmin())
        chosen[group], taken[best] = best, True
        lacks[best] -= rows
        lacks_of[best, part] -= rows
    return chosen


def deal_folds(group: np.ndarray, strata: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each row, dealt like the roles of ``deal``: of like size and alike in strata.

    Args:
        group: [rows]; at least as many groups as folds.
        strata: [rows] integers, such as classes.
        folds: number of folds.
        seed: of the order.

    Example:
        >>> fold = deal_folds(np.arange(50), np.repeat([0, 1], 25), folds=5, seed=0)
        >>> np.bincount(fold).tolist(), np.bincount(fold[:25]).tolist()
        ([10, 10, 10, 10, 10], [5, 5, 5, 5, 5])
    """
    rng = make_rng(seed)
    _, first, index, size = np.unique(
        group, return_index=True, return_inverse=True, return_counts=True
    )
    chance = rng.random(len(size))
    if size.min() == size.max():
        chosen = np.empty(len(size), int)
        chosen[np.lexsort((chance, strata[first]))] = np.arange(len(size)) % folds
        return chosen[index]
    doublings = np.frexp(size)[1]
    order, share = np.lexsort((chance, -doublings)), np.full(folds, 1 / folds)
    return _fill_up(order, size, strata[first], share)[index]


def as_roles(split: np.ndarray, size: int) -> np.ndarray:
    """The role of each row, with synonyms such as "val" resolved.

    Raises:
        DataError: a name is not in ``ROLES`` or ``SYNONYMS``, or there is not one per row.

    Example:
        >>> as_roles(np.array(["train", "val", "test"]), size=3).tolist()
        ['train', 'valid', 'test']
    """
    role = np.array([SYNONYMS.get(str(name), str(name)) for name in np.ravel(split)])
    if split.shape != (size,) or not set(role) <= set(ROLES):
        got = ", ".join(sorted(set(role))[:8]) if split.shape == (size,) else str(split.shape)
        raise DataError("split", expected=f"one of {', '.join(ROLES)} for each row", got=got)
    return role


def complete_roles(
    role: np.ndarray, group: np.ndarray, strata: np.ndarray, seed: int
) -> np.ndarray:
    """The given roles; if none is "valid", a part of the training rows becomes it by ``deal``.

    Example:
        >>> role, rows = np.array(["train"] * 8 + ["test"] * 2), np.arange(10)
        >>> sorted({*complete_roles(role, rows, rows % 2, seed=0).tolist()})
        ['test', 'train', 'valid']
    """
    train = np.flatnonzero(role == "train")
    if "valid" in role or len(train) == 0:
        return role
    dealt = train[_deal(group[train], strata[train], seed) == "valid"]
    tell(f"split: no validation rows given; took {len(dealt)} of {len(train)} training rows")
    role = role.copy()
    role[dealt] = "valid"
    return role


def check_roles(role: np.ndarray, group: np.ndarray) -> None:
    """Raises DataError if a role has no rows, or two roles share a group.

    Args:
        role: [rows] of ``ROLES``.
        group: [rows] as given, for the error to name.

    Example:
        >>> check_roles(np.array(["train", "valid", "test"]), group=np.arange(3))
    """
    there = np.unique(role)
    if len(there) < len(ROLES):
        expected = f"rows for each of {', '.join(ROLES)}"
        fix = "Give rows for all three, or more groups to split."
        raise DataError("split", expected=expected, got=f"only {', '.join(there)}", fix=fix)
    pairs = np.unique(np.stack([group.astype(str), role]), axis=1)
    names, counts = np.unique(pairs[0], return_counts=True)
    if counts.max() > 1:
        parted = names[counts.argmax()]
        got = f"group {parted} in {', '.join(pairs[1][pairs[0] == parted])}"
        fix = "Omit split; or, to keep it, give the group's rows a different name in each split."
        raise DataError("group", expected="each group in one split", got=got, fix=fix)
