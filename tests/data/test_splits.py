"""Which rows go to training, validation and test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax.data.splits import ROLES, SHARES, deal
from mmjax.data.task import Task
from mmjax.errors import DataError, UsageError


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 3), st.integers(0, 5))
def test_deal_keeps_groups_of_one_size_whole_and_shares_near(target, size, seed):
    group, count = np.repeat(np.arange(len(target)), size), len(target)
    role = deal(group, np.repeat(target, size), seed)
    assert set(role) <= set(ROLES)
    roles = role[::size].tolist()
    np.testing.assert_array_equal(role, np.repeat(roles, size))
    assert abs(roles.count("test") - 0.2 * count) <= 1
    assert abs(roles.count("valid") - 0.16 * count) <= 1.2


WANTED = {"train": 0.64, "valid": 0.16, "test": 0.2}


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40)), min_size=3, max_size=40),
    st.integers(0, 5),
)
def test_groups_of_several_sizes_are_dealt_so_that_rows_are(groups, seed):
    """As near as the sizes allow, and the same each time."""
    strata, sizes = np.array(groups).T
    group = np.repeat(np.arange(len(sizes)), sizes)
    role = deal(group, np.repeat(strata, sizes), seed)
    np.testing.assert_array_equal(role, deal(group, np.repeat(strata, sizes), seed))
    assert set(role) == set(ROLES)
    for one in np.unique(group):
        assert len(set(role[group == one])) == 1
    if sizes.min() < sizes.max():
        for name, share in WANTED.items():
            assert abs((role == name).sum() - share * len(role)) <= 1.5 * sizes.max()


def test_one_large_group_does_not_upset_the_shares():
    sizes = np.array([100, *[5] * 40])
    for seed in range(20):
        role = deal(np.repeat(np.arange(41), sizes), np.zeros(300, int), seed)
        for name, share in WANTED.items():
            assert abs((role == name).mean() - share) < 0.03


def test_strata_have_their_shares_of_groups_of_several_sizes():
    sizes, strata = 3 + np.arange(90) % 5, np.arange(90) // 30
    group, stratum = np.repeat(np.arange(90), sizes), np.repeat(strata, sizes)
    role = deal(group, stratum, 0)
    for one in range(3):
        assert abs((role[stratum == one] == "test").mean() - 0.2) < 0.06


def test_seeds_differ_in_how_groups_of_several_sizes_are_dealt():
    group = np.repeat(np.arange(30), 30 + np.arange(30))
    dealt = {deal(group, np.zeros(len(group), int), seed).tobytes() for seed in range(9)}
    assert len(dealt) == 9


def test_shares_that_cannot_be_kept_are_told(capsys):
    deal(np.repeat([0, 1, 2], [50, 30, 20]), np.zeros(100, int), 0)
    assert "that rows are 50% train, " in capsys.readouterr().err
    deal(np.arange(100), np.zeros(100, int), 0)
    assert not capsys.readouterr().err


def test_dealings_of_groups_of_one_size_stay_what_they_were():
    """Published results rest on them."""
    drawn = "".join(name[1] for name in deal(np.repeat(np.arange(15), 2), np.arange(30) // 10, 7))
    assert drawn == "eerrrraarrrrrrrreeaaeerrrraarr"


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
    with pytest.raises(DataError, match=r"got only \w+. Give rows for all three"):
        make(group=np.zeros(60, int))


def test_a_given_split_may_not_part_a_group():
    split = np.array((["train"] * 3 + ["valid", "test"]) * 12)
    with pytest.raises(DataError, match=r"each group in one split, got group p.* in test, "):
        make(split=split, group=[f"p{index // 4}" for index in range(60)])
    task = make(split=split, group=[f"{part} {index // 4}" for index, part in enumerate(split)])
    assert task.train.size == 36


def test_other_names_of_the_splits_are_known():
    names = (["train"] * 3 + ["validation", "val", "dev", "test"]) * 8
    task = make(split=[*names, "train", "train", "train", "valid"])
    assert [part.size for part in task.splits.values()] == [27, 25, 8]


@pytest.mark.parametrize("seed", [-1, 1.5, "a"])
def test_a_seed_is_an_integer_from_zero(seed):
    with pytest.raises(UsageError, match="seed: expected a non-negative integer"):
        make(seed=seed)
