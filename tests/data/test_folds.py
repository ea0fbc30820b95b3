"""Cross-validation: who is tested when, and what the training rows alone decide."""

import numpy as np
import pytest
from small import CODINGS, make_coded_task, make_task

import mmjax
from mmjax.data.folds import fold_task
from mmjax.errors import UsageError
from mmjax.tasks.synthetic import synthetic


def own(rows=90, kind="classes", group=None, **options):
    rng = np.random.default_rng(0)
    inputs = {"a": 5 * rng.normal(size=(rows, 3)) + 7, "b": rng.normal(size=(rows, 4, 2))}
    target = np.arange(rows) % 3 if kind == "classes" else 100 + 9 * rng.normal(size=(rows, 2))
    ids = {"row": np.arange(rows)}
    return mmjax.Task.from_arrays(inputs, target, kind=kind, group=group, meta=ids, **options)


@pytest.mark.parametrize("rows", [90, 97])
def test_every_row_is_tested_once_per_repeat_by_models_that_have_not_seen_it(rows):
    task = fold_task(own(rows), folds=4, repeats=2)
    assert [(f.repeat, f.index) for f in task.folds] == [(r, i) for r in (0, 1) for i in range(4)]
    for repeat in (0, 1):
        tested = np.concatenate([fold.rows["test"] for fold in task.folds if fold.repeat == repeat])
        np.testing.assert_array_equal(np.sort(tested), np.arange(rows))
    for fold in task.folds:
        parts = [split.meta["row"] for split in fold.task.splits.values()]
        assert len(set(np.concatenate(parts))) == rows == sum(map(len, parts))
        np.testing.assert_array_equal(task.test.meta["row"][fold.rows["test"]], parts[2])
        np.testing.assert_array_equal(task.test.target[fold.rows["test"]], fold.task.test.target)
        counts = np.bincount(fold.task.test.target)
        assert counts.max() - counts.min() <= 1  # stratified
    assert len({fold.task.train.size for fold in task.folds}) == 1
    first, second = ([set(f.rows["test"]) for f in task.folds if f.repeat == r] for r in (0, 1))
    assert first != second


def test_groups_stay_together():
    group = np.repeat(np.arange(30), 3)
    group[:9] = 0  # one is larger
    task = fold_task(own(group=group), folds=5)
    for fold in task.folds:
        parts = [set(split.group) for split in fold.task.splits.values()]
        assert sum(map(len, parts)) == len(set.union(*parts))
        assert 10 <= len(fold.rows["test"]) <= 30


def test_training_rows_alone_decide_the_scale():
    whole = own()
    pool = np.concatenate([split.inputs["a"] for split in whole.splits.values()])
    names = np.concatenate([split.meta["row"] for split in whole.splits.values()])
    place = {name: index for index, name in enumerate(names)}
    for fold in fold_task(whole, folds=3).folds:
        parts = {
            role: pool[[place[name] for name in split.meta["row"]]]
            for role, split in fold.task.splits.items()
        }
        mean, deviation = parts["train"].mean(axis=0), parts["train"].std(axis=0)
        want = (parts["test"] - mean) / deviation
        np.testing.assert_allclose(fold.task.test.inputs["a"], want, rtol=1e-4, atol=1e-5)
        assert fold.task.input_scales == {}  # so that one program serves all folds


def test_numbers_have_their_own_units_in_every_fold():
    whole = own(kind="numbers")
    task = fold_task(whole, folds=3)
    values = {
        name: tuple(row)
        for split in whole.splits.values()
        for name, row in zip(split.meta["row"], whole.restore(split.target), strict=True)
    }
    for fold in task.folds:
        got = fold.task.restore(fold.task.test.target)
        want = [values[name] for name in fold.task.test.meta["row"]]
        np.testing.assert_allclose(got, want, rtol=1e-5)
        np.testing.assert_allclose(fold.task.train.target.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(
        task.restore(task.test.target)[task.folds[0].rows["test"]],
        task.folds[0].task.restore(task.folds[0].task.test.target),
        rtol=1e-5,
    )


def test_rows_that_lack_a_modality_stay_so():
    task = fold_task(make_task(), folds=3)
    absent = sum((~fold.task.test.present["vector"]).sum() for fold in task.folds)
    assert absent == (~make_task().train.present["vector"]).sum()
    assert task.only("vector").folds[0].task.modalities == ("vector",)


def test_codes_stay_as_they_are_and_numbers_of_a_table_are_standardised():
    whole = make_coded_task()
    join = lambda name: np.concatenate([split.inputs[name] for split in whole.splits.values()])
    notes, cells = join("note"), join("who")
    task = fold_task(whole, folds=3)
    np.testing.assert_array_equal(task.test.inputs["note"], notes)
    for fold in task.folds:
        got, rows = fold.task.test.inputs, fold.rows["test"]
        np.testing.assert_array_equal(got["note"], notes[rows])
        np.testing.assert_array_equal(got["who"][:, 1], cells[rows, 1])
        np.testing.assert_array_equal(np.isnan(got["who"]), np.isnan(cells[rows]))
        train = fold.task.train
        seen = train.inputs["who"][train.present["who"]]
        np.testing.assert_allclose(np.nanmean(seen[:, ::2], axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(np.nanstd(seen[:, ::2], axis=0), 1, atol=1e-5)
        assert fold.task.input_scales == {}
        assert fold.task.codings == CODINGS
    assert {*task.only("who").folds[0].task.codings} == {"who"}


def test_unlabelled_rows_are_left_out():
    split = np.repeat(["train", "valid", "test"], [60, 15, 15])
    target = np.where(split == "test", -1, np.arange(90) % 3)
    rng = np.random.default_rng(0)
    task = mmjax.Task.from_arrays(
        {"a": rng.normal(size=(90, 3))}, target, split=split, kind="classes"
    )
    assert fold_task(task, folds=3).test.size == 75


def test_impossible_folds_are_refused():
    for numbers in ({"folds": 1}, {"folds": 61}, {"folds": 2, "repeats": 0}):
        with pytest.raises(UsageError, match="expected from"):
            fold_task(synthetic(size=60), **numbers)
    with pytest.raises(UsageError, match="folds: expected at least 2"):
        mmjax.compare(synthetic(size=60), ["sum"], folds=1)
    with pytest.raises(UsageError, match="folds: expected at least 2"):
        mmjax.compare(synthetic(size=60), ["sum"], repeats=2)


def test_hidden_modalities_do_not_decide_how_others_are_standardised():
    task = fold_task(own(), folds=3, missing={"a": 0.5})
    for fold in task.folds:
        train = fold.task.train
        assert 0.2 < train.present["a"].mean() < 0.8
        assert fold.task.test.present["a"].all()
        seen = train.inputs["a"][train.present["a"]]
        np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(seen.std(axis=0), 1, rtol=1e-4)


def test_other_dealings_are_other_data():
    task = own()
    digests = {fold_task(task, folds=3, repeats=repeats).digest() for repeats in (1, 2, 3)}
    assert len(digests) == 3
