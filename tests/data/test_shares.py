"""Shares of training rows: nested, stratified, whole groups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax.data.shares import take_share
from mmjax.data.task import Task
from mmjax.errors import UsageError


def make_task(group=None, classes=4, size=240):
    rng = np.random.default_rng(0)
    return Task.from_arrays(
        {"x": rng.normal(size=(size, 2))}, np.arange(size) % classes, group=group
    )


@given(st.floats(0.05, 1), st.floats(0.05, 1))
def test_a_smaller_share_is_part_of_a_larger_one(one, other):
    task = make_task()
    small, large = (take_share(task, share).train.group for share in sorted((one, other)))
    assert set(small) <= set(large)


@pytest.mark.parametrize("share", [0.1, 0.33, 0.5, 0.9])
def test_classes_keep_their_shares(share):
    task = make_task()
    rows = take_share(task, share).train
    assert abs(rows.size - share * task.train.size) <= 1
    counts = np.bincount(rows.target)
    assert counts.max() - counts.min() <= 1


def test_groups_stay_whole_and_other_splits_the_same():
    task = make_task(group=np.arange(240) // 6)
    part = take_share(task, 0.4)
    for group in np.unique(part.train.group):
        assert (part.train.group == group).sum() == (task.train.group == group).sum()
    assert (part.test, part.valid) == (task.test, task.valid)
    assert take_share(task, 1.0) is task


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(UsageError, match="train: expected a share above 0"):
        take_share(make_task(), share)
