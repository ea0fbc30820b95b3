"""Which rows are for training, validation and test."""

import numpy as np

from mmjax.errors import DataError, UsageError

ROLES = ("train", "valid", "test")
SYNONYMS = {"validation": "valid", "val": "valid", "dev": "valid"}
SHARES = {"test": 0.2, "valid": 0.2}
"""Of all groups in test; of the others in validation."""


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

    Groups are sorted by the stratum of their first row and at random within it; then every so
    manyth is taken, from a random start, which gives each stratum its share: systematic sampling
    (Madow and Madow, Annals of Mathematical Statistics 15, 1944). No role lacks a group where there
    are three.

    Args:
        group: [rows].
        strata: [rows] integers, such as classes.
        seed: of the order, and of the start.
    """
    rng = make_rng(seed)
    groups, first, index = np.unique(group, return_index=True, return_inverse=True)
    left = np.lexsort((rng.random(len(groups)), strata[first]))
    role = np.full(len(groups), "train")
    for name, share in SHARES.items():
        if len(left) > 1:
            share = max(share, 1 / len(left))
        steps = np.floor(np.arange(len(left) + 1) * share + rng.random())
        taken = steps[1:] > steps[:-1]
        role[left[taken]] = name
        left = left[~taken]
    return role[index]


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
