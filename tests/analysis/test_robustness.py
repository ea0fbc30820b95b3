"""Sweeps over corruptions, the rows that follow, and what is made of them."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from layouts import write_images, write_recordings
from small import make_split, make_task

import mmjax.data.chunks
from mmjax.analysis.corruptions import CORRUPTIONS, make_sweep, sample_rows
from mmjax.analysis.robustness import robustness_rows, robustness_summary, score_curves
from mmjax.comparison.arm import make_arm
from mmjax.data.targets import UNLABELLED
from mmjax.data.task import Split, Task
from mmjax.errors import UsageError
from mmjax.layers import as_float
from mmjax.metrics import METRICS
from mmjax.report.figures.robustness_figures import robustness_figure, split_flat
from mmjax.report.figures.style import QUIET, color_strategies
from mmjax.tasks.mnist_fsdd import mnist_fsdd

KINDS = {"vector": "vector", "sequence": "sequence", "image": "pixels"}


@pytest.fixture(scope="module")
def task():
    return make_task()


@pytest.fixture(scope="module")
def sweep(task):
    return make_sweep(task, severities=(1, 5), max_rows=60)


def of_kind(*kinds):
    return {name for name, corruption in CORRUPTIONS.items() if corruption.kind in kinds}


def find(sweep, modality, corruption, severity):
    (found,) = [c for c in sweep.conditions if c[:3] == (modality, corruption, severity)]
    return found.values


def test_every_modality_gets_every_corruption_that_fits(task, sweep):
    assert sweep.split == "test"
    for modality, kind in KINDS.items():
        conditions = [c for c in sweep.conditions if c.modality == modality]
        assert {c.corruption for c in conditions} == of_kind(kind, "pairs")
        assert len(conditions) == 2 * len(of_kind(kind, "pairs"))
        for condition in conditions:
            assert condition.values.shape == (60, *task.shapes[modality])
            assert condition.values.dtype == task.test.inputs[modality].dtype
            changed = condition.values != sweep.rows.inputs[modality]
            assert changed.any() or condition.severity < 5  # small images are hardly blurred by 1


def test_the_sweep_follows_from_its_seed_only(task, sweep):
    pick = dict(severities=(5,), max_rows=60)
    part = task.only("vector")
    again, other = make_sweep(part, **pick), make_sweep(part, **pick, seed=1)
    want = find(sweep, "vector", "vector_noise", 5)
    np.testing.assert_array_equal(find(again, "vector", "vector_noise", 5), want)
    assert (other.rows.target != again.rows.target).any()
    assert {c.corruption for c in again.conditions} == of_kind("vector")  # nothing to pair with


@pytest.mark.parametrize("severities", [(), (0, 1), (6,)])
def test_severities_that_do_not_exist_are_refused(task, severities):
    with pytest.raises(UsageError, match="severities: expected some of 1 to 5, got"):
        make_sweep(task, severities=severities)


def test_without_test_labels_validation_is_corrupted(task):
    unlabelled = replace(task.test, target=np.full(task.test.size, UNLABELLED))
    found = make_sweep(replace(task, test=unlabelled).only("vector"), severities=(1,))
    assert found.split == "valid"
    np.testing.assert_array_equal(found.rows.target, task.valid.target)


def test_a_sample_takes_every_group_before_any_group_twice():
    group = np.repeat([7, -1, 3, 5], [50, 1, 20, 2])
    chosen = sample_rows(group, 8, seed=0)
    assert len(set(chosen.tolist())) == 8
    assert sorted(group[chosen].tolist()) == [-1, 3, 3, 3, 5, 5, 7, 7] or sorted(
        group[chosen].tolist()
    ) == [-1, 3, 3, 5, 5, 7, 7, 7]
    np.testing.assert_array_equal(sample_rows(group, 100, seed=0), np.arange(73))
    assert (sample_rows(group, 8, seed=1) != chosen).any()


def test_features_are_corrupted_in_units_of_the_training_rows(task, sweep):
    """Another unit and origin of each feature moves the noise with them."""
    unit, origin = np.float32([1, 10, 100, 1, 1]), np.float32([0, 5, 0, -7, 0])
    moved = {
        role: replace(split, inputs={"vector": split.inputs["vector"] * unit + origin})
        for role, split in task.only("vector").splits.items()
    }
    other = make_sweep(replace(task.only("vector"), **moved), severities=(5,), max_rows=60)
    want = find(sweep, "vector", "vector_noise", 5) * unit + origin
    np.testing.assert_allclose(find(other, "vector", "vector_noise", 5), want, rtol=1e-3, atol=1e-3)
    dropped = find(sweep, "vector", "feature_dropout", 5)
    changed = ~np.isclose(dropped, sweep.rows.inputs["vector"])
    mean = np.nanmean(task.train.inputs["vector"], axis=0)
    np.testing.assert_allclose(dropped[changed], np.tile(mean, (60, 1))[changed], rtol=1e-4)


def test_images_on_another_scale_keep_it(task):
    """From -1 to 1 an image is what it is from 0 to 255, but for the rounding."""
    part = task.only("image")
    to_float = lambda x: (x / np.float32(127.5) - 1).astype(np.float32)
    stretched = {}
    for role, split in part.splits.items():
        image = split.inputs["image"].copy()
        image[0, 0, :2] = [[0], [255]]  # so that the range is the whole one
        stretched[role] = replace(split, inputs={"image": image})
    first = replace(part, **stretched)
    floats = {
        role: replace(split, inputs={"image": to_float(split.inputs["image"])})
        for role, split in first.splits.items()
    }
    first, second = (
        make_sweep(t, severities=(3,), max_rows=60) for t in (first, replace(first, **floats))
    )
    for one, two in zip(first.conditions, second.conditions, strict=True):
        np.testing.assert_allclose(to_float(one.values), two.values, atol=0.5 / 127.5 + 1e-5)


class OnDisk:
    """What a Split promises of an array on disk, and no more; it counts rows read at once."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.most = array, array.shape, array.dtype, 0

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        found = self.array[rows]
        self.most = max(self.most, len(found))
        return found


