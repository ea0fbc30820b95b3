"""Which rows go to training, validation and test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax.errors import DataError, UsageError
from mmjax.splits import ROLES, SHARES, deal
from mmjax.task import Task


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=60),
    st.integers(0, 5),
)
def test_deal_keeps_groups_whole_and_shares_near(rows, seed):
    target, group = np.array(rows).T
    role = deal(group, np.minimum(target, 1), seed)
    assert set(role) <= set(ROLES)
    for one in np.unique(group):
        assert len(set(role[group == one])) == 1
    count = len(np.unique(group))
    roles = [role[group == one][0] for one in np.unique(group)]
    assert abs(roles.count("test") - 0.2 * count) <= 1
    assert abs(roles.count("valid") - 0.16 * count) <= 1.2


def test_every_group_has_the_same_chance():
    """Whatever its class, and wherever it stands."""
    strata, draws = np.repeat(np.arange(5), 4), 600
    dealt = np.array([deal(np.arange(20), strata, seed) for seed in range(draws)])
    share = {"test": SHARES["test"], "valid": (1 - SHARES["test"]) * SHARES["valid"]}
    for role, chance in share.items():
        often = (dealt == role).mean(axis=0)
        error = np.sqrt(chance * (1 - chance) / draws)
        np.testing.assert_allclose(often, chance, atol=4.5 * error)


@given(st.integers(3, 12), st.integers(0, 50))
def test_of_three_groups_no_role_goes_without(count, seed):
    assert set(deal(np.arange(count), np.zeros(count, int), seed)) == set(ROLES)


def make(**given):
    return Task.from_arrays({"a": np.arange(60.0)}, np.arange(60) % 2, **given)


def test_too_few_groups_for_three_splits_are_refused():
    with pytest.raises(DataError, match=r"got \w+ alone. Give rows of all three"):
        make(group=np.zeros(60, int))


def test_a_given_split_may_not_part_a_group():
    split = np.array((["train"] * 3 + ["valid", "test"]) * 12)
    with pytest.raises(DataError, match=r"rows of one group in one split, got group p.* in test, "):
        make(split=split, group=[f"p{index // 4}" for index in range(60)])
    task = make(split=split, group=[f"{part} {index // 4}" for index, part in enumerate(split)])
    assert task.train.size == 36


def test_other_names_of_the_splits_are_known():
    names = (["train"] * 3 + ["validation", "val", "dev", "test"]) * 8
    task = make(split=[*names, "train", "train", "train", "valid"])
    assert [part.size for part in task.splits.values()] == [27, 25, 8]


@pytest.mark.parametrize("seed", [-1, 1.5, "a"])
def test_a_seed_is_an_integer_from_zero(seed):
    with pytest.raises(UsageError, match="seed: expected an integer from 0"):
        make(seed=seed)
