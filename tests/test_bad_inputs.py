"""Whatever is wrong with an input, it is told in one clear line: no traceback, no hang."""

from dataclasses import replace

import numpy as np
import pytest
from bad_inputs import BAD, FOLDERS, KINDS, check_good, outcome, try_mutations
from small import make_split, make_task

from mmjax.arms import make_arm
from mmjax.errors import UsageError
from mmjax.fit import fit
from mmjax.recipe import make_model
from mmjax.scoring import score
from mmjax.task import Split, Task

CASES = [pytest.param(bad, id=f"{bad.kind}: {bad.name}") for bad in BAD]


@pytest.mark.parametrize("bad", CASES)
def test_a_bad_input_is_one_clear_error(bad, tmp_path):
    if bad.kind in KINDS:
        check_good(bad.kind)
    named = "task" if bad.kind == "task" else ""
    assert outcome(bad.run, tmp_path, named) == "clear_error"


def test_the_catalogue_is_as_large_as_it_should_be():
    count = lambda kind: sum(bad.kind == kind for bad in BAD)
    assert count("wav") >= 20
    assert all(count(kind) for kind in (*KINDS, "task"))
    assert len({(bad.kind, bad.name) for bad in BAD}) == len(BAD)


@pytest.mark.parametrize(("kind", "times"), [(k, 5 if k in FOLDERS else 50) for k in KINDS])
def test_spoilt_files_are_read_or_refused(kind, times, tmp_path):
    """benchmarks/bad_inputs.py does this for longer."""
    for came, which in try_mutations(kind, times, 0, tmp_path):
        assert came in ("clear_error", "accepted"), which


def one_row_splits():
    """Two rows to train on, one to validate and one to test."""
    part = lambda seed, rows: make_split(30, seed).take(rows)
    train = make_split(30, 0)
    both = np.array([np.argmax(train.target == label) for label in range(2)])
    other = lambda seed: part(seed, np.flatnonzero(make_split(30, seed).target < 2)[:1])
    return Task("few", train.take(both), other(1), other(2), out_dim=2)


def constant(split: Split) -> Split:
    inputs = {name: np.full_like(values, 7) for name, values in split.inputs.items()}
    return replace(split, inputs=inputs, present={})


def absent(split: Split) -> Split:
    return replace(split, present={"vector": np.zeros(split.size, bool)})


def bytes_only(split: Split) -> Split:
    vector = np.clip(np.nan_to_num(split.inputs["vector"]) * 20 + 100, 0, 255).astype(np.uint8)
    return replace(split, inputs={**split.inputs, "vector": vector}, present={})


def everywhere(change, task):
    return replace(task, **{role: change(split) for role, split in task.splits.items()})


ODD = {
    "one row to validate and test, and fewer to train on than a batch has": one_row_splits,
    "features that never change": lambda: everywhere(constant, make_task()),
    "a modality that is never there": lambda: everywhere(absent, make_task()),
    "vectors of bytes": lambda: everywhere(bytes_only, make_task()),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_tasks_train_all_the_same(case):
    task = ODD[case]().only("sequence", "vector")
    arm = make_arm(task, "concat", {"sequence": "raw"}, steps=2, seeds=(0,))
    scored = score(arm, fit(arm.recipe, task))
    assert np.isfinite(scored.predictions["test"]).all()
    assert {row["split"] for row in scored.rows} == {"valid", "test"}
    assert all(np.isfinite(row["nll"]) for row in scored.rows)


def test_the_mean_of_a_modality_that_is_never_there_is_refused():
    task = everywhere(absent, make_task())
    with pytest.raises(UsageError, match=r"absent: expected .* got no training row with vector"):
        make_model(task, "concat", absent="mean")
