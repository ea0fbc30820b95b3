"""Tasks from arrays as people have them."""

import numpy as np
import pytest

import mmjax.data.task
from mmjax.comparison.arm import make_arm
from mmjax.data.task import Task
from mmjax.errors import DataError, UnknownNameError, UsageError
from mmjax.fusion import FUSIONS
from mmjax.tasks.arrays import arrays, save
from mmjax.tasks.tfds import prepare, tfds
from mmjax.training.fit import fit
from mmjax.training.recipe import make_model, suits


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
    with pytest.raises(DataError, match=r"60 different values in 60 rows.*give floats"):
        Task.from_arrays(make_inputs(), np.arange(60))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (np.array(["u", None] * 30, object), "a target for each row, got none in 30 rows"),
        (np.array([1, 2, np.nan] * 20, object), "got none in 20 rows, first in row 2"),
        (
            np.array([[0], [2]] * 30),
            r"of shape \(60, 1\). Give classes as",
        ),
        (
            np.where(np.arange(60) == 7, np.nan, np.arange(60.0)),
            "got none in row 7",
        ),
    ],
)
def test_a_target_that_lacks_something_is_refused(target, message):
    with pytest.raises(DataError, match=message):
        Task.from_arrays(make_inputs(), target)


@pytest.mark.parametrize(
    ("target", "nothing"),
    [
        (np.arange(60.0), np.nan),
        (np.arange(60) % 3, -1),
        (np.array(["u", "v"] * 30, object), None),
        (np.arange(120).reshape(60, 2) // 3 % 2, -1),
    ],
)
def test_test_rows_may_lack_their_targets(target, nothing):
    split = np.array(["train", "val", "test", "train"] * 15)
    hidden = target.copy()
    hidden[split == "test"] = nothing
    task = Task.from_arrays(make_inputs(), hidden, split=split)
    assert not task.test.labelled
    whole = Task.from_arrays(make_inputs(), target, split=split)
    np.testing.assert_array_equal(task.train.target, whole.train.target)
    assert task.names == whole.names
    hidden[0] = nothing  # of a training row, too
    if nothing == -1 and target.ndim == 1:
        assert Task.from_arrays(make_inputs(), hidden, split=split).names[0] == "-1"
    else:
        with pytest.raises(DataError, match=r"row 0|from -1 to 1"):
            Task.from_arrays(make_inputs(), hidden, split=split)


def test_present_names_modalities_that_are_there():
    present = {"adio": np.zeros(60, bool)}
    with pytest.raises(UnknownNameError, match=r"modality of present: .*Did you mean 'audio'"):
        Task.from_arrays(make_inputs(), np.arange(60) % 2, present=present)


OBJECTS = [
    (["x", "y", "z"] * 20, ("x", "y", "z")),
    ([b"x", b"y"] * 30, ("x", "y")),
    ([b"\xff", b"\xfe", b"c"] * 20, ("\\xfe", "\\xff", "c")),
    (np.array([11, 2] * 30, object), ("2", "11")),
    ([2**63 + 1, 2**63 + 2, 5] * 20, ("5", f"{2**63 + 1}", f"{2**63 + 2}")),
    (np.array([2**63 + 1, 2**63 + 2, 5] * 20, object), ("5", f"{2**63 + 1}", f"{2**63 + 2}")),
    ([1e19, 5.0] * 30, ("5.0", "1e+19")),
    (np.array([True, False] * 30, object), ("False", "True")),
]


@pytest.mark.parametrize(("target", "names"), OBJECTS)
def test_objects_are_read_as_what_they_hold(target, names, recwarn):
    assert Task.from_arrays(make_inputs(), target).names == names
    assert not recwarn.list


def test_objects_that_are_floats_are_numbers():
    target = np.arange(60.0).astype(object)
    assert Task.from_arrays(make_inputs(), target).kind == "numbers"


def test_numbers_far_from_zero_keep_their_digits():
    target = 1.7e9 + np.arange(60.0)
    task = Task.from_arrays(make_inputs(), target)
    back = [task.scale.restore(split.target)[:, 0] for split in task.splits.values()]
    np.testing.assert_allclose(np.sort(np.concatenate(back)), target, atol=1e-4, rtol=0)


@pytest.mark.parametrize("far", [1.7e9 + np.arange(60.0), 2**40 + np.arange(60)])
def test_inputs_that_float32_cannot_tell_apart_are_refused(far):
    inputs = {**make_inputs(), "clock": np.stack([far, np.zeros(60, far.dtype)], axis=1)}
    with pytest.raises(DataError, match=r"'clock'.*in feature 0. Subtract their mean"):
        Task.from_arrays(inputs, np.arange(60) % 2)
    inputs["clock"] = inputs["clock"] - far[0]
    Task.from_arrays(inputs, np.arange(60) % 2)


def test_inputs_that_float32_cannot_hold_are_refused(recwarn):
    with pytest.raises(DataError, match=r"'a': expected values below 3.4e38"):
        Task.from_arrays({"a": np.full((60, 2), 1e300)}, np.arange(60) % 2)
    assert not recwarn.list


def test_vectors_of_bytes_are_numbers_like_others():
    """The type in which a table happens to be stored decides nothing."""
    table = np.random.default_rng(0).integers(0, 2, (60, 4))
    tasks = [
        Task.from_arrays({"a": table.astype(dtype)}, np.arange(60) % 2)
        for dtype in (np.uint8, np.int64, np.float32, bool)
    ]
    assert len({task.digest() for task in tasks}) == 1


def test_nullable_columns_have_gaps_where_the_modality_is_absent():
    pandas = pytest.importorskip("pandas")
    column = pandas.array([1, None] * 30, dtype="Int64")
    here = np.array([True, False] * 30)
    task = Task.from_arrays(
        {"a": column, "b": np.arange(60)}, np.arange(60) % 2, present={"a": here}
    )
    assert task.train.inputs["a"].dtype == np.float32
    with pytest.raises(DataError, match=r"finite values wherever"):
        Task.from_arrays({"a": column}, np.arange(60) % 2)


def test_what_is_known_of_rows_comes_with_them():
    ids = [f"row {index}" for index in range(60)]
    task = Task.from_arrays({"a": np.arange(60.0)}, np.arange(60) % 2, meta={"id": ids})
    for split in task.splits.values():
        assert [f"row {x:.0f}" for x in split.inputs["a"][:, 0]] == split.meta["id"].tolist()


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
        ({"target": np.zeros((60, 2, 2))}, "target: expected one class per row"),
        ({"target": np.array([0, 1] * 20)}, "expected 40 rows, as in the target, got 60"),
        ({"inputs": {"a": np.array(["x"] * 60)}}, "input 'a': expected numbers"),
        ({"split": np.array(["train", "tset"] * 30)}, "split: expected one of train, valid, test"),
        ({"split": np.array(["train"])}, r"split: expected.*got \(1,\)"),
        ({"present": {"image": np.ones(59, bool)}}, "image: expected 60 rows"),
        ({"target": np.full(60, np.nan)}, "a target for each row, got none in 60 rows"),
        (
            {"target": np.full(60, np.inf)},
            "finite numbers up to 1e300, got infinite or larger ones in 60 rows",
        ),
        ({"target": np.ones(60)}, "numbers that vary between rows"),
        ({"target": np.full((60, 2), 2)}, "labels 0 and 1"),
        ({"target": []}, "target: expected an array with one row per sample, got no rows"),
        ({"target": ["x", np.nan, "y"] * 20}, "a target for each row, got none in 20 rows"),
        (
            {"target": np.ma.masked_equal([0, 1] * 30, 1)},
            "target: expected an array without a mask",
        ),
        ({"inputs": {"a": np.ma.masked_less(np.arange(60), 1)}}, "'a': expected .* without a mask"),
        ({"inputs": {"a": [[1.0], [1.0, 2.0]] * 30}}, "'a': expected rows of one shape"),
        ({"inputs": {"a": 1.0}}, "'a': expected an array with one row per sample, got float"),
        ({"inputs": [np.zeros(60)]}, r"inputs: expected \{modality: array\}, got list"),
        ({"inputs": {"a": np.zeros((60, 0))}}, r"at least one value per sample, got shape \(0,\)"),
        ({"inputs": {"target": np.zeros(60)}}, "another name, got 'target'"),
        ({"inputs": {"bias": np.zeros(60)}}, "another name, got 'bias'"),
        ({"present": np.ones(60, bool)}, r"present: expected \{modality: array\}, got ndarray"),
        (
            {"group": [None, *range(59)]},
            "group: expected an integer or a string for each row, got obj",
        ),
        ({"group": np.zeros((60, 2), int)}, r"group: .* got int64 of shape \(60, 2\)"),
        ({"group": "speaker"}, "group: expected an array with one row per sample, got str"),
        ({"split": [None] * 60}, "split: expected one of train, valid, test"),
    ],
)
def test_what_cannot_be_a_task_is_refused(change, message):
    arrays = {"inputs": make_inputs(), "target": np.array([0, 1] * 30)} | change
    with pytest.raises(DataError, match=message):
        Task.from_arrays(**arrays)


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
    find = mmjax.data.task.find_input_scale
    keep = lambda values, present: read.append(values.shape) or find(values, present)
    monkeypatch.setattr(mmjax.data.task, "find_input_scale", keep)
    task = Task.from_arrays(make_inputs(), np.arange(60) % 2)
    arms = [make_arm(task, name) for name in ("concat", "gmu", "transformer", "sensor_only")]
    assert all(arm.task is task for arm in arms[:3])
    shapes = [task.train.inputs[name].shape for name in ("audio", "sensor", "sensor")]
    assert read == shapes  # the baseline's once more


@pytest.mark.slow
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
        "late_prob_mean", "late_max", "product_of_experts", "evidential", "etmc",
        "energy_weighted", "stacking", "mmvae", "mopoe", *(["i2moe"] if kind == "numbers" else []),
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
        ("{}", "a file that `save` wrote"),
        ('{"standardise": 1, "names": [], "scale": null}', "a file that `save` wrote"),
        ('{"standardise": true, "names": ["a"], "scale": null}', "names: expected 2 of them"),
        ('{"standardise": true, "names": [], "scale": [[1], [1]]}', "scale: expected 2 finite"),
    ],
)
def test_facts_that_do_not_fit_are_refused(content, message, tmp_path):
    save(Task.from_arrays(make_inputs(), np.array([0, 1] * 30)), tmp_path)
    (tmp_path / "task.json").write_text(content)
    with pytest.raises(DataError, match=message):
        arrays(tmp_path)


def test_a_modality_that_no_training_row_has_is_told(capsys):
    present = {"audio": np.zeros(60, bool)}
    Task.from_arrays(make_inputs(), np.arange(60) % 2, present=present, kind="classes")
    assert "input 'audio': no training row has it" in capsys.readouterr().err