def test_the_scale_of_corruptions_is_read_in_parts(task, sweep, monkeypatch):
    monkeypatch.setattr(mmjax.data.chunks, "_CHUNK_BYTES", 10 * 8 * 8)
    inputs = {name: OnDisk(values) for name, values in task.train.inputs.items()}
    train = replace(task.train, inputs=inputs)
    found = make_sweep(replace(task, train=train), severities=(1, 5), max_rows=60)
    assert all(array.most < 96 for array in inputs.values())
    for one, other in zip(found.conditions, sweep.conditions, strict=True):
        np.testing.assert_allclose(one.values, other.values, atol=1e-4)


def test_bytes_are_corrupted_as_the_floats_that_they_stand_for(task):
    part, parts = task.only("vector"), {}
    for role, split in part.splits.items():
        codes = np.random.default_rng(0).integers(0, 256, split.inputs["vector"].shape, np.uint8)
        parts[role] = [replace(split, inputs={"vector": x}) for x in (codes, as_float(codes))]
    make = lambda i: make_sweep(replace(part, **{role: x[i] for role, x in parts.items()}))
    for one, two in zip(make(0).conditions, make(1).conditions, strict=True):
        floats = two.values.clip(0, 1)
        np.testing.assert_allclose(one.values / 255, floats, atol=0.5 / 255 + 1e-5)


def test_rows_that_lack_a_modality_stay_as_they_are(task):
    test = make_split(60, 3)
    test.present["vector"] = np.arange(60) % 3 > 0
    test.inputs["vector"][::3] = np.nan
    found = make_sweep(replace(task, test=test).only("vector", "sequence"), severities=(5,))
    assert found.rows.present["vector"].sum() == 40
    for condition in found.conditions:
        lacking = np.isnan(condition.values.reshape(60, -1)).any(axis=1)
        np.testing.assert_array_equal(lacking, ~found.rows.present[condition.modality])


def test_a_modality_that_no_training_row_has_is_not_corrupted(task):
    train = replace(task.train, present={name: np.zeros(96, bool) for name in ("vector", "image")})
    found = make_sweep(replace(task, train=train), severities=(5,), max_rows=60)
    assert {condition.modality for condition in found.conditions} == {"sequence"}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_images(folder / "mnist")
    write_recordings(folder / "fsdd" / "recordings")
    return mnist_fsdd(folder)


def test_recordings_are_corrupted_before_their_features(spoken):
    found = make_sweep(spoken.only("audio"), severities=(1,), max_rows=8)
    assert {c.corruption for c in found.conditions} == of_kind("waveform")
    assert {c.values.shape for c in found.conditions} == {(8, 39, 13)}
    clean, gain = found.rows.inputs["audio"], find(found, "audio", "gain", 1)
    frames = np.abs(clean[..., 0]) < 2  # not those in the silence around, which has no level
    steps = (gain - clean)[..., 0][frames]
    np.testing.assert_allclose(np.abs(steps), np.abs(steps[0]), rtol=0.05)  # 3 dB, scaled


