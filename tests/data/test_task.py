"""Tasks and their splits. tests/tasks/test_bad_inputs.py has the faults that a task refuses."""

from dataclasses import replace

import numpy as np
import pytest
from small import make_split, make_task

from mmjax.data.targets import UNLABELLED
from mmjax.data.task import RawSignal
from mmjax.errors import UnknownNameError


def test_absent_modalities_may_hold_anything():
    assert np.isnan(make_task().train.inputs["vector"]).any()


def test_a_test_split_may_be_unlabelled():
    task = make_task()
    unlabelled = replace(task.test, target=np.full(task.test.size, UNLABELLED))
    assert not replace(task, test=unlabelled).test.labelled


def test_only_keeps_the_rows_and_drops_modalities():
    task = make_task()
    part = task.only("vector")
    assert part.modalities == ("vector",)
    assert part.shapes == {"vector": (5,)}
    np.testing.assert_array_equal(part.train.present["vector"], task.train.present["vector"])
    np.testing.assert_array_equal(part.test.target, task.test.target)


def test_take_selects_the_same_rows_everywhere():
    split = make_split(20, 0)
    rows = np.array([3, 1, 7])
    part = split.take(rows)
    assert part.size == 3
    np.testing.assert_array_equal(part.inputs["image"], split.inputs["image"][rows])
    np.testing.assert_array_equal(part.group, split.group[rows])
    assert part.present["image"].all()


def test_raw_recordings_follow_the_rows_and_the_modalities():
    task = make_task()
    raw = RawSignal(np.zeros((7, 50), np.float32), np.arange(task.test.size) % 7, np.abs)
    heard = replace(task, test=replace(task.test, raw={"sequence": raw}))
    assert heard.test.take(np.array([8, 2])).raw["sequence"].index.tolist() == [1, 2]
    assert heard.only("sequence", "vector").test.raw["sequence"] is raw
    assert not heard.only("vector").test.raw
    assert heard.digest() == task.digest()


@pytest.mark.parametrize("where", ["inputs", "present", "target", "group", "test"])
def test_the_digest_covers_every_array(where):
    task, other = make_task(), make_task()
    assert task.digest() == other.digest()
    if where == "inputs":
        other.train.inputs["image"][0, 0, 0, 0] += 1
    elif where == "present":
        other.train.present["sequence"][0] = False
    elif where == "test":
        other.test.target[0] += 1
    else:
        getattr(other.train, where)[0] += 1
    assert task.digest() != other.digest()


def test_an_unknown_name_proposes_the_nearest():
    error = UnknownNameError("fusion", "concta", ["concat", "sum"])
    assert "Did you mean 'concat'?" in str(error)
    assert str(error).startswith("fusion: expected one of concat, sum, got 'concta'")
