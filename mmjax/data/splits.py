"""Which rows are for training, validation and test."""

import numpy as np

from mmjax.errors import DataError, UsageError, tell

ROLES = ("train", "valid", "test")
SYNONYMS = {"validation": "valid", "val": "valid", "dev": "valid"}
SHARES = {"test": 0.2, "valid": 0.2}
"""Of all groups in test; of the others in validation."""
_FAR = 0.05  # from the share of rows that a split is to have: this is told


def make_rng(seed: int) -> np.random.Generator:
    """A NumPy generator.

    Raises:
        UsageError: ``seed`` is not an integer from 0.
    """
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise UsageError("seed", expected="an integer from 0", got=repr(seed))
    return np.random.default_rng(seed)


def deal(group: np.ndarray, strata: np.ndarray, seed: int) -> np.ndarray:
    """The role of each row, "train", "valid" or "test"; a group's rows stay together.

    Groups of one size are sorted by the stratum of their first row and at random within it; then
    every so manyth is taken, from a random start, which gives each stratum its share: systematic
    sampling (Madow and Madow, Annals of Mathematical Statistics 15, 1944). Groups of several sizes
    are dealt out one by one, large ones first and at random among those alike, each to the role
    that lacks most of its share of rows. No role lacks a group where there are three.

    Args:
        group: [rows].
        strata: [rows] integers, such as classes.
        seed: of the order, and of the start.
    """
    role = _deal(group, strata, seed)
    has = {name: float((role == name).mean()) for name in _WANTED}
    if max(abs(has[name] - want) for name, want in _WANTED.items()) > _FAR:
        shares = ", ".join(f"{share:.0%} {name}" for name, share in has.items())
        tell(
            f"split: groups are so few or unequal that rows are {shares}; split=... says otherwise"
        )
    return role


def _deal(group: np.ndarray, strata: np.ndarray, seed: int) -> np.ndarray:
    rng = make_rng(seed)
    _, first, index, size = np.unique(
        group, return_index=True, return_inverse=True, return_counts=True
    )
    chance = rng.random(len(size))
    if size.min() == size.max():
        return _take_systematically(np.lexsort((chance, strata[first])), rng)[index]
    doublings = np.frexp(size)[1]  # so that chance has a say among sizes that are alike
    return _fill_up(np.lexsort((chance, -doublings)), size, strata[first])[index]


def _take_systematically(left: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The role of each group; ``left`` is their order."""
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
"""Of all rows in each role."""


def _fill_up(order: np.ndarray, size: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """The role of each group, so that of all rows, and of each stratum, all have their share.

    A group goes where it leaves the least sum of squared differences from what was wanted, each
    divided by it: seats are apportioned so by the method of Webster and Sainte-Lague.

    Args:
        order: of the groups.
        size: [groups].
        strata: [groups].
    """
    share = np.array([*_WANTED.values()])
    stratum = np.unique(strata, return_inverse=True)[1]
    lacks = share * size.sum()
    lacks_of = np.outer(share, np.bincount(stratum, weights=size))
    chosen, taken = np.full(len(size), -1), np.zeros(len(share), bool)
    for count, group in enumerate(order):
        rows, part = size[group], stratum[group]
        cost = rows * (rows - lacks - lacks_of[:, part]) / share
        if len(order) - count <= (~taken).sum():  # those that are left are needed for them
            cost[taken] = np.inf
        role = int(cost.argmin())
        chosen[group], taken[role] = role, True
        lacks[role] -= rows
        lacks_of[role, part] -= rows
    return np.array([*_WANTED])[chosen]


def as_roles(split: np.ndarray, size: int) -> np.ndarray:
    """The role of each row by what people call it.

    Raises:
        DataError: one is none of ``ROLES`` or ``SYNONYMS``, or there is not one for each row.
    """
    role = np.array([SYNONYMS.get(str(name), str(name)) for name in np.ravel(split)])
    if split.shape != (size,) or not set(role) <= set(ROLES):
        got = ", ".join(sorted(set(role))[:8]) if split.shape == (size,) else str(split.shape)
        raise DataError("split", expected=f"one of {', '.join(ROLES)} for each row", got=got)
    return role


def complete_roles(
    role: np.ndarray, group: np.ndarray, strata: np.ndarray, seed: int
) -> np.ndarray:
    """The given roles; where none is for validation, a part of training is, as ``deal`` has it."""
    train = np.flatnonzero(role == "train")
    if "valid" in role or len(train) == 0:
        return role
    dealt = train[_deal(group[train], strata[train], seed) == "valid"]
    tell(f"split: no rows for validation; {len(dealt)} of {len(train)} for training become it")
    role = role.copy()
    role[dealt] = "valid"
    return role


def check_roles(role: np.ndarray, group: np.ndarray) -> None:
    """Raises DataError where a role has no row, or two have rows of one group.

    Args:
        role: [rows] of ``ROLES``.
        group: [rows] as it was given, for the error to name.
    """
    there = np.unique(role)
    if len(there) < len(ROLES):
        expected = f"rows of {', '.join(ROLES)}"
        fix = "Give rows of all three, or more groups to be dealt out."
        raise DataError("split", expected=expected, got=f"{', '.join(there)} alone", fix=fix)
    pairs = np.unique(np.stack([group.astype(str), role]), axis=1)
    names, counts = np.unique(pairs[0], return_counts=True)
    if counts.max() > 1:
        parted = names[counts.argmax()]
        got = f"group {parted} in {', '.join(pairs[1][pairs[0] == parted])}"
        fix = "Leave out the split; if it must stay, name the group's parts differently in each."
        raise DataError("group", expected="rows of one group in one split", got=got, fix=fix)
