"""Tasks from arrays as people have them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmjax.task
from mmjax.arms import make_arm
from mmjax.errors import DataError, UsageError
from mmjax.fit import fit
from mmjax.fusion import FUSIONS
from mmjax.own_data import ROLES, deal, encode_target
from mmjax.recipe import make_model, suits
from mmjax.task import Task
from mmjax.tasks.arrays import arrays, save
from mmjax.tasks.tfds import prepare, tfds


def make_inputs(rows=60, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "image": rng.integers(0, 256, (rows, 8, 8, 1)).astype(np.uint8),
        "audio": rng.normal(size=(rows, 7, 3)),
        "sensor": 1000 + 50 * rng.normal(size=(rows, 4)),
    }


def test_text_becomes_classes_with_names():
    target = np.array(["dog", "cat", "bird"] * 20)
    task = Task.from_arrays(make_inputs(), target, name="animals")
    assert (task.name, task.kind, task.out_dim) == ("animals", "classes", 3)
    assert task.names == ("bird", "cat", "dog")
    assert task.shapes == {"audio": (7, 3), "image": (8, 8, 1), "sensor": (4,)}
    assert task.train.inputs["image"].dtype == np.uint8
    assert task.train.inputs["audio"].dtype == np.float32
    sizes = [split.size for split in task.splits.values()]
    assert sum(sizes) == 60
    assert sizes[0] == pytest.approx(38, abs=3)
    for split in task.splits.values():  # each class has its share
        counts = np.bincount(split.target, minlength=3)
        assert counts.max() - counts.min() <= 2


def test_integers_that_are_not_counted_from_zero_are_classes_too():
    task = Task.from_arrays(make_inputs(), np.array([10, 20] * 30))
    assert task.names == ("10", "20")
    assert set(task.train.target) == {0, 1}


def test_many_different_integers_are_refused_as_classes():
    with pytest.raises(DataError, match=r"60 different values in 60 rows.*give them as floats"):
        Task.from_arrays(make_inputs(), np.arange(60))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (np.array(["u", None] * 30, object), "a class for each row, got none in 30 rows"),
        (np.array([1, 2, np.nan] * 20, object), "got none in 20 rows, first in row 2"),
        (
            np.array([[0], [2]] * 30),
            r"of shape \(60, 1\). Classes are of shape",
        ),
        (
            np.where(np.arange(60) == 7, np.nan, np.arange(60.0)),
            "in 1 rows, first in row 7",
        ),
    ],
)
def test_a_target_that_lacks_something_is_refused(target, message):
    with pytest.raises(DataError, match=message):
        Task.from_arrays(make_inputs(), target)


def test_test_rows_may_lack_their_numbers():
    split = np.array(["train", "valid", "test"] * 20)
    target = np.where(split == "test", np.nan, np.arange(60.0))
    assert not Task.from_arrays(make_inputs(), target, split=split).test.labelled
    target[0] = np.nan
    with pytest.raises(DataError, match="first in row 0"):
        Task.from_arrays(make_inputs(), target, split=split)


def test_too_few_groups_for_three_splits_are_refused():
    with pytest.raises(DataError, match=r"got train alone. Of few groups, split="):
        Task.from_arrays(make_inputs(), np.arange(60) % 2, group=np.zeros(60, int))


def test_present_names_modalities_that_are_there():
    present = {"adio": np.zeros(60, bool)}
    with pytest.raises(DataError, match=r"present: expected modalities .*audio.*adio"):
        Task.from_arrays(make_inputs(), np.arange(60) % 2, present=present)


def test_floats_are_standardised_numbers_and_their_scale_is_kept():
    target = 1e5 * np.arange(60.0)
    task = Task.from_arrays(make_inputs(), target)
    assert (task.kind, task.out_dim) == ("numbers", 1)
    np.testing.assert_allclose(task.train.target.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(task.train.target.std(), 1, rtol=1e-5)
    back = [s.target * task.scale.deviation + task.scale.mean for s in task.splits.values()]
    np.testing.assert_allclose(np.sort(np.concatenate(back).ravel()), target, atol=1)


def test_a_matrix_of_bools_is_labels():
    target = np.random.default_rng(0).random((60, 4)) < 0.5
    task = Task.from_arrays(make_inputs(), target)
    assert (task.kind, task.out_dim) == ("labels", 4)


def test_groups_stay_together_and_a_given_split_is_taken():
    group = np.repeat([f"person {i}" for i in range(20)], 3)
    task = Task.from_arrays(make_inputs(), np.array([0, 1] * 30), group=group)
    seen = [set(split.group) for split in task.splits.values()]
    assert sum(map(len, seen)) == len(set().union(*seen)) == 20
    split = np.array(["train"] * 40 + ["valid"] * 15 + ["test"] * 5)
    task = Task.from_arrays(make_inputs(), np.array([0, 1] * 30), split=split)
    assert [part.size for part in task.splits.values()] == [40, 15, 5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": np.zeros((60, 2, 2))}, "target: expected a class for each row"),
        ({"target": np.array([0, 1] * 20)}, "expected 40 rows, as the target has, got 60"),
        ({"inputs": {"a": np.array(["x"] * 60)}}, "input 'a': expected numbers"),
        ({"split": np.array(["train", "dev"] * 30)}, "split: expected one of train, valid, test"),
        ({"split": np.array(["train"])}, r"split: expected.*got \(1,\)"),
        ({"present": {"image": np.ones(59, bool)}}, "image: expected 60 rows"),
        ({"target": np.full(60, np.nan)}, "finite numbers"),
        ({"target": np.ones(60)}, "numbers that differ between rows"),
        ({"target": np.full((60, 2), 2)}, "labels 0 and 1"),
    ],
)
def test_what_cannot_be_a_task_is_refused(change, message):
    arrays = {"inputs": make_inputs(), "target": np.array([0, 1] * 30)} | change
    with pytest.raises(DataError, match=message):
        Task.from_arrays(**arrays)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=60),
    st.integers(0, 5),
)
def test_deal_keeps_groups_whole_and_shares_near(rows, seed):
    target, group = np.array(rows).T
    role = deal(group, encode_target(np.minimum(target, 1)), seed)
    assert set(role) <= set(ROLES)
    for one in np.unique(group):
        assert len(set(role[group == one])) == 1
    count = len(np.unique(group))
    roles = [role[group == one][0] for one in np.unique(group)]
    assert abs(roles.count("test") - 0.2 * count) <= 1
    assert abs(roles.count("valid") - 0.16 * count) <= 1.2


def test_inputs_are_standardised_by_the_model_alone():
    inputs, target = make_inputs(), np.array([0, 1] * 30)
    raw = Task.from_arrays(inputs, target, standardise=False)
    task = Task.from_arrays(inputs, target)
    assert task.digest() != raw.digest()
    np.testing.assert_array_equal(task.train.inputs["sensor"], raw.train.inputs["sensor"])
    assert make_model(raw, "concat").scales == {}
    mean, deviation = make_model(task, "concat").scales["sensor"]
    seen = task.train.inputs["sensor"].astype(np.float64)
    np.testing.assert_allclose(mean, seen.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(deviation, seen.std(axis=0), rtol=1e-4)
    constant = Task.from_arrays({"x": np.full((60, 2), 7.0)}, target)
    assert make_model(constant, "concat").scales["x"][1].tolist() == [1, 1]


def test_arms_with_all_modalities_share_what_was_read(monkeypatch):
    read = []
    find = mmjax.task.find_input_scale
    keep = lambda values, present: read.append(values.shape) or find(values, present)
    monkeypatch.setattr(mmjax.task, "find_input_scale", keep)
    task = Task.from_arrays(make_inputs(), np.arange(60) % 2)
    arms = [make_arm(task, name) for name in ("concat", "gmu", "transformer", "sensor_only")]
    assert all(arm.task is task for arm in arms[:3])
    shapes = [task.train.inputs[name].shape for name in ("audio", "sensor", "sensor")]
    assert read == shapes  # the baseline's once more


def test_standardised_inputs_of_any_unit_train_alike():
    """Metres or millimetres: the model does not notice."""
    inputs, target = make_inputs(), np.array([0, 1] * 30)
    moved = {**inputs, "sensor": 1000 * inputs["sensor"] + 3}
    trained = [
        fit(make_arm(Task.from_arrays(x, target), "concat", steps=5, seeds=(0,)).recipe, task)
        for x in (inputs, moved)
        for task in [Task.from_arrays(x, target)]
    ]
    losses = [[float(epoch["loss"][0]) for epoch in run.history] for run in trained]
    np.testing.assert_allclose(*losses, rtol=1e-3)


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_fusions_about_classes_are_refused_for_other_targets(kind):
    rng = np.random.default_rng(1)
    target = rng.normal(size=60) if kind == "numbers" else rng.integers(0, 2, (60, 2))
    task = Task.from_arrays(make_inputs(), target)
    about_classes = {name for name in FUSIONS.usable() if not suits(FUSIONS[name], kind)}
    assert about_classes == {
        "late_prob_mean", "late_max", "product_of_experts", "evidential", "energy_weighted",
        "stacking", "mmvae", "mopoe",
    }  # fmt: skip
    with pytest.raises(UsageError, match=f"expected one for {kind}, got EvidentialFusion"):
        make_arm(task, "evidential")


@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_a_saved_task_is_the_same_task(kind, tmp_path):
    rng = np.random.default_rng(2)
    target = {
        "classes": np.array(["no", "yes"] * 30),
        "labels": rng.integers(0, 2, (60, 3)),
        "numbers": 7 + 3 * rng.normal(size=(60, 2)),
    }[kind]
    task = Task.from_arrays(make_inputs(), target)
    save(task, tmp_path / "arrays")
    prepare(task, tmp_path / "tfds")
    for read in (arrays(tmp_path / "arrays"), tfds(tmp_path / "tfds")):
        assert read.digest() == task.digest()
        assert (read.kind, read.out_dim, read.names) == (kind, task.out_dim, task.names)
        assert read.standardise
        if kind == "numbers":
            np.testing.assert_array_equal(read.scale, task.scale)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "what `save` has written"),
        ('{"standardise": 1, "names": [], "scale": null}', "what `save` has written"),
        ('{"standardise": true, "names": ["a"], "scale": null}', "names: expected 2 of them"),
        ('{"standardise": true, "names": [], "scale": [[1], [1]]}', "scale: expected 2 finite"),
    ],
)
def test_facts_that_do_not_fit_are_refused(content, message, tmp_path):
    save(Task.from_arrays(make_inputs(), np.array([0, 1] * 30)), tmp_path)
    (tmp_path / "task.json").write_text(content)
    with pytest.raises(DataError, match=message):
        arrays(tmp_path)
