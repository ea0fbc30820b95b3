"""A task that exists is sound: every fault has one error that names the array."""

from dataclasses import replace

import numpy as np
import pytest
from small import make_split, make_task

from mmjax.errors import DataError, UnknownNameError
from mmjax.task import UNLABELLED, Raw


def broken(**changes):
    """A task whose training split has other arrays."""
    task = make_task()
    return replace(task, train=replace(task.train, **changes))


def with_input(name, values):
    task = make_task()
    return broken(inputs={**task.train.inputs, name: values})


TRAIN = make_task().train
FAULTS = {
    "unequal lengths": lambda: with_input("vector", TRAIN.inputs["vector"][:-1]),
    "another shape": lambda: with_input("vector", TRAIN.inputs["vector"][:, :-1]),
    "float64": lambda: with_input("vector", TRAIN.inputs["vector"].astype(np.float64)),
    "objects": lambda: with_input("vector", TRAIN.inputs["vector"].astype(object)),
    "rank 4": lambda: with_input("vector", np.zeros((96, 2, 2, 2, 2), np.float32)),
    "NaN": lambda: with_input("sequence", np.full_like(TRAIN.inputs["sequence"], np.nan)),
    "infinity": lambda: with_input("sequence", np.full_like(TRAIN.inputs["sequence"], np.inf)),
    "label -1": lambda: broken(target=np.where(np.arange(96) == 5, -1, TRAIN.target)),
    "label too large": lambda: broken(target=TRAIN.target + 1),
    "unlabelled training": lambda: broken(target=np.full(96, UNLABELLED)),
    "float labels": lambda: broken(target=TRAIN.target.astype(np.float32)),
    "labels of two dimensions": lambda: broken(target=TRAIN.target[:, None]),
    "groups of another length": lambda: broken(group=TRAIN.group[:-1]),
    "a class missing": lambda: broken(target=np.zeros(96, int)),
    "no rows": lambda: replace(make_task(), valid=make_split(30, 0).take(np.arange(0))),
    "no modality": lambda: broken(inputs={}),
    "other modalities": lambda: broken(inputs={"vector": TRAIN.inputs["vector"]}),
    "present is not bool": lambda: broken(present={"vector": np.ones(96)}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_task_is_refused_by_name(fault):
    with pytest.raises(DataError, match=r"task 'small', (train|valid).*expected .*got "):
        FAULTS[fault]()


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
    raw = Raw(np.zeros((7, 50), np.float32), np.arange(task.test.size) % 7, np.abs)
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