def arm_of(task, strategy="concat", seeds=(4, 5)):
    return make_arm(task, strategy, seeds=seeds)


def trusts(modality):
    """A model that is right as long as nobody touches its modality; seed 1 is always wrong."""

    def predict(params, rows):
        level = rows.inputs[modality].reshape(len(rows.target), -1).mean(axis=1)
        right = np.eye(3)[np.rint((level - 30) / 60).astype(int).clip(0, 2)]
        return np.stack([right, np.roll(right, 1, axis=1)]).astype(np.float32)

    return predict


def test_rows_have_the_scores_of_each_condition_and_seed(task, sweep):
    rows = robustness_rows(arm_of(task), trusts("image"), None, sweep)
    assert len(rows) == 2 * (3 + len(sweep.conditions))
    assert {row["rows"] for row in rows} == {60}
    assert list(rows[0]) == [
        "task", "strategy", "modalities", "seed", "split", "rows", "modality", "corruption",
        "severity", "metric", "accuracy", "macro_f1", "nll",
    ]  # fmt: skip
    assert {row["modalities"] for row in rows} == {"image+sequence+vector"}
    accuracy = {
        (row["modality"], row["corruption"], row["severity"]): row["accuracy"]
        for row in rows
        if row["seed"] == 4
    }
    for modality in task.modalities:
        assert accuracy[modality, "", 0] == 1
    assert all(accuracy[c[:3]] == 1 for c in sweep.conditions if c.modality != "image")
    assert accuracy["image", "conflicting", 5] == 0
    assert accuracy["image", "conflicting", 1] == pytest.approx(0.8, abs=0.15)
    assert accuracy["image", "desynchronised", 5] == 1
    assert all(row["accuracy"] == 0 for row in rows if row["seed"] == 5 and not row["severity"])


def test_a_baseline_is_judged_on_its_own_modality(task, sweep):
    arm = arm_of(task, "image_only")
    rows = robustness_rows(arm, trusts("image"), None, sweep)
    assert {row["modality"] for row in rows} == {"image"}
    assert {row["strategy"] for row in rows} == {"image_only"}
    assert len(rows) == 2 * (1 + 2 * len(of_kind("pixels", "pairs")))


def test_the_input_of_a_model_keeps_its_shapes_and_types(task, sweep):
    """Else each arm would compile its forward pass again."""
    shapes = set()

    def predict(params, rows):
        shapes.add(str(jax.tree.map(lambda x: (x.shape[1:], x.dtype), rows)))
        return np.zeros((2, len(rows.target), 3), np.float32)

    robustness_rows(arm_of(task), predict, None, sweep)
    assert len(shapes) == 1


def make_rows(accuracy, modalities="a+b", modality="a", corruption="blur"):
    """Rows from {strategy: {severity: accuracy of each seed}}."""
    return [
        {
            "strategy": strategy,
            "modalities": modality if strategy.endswith("_only") else modalities,
            "seed": seed,
            "modality": modality,
            "corruption": corruption if severity else "",
            "severity": severity,
            "accuracy": value,
        }
        for strategy, by_severity in accuracy.items()
        for severity, values in by_severity.items()
        for seed, value in enumerate(values)
    ]


ACCURACY = {
    "sum": {0: [0.9, 1.0], 1: [0.8, 0.8], 3: [0.4, 0.4]},
    "max": {0: [0.8, 0.8], 1: [0.8, 0.8], 3: [0.6, 0.6]},
    "a_only": {0: [0.5, 0.5], 1: [0.5, 0.5], 3: [0.5, 0.5]},
}


def test_the_summary_is_what_it_is_by_hand():
    summary = {row["strategy"]: row for row in robustness_summary(make_rows(ACCURACY))}
    area = {"sum": 2.075 / 3, "max": 2.2 / 3, "a_only": 0.5}  # sum: 0.875 * 1 + 0.6 * 2
    mean_area, mean_clean = sum(area.values()) / 3, 2.25 / 3
    for strategy, row in summary.items():
        clean = {"sum": 0.95, "max": 0.8, "a_only": 0.5}[strategy]
        assert row["modality"], row["corruption"] == ("a", "blur")
        assert row["clean"] == pytest.approx(clean)
        assert row["area"] == pytest.approx(area[strategy])
        assert row["relative"] == pytest.approx(area[strategy] - mean_area)
        effective = area[strategy] - (mean_area + clean - mean_clean)
        assert row["effective"] == pytest.approx(effective)
    assert summary["sum"]["area_error"] == pytest.approx(0.05 / 3 / 2)
    assert summary["max"]["area_error"] == 0
    # Never moved by corruption: the most robust for its accuracy, and the worst all the same.
    assert max(summary, key=lambda s: summary[s]["effective"]) == "a_only"
    assert min(summary, key=lambda s: summary[s]["relative"]) == "a_only"


def test_one_seed_has_no_error():
    rows = make_rows({"sum": {0: [1.0], 5: [0.5]}})
    (row,) = robustness_summary(rows)
    assert row["area"] == 0.75
    assert np.isnan(row["area_error"])
    assert row["relative"] == row["effective"] == 0


def test_curves_do_not_depend_on_the_order_of_rows():
    rows = make_rows(ACCURACY)
    curve = score_curves(rows[::-1])["a", "blur"]["sum"]
    assert curve.severity.tolist() == [0, 1, 3]
    assert curve.score.tolist() == [[0.9, 0.8, 0.4], [1.0, 0.8, 0.4]]


def test_the_figure_has_a_panel_for_each_corruption_and_a_few_colours():
    many = {f"s{i}": {0: [0.9], 1: [0.9 - i / 100], 5: [0.9 - i / 50]} for i in range(12)}
    rows = make_rows(many | {"a_only": {0: [0.5], 1: [0.3], 5: [0.1]}})
    rows += make_rows(many, modality="b", corruption="time_shift")
    colors = color_strategies(many, ["a_only"])
    figure = robustness_figure(score_curves(rows), METRICS["accuracy"], colors)
    assert [axes.get_title() for axes in figure.axes] == ["a\nblur", "b\ntime shift"]
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    np.testing.assert_allclose(lines["s3"].get_xydata(), [[0, 90], [1, 87], [5, 84]])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*list(many)[:10], "a_only"]
    assert lines["a_only"].get_color() == QUIET
    assert lines["a_only"].get_linestyle() == "--"
    assert "a_only" not in {line.get_label() for line in figure.axes[1].get_lines()}


def test_corruptions_that_change_little_beside_others_are_apart():
    rows = make_rows({"sum": {0: [0.9], 5: [0.4]}, "max": {0: [0.9], 5: [0.9]}})
    rows += make_rows({"sum": {0: [0.9], 5: [0.86]}}, modality="b", corruption="time_shift")
    steep, flat = split_flat(score_curves(rows))
    assert (list(steep), list(flat)) == ([("a", "blur")], [("b", "time_shift")])


def test_masks_of_bytes_are_spoilt_on_their_own_scale(task):
    """Bytes of 0 and 1 become no grey of 0 to 255."""
    task = task.only("image")
    mask = lambda split: replace(split, inputs={"image": (split.inputs["image"] > 99).astype("u1")})
    masks = replace(task, **{name: mask(split) for name, split in task.splits.items()})
    found = make_sweep(masks, severities=(5,), max_rows=20)
    assert found.conditions
    for condition in found.conditions:
        assert condition.values.max() <= 2  # noise on a one


def test_padding_stays_and_the_frames_of_a_video_are_corrupted_alike():
    rng = np.random.default_rng(0)
    clip = np.repeat(rng.random((30, 1, 8, 8, 1), np.float32), 5, axis=1)  # it stands still
    lengths = np.arange(30) % 4 + 2
    clip[np.arange(5) >= lengths[:, None]] = np.nan
    steps = rng.normal(size=(30, 5, 3)).astype(np.float32)
    steps[np.arange(5) >= lengths[:, None]] = np.nan
    split = Split({"clip": clip, "steps": steps}, np.arange(30) % 2, np.arange(30))
    task = Task("padded", split, split, split, 2, padded=("clip", "steps"))
    found = make_sweep(task, severities=(3,))
    kinds = {c.corruption for c in found.conditions if c.modality == "clip"}
    assert kinds == of_kind("pixels", "pairs")
    for condition in found.conditions:
        clean, values = found.rows.inputs[condition.modality], condition.values
        if CORRUPTIONS[condition.corruption].kind != "pairs":
            np.testing.assert_array_equal(np.isnan(values), np.isnan(clean))
            if condition.modality == "clip":
                np.testing.assert_array_equal(values[:, 0], values[:, 1])
        assert (np.nan_to_num(values) != np.nan_to_num(clean)).any()
