"""The published digits database: both layouts, groups by recording, and every kind of damage."""

import numpy as np
import pytest
from layouts import (
    FILES,
    ROWS,
    TEST_ROWS,
    make_arrays,
    write_competition,
    write_published,
)

from mmjax.errors import DataError, UsageError
from mmjax.tasks.written_spoken_digits import written_spoken_digits


@pytest.fixture
def arrays():
    return make_arrays()


def rows_of(task, arrays):
    """The row in the files of each row of training and of validation."""
    place = {row.tobytes(): i for i, row in enumerate(arrays["wr_train"].astype(np.uint8))}
    images = {"train": task.train, "valid": task.valid}
    return {
        role: np.array([place[image.tobytes()] for image in split.inputs["image"]])
        for role, split in images.items()
    }


@pytest.mark.parametrize("write", [write_published, write_competition])
def test_every_row_comes_back_once_with_its_label(tmp_path, arrays, write):
    write(tmp_path, arrays)
    task = written_spoken_digits(tmp_path)
    assert task.shapes == {"image": (28, 28, 1), "audio": (39, 13)}
    assert task.train.inputs["image"].dtype == np.uint8
    rows = rows_of(task, arrays)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(ROWS))
    for role in ("train", "valid"):
        labels = arrays["labels_train"][rows[role]]
        np.testing.assert_array_equal(task.splits[role].target, labels)
    np.testing.assert_array_equal(
        task.test.inputs["image"].reshape(TEST_ROWS, 784), arrays["wr_test"].astype(np.uint8)
    )


def test_published_test_labels_are_read(tmp_path, arrays):
    write_published(tmp_path, arrays)
    task = written_spoken_digits(tmp_path)
    np.testing.assert_array_equal(task.test.target, arrays["labels_test"])


def test_competition_test_is_unlabelled(tmp_path, arrays):
    write_competition(tmp_path, arrays)
    task = written_spoken_digits(tmp_path)
    assert not task.test.labelled
    assert task.test.size == TEST_ROWS


def test_groups_are_the_recordings_and_no_split_shares_one(tmp_path, arrays):
    write_published(tmp_path, arrays)
    task = written_spoken_digits(tmp_path)
    rows = rows_of(task, arrays)
    group = np.zeros(ROWS, int)
    for role in ("train", "valid"):
        group[rows[role]] = task.splits[role].group
    same = arrays["recording"][:, None] == arrays["recording"]
    np.testing.assert_array_equal(group[:, None] == group, same)

    train, valid = set(task.train.group.tolist()), set(task.valid.group.tolist())
    assert not train & valid
    assert len(valid) == -(-(len(train) + len(valid)) // 10)
    assert set(task.test.group.tolist()) & (train | valid) == {group[0]}  # the shared recording


def test_audio_is_frame_by_frame_and_scaled_by_training_rows_only(tmp_path, arrays):
    arrays["sp_train"][:, 13] += 1000  # frame 1, coefficient 0
    arrays["sp_test"][:, 13] += 1000
    write_published(tmp_path, arrays)
    task = written_spoken_digits(tmp_path)
    rows = rows_of(task, arrays)
    raw = arrays["sp_train"].reshape(ROWS, 39, 13)
    train = raw[rows["train"]]
    mean, std = train.mean(axis=(0, 1), keepdims=True), train.std(axis=(0, 1), keepdims=True)
    for role in ("train", "valid"):
        want = (raw[rows[role]] - mean) / std
        np.testing.assert_allclose(task.splits[role].inputs["audio"], want, atol=1e-5)
    want = (arrays["sp_test"].reshape(TEST_ROWS, 39, 13) - mean) / std
    np.testing.assert_allclose(task.test.inputs["audio"], want, atol=1e-5)


@pytest.mark.parametrize(
    "store",
    [
        lambda pixels: pixels.astype(np.uint8),
        lambda pixels: pixels.astype(np.int64),
        lambda pixels: pixels / 255,
        lambda pixels: (pixels / 255).astype(np.float32),
        np.asfortranarray,
        lambda pixels: pixels.astype(">f8"),
    ],
)
def test_images_are_the_same_however_they_are_stored(tmp_path, arrays, store):
    want = arrays["wr_test"].astype(np.uint8)
    write_published(tmp_path, arrays | {"wr_test": store(arrays["wr_test"])})
    got = written_spoken_digits(tmp_path).test.inputs["image"]
    np.testing.assert_array_equal(got.reshape(want.shape), want)


def test_whole_numbers_stored_as_floats_are_labels(tmp_path, arrays):
    write_published(tmp_path, arrays | {"labels_test": arrays["labels_test"].astype(np.float64)})
    task = written_spoken_digits(tmp_path)
    np.testing.assert_array_equal(task.test.target, arrays["labels_test"])
    assert task.test.target.dtype == np.int64


def test_the_seed_chooses_the_validation_recordings(tmp_path, arrays):
    write_published(tmp_path, arrays)
    valid = [set(written_spoken_digits(tmp_path, seed=s).valid.group.tolist()) for s in (0, 0, 1)]
    assert valid[0] == valid[1] != valid[2]
    with pytest.raises(UsageError, match="seed: expected"):
        written_spoken_digits(tmp_path, seed=-1)


def changed(array, value):
    array = array.astype(np.float64)
    array.flat[5] = value
    return array


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("sp_train", lambda a: a[:, :506], "data_sp_train.npy.*got shape"),
        ("sp_train", lambda a: a.reshape(-1, 39, 13), "data_sp_train.npy.*got shape"),
        ("sp_train", lambda a: changed(a, np.nan), "data_sp_train.npy.*NaN"),
        ("sp_test", lambda a: changed(a, 1e300), "data_sp_test.npy.*float32"),
        ("sp_train", lambda a: a.astype(object), "data_sp_train.npy"),
        ("sp_train", lambda a: a[:-1], "train: expected as many.*199 recordings"),
        ("sp_test", lambda a: a[:0], "data_sp_test.npy.*shape"),
        ("wr_train", lambda a: a[:, :783], "data_wr_train.npy.*got shape"),
        ("wr_test", lambda a: changed(a, 256), "data_wr_test.npy: expected pixels"),
        ("wr_test", lambda a: changed(a, -1), "data_wr_test.npy: expected pixels"),
        ("wr_test", lambda a: a.astype(str), "data_wr_test.npy.*values of"),
        ("labels_train", lambda a: a + 1, "labels_train.npy: expected labels from 0 to 9, got 10"),
        ("labels_train", lambda a: a % 9, "every class, got none of 9"),
        ("labels_train", lambda a: a + 0.5, "labels_train.npy: expected labels"),
        ("labels_test", lambda a: a[:-1], "test: expected as many.*39 labels"),
        ("labels_test", lambda a: np.eye(10)[a], "labels_test.npy.*got shape"),
    ],
)
def test_a_bad_file_is_named(tmp_path, arrays, name, change, message):
    write_published(tmp_path, arrays | {name: change(arrays[name])})
    with pytest.raises(DataError, match=message):
        written_spoken_digits(tmp_path)


@pytest.mark.parametrize("file", [files[0] for files in FILES.values()] + ["labels_test.npy"])
def test_a_missing_file_is_named(tmp_path, arrays, file):
    write_published(tmp_path, arrays)
    (tmp_path / file).unlink()
    with pytest.raises(DataError, match=f"expected {file}"):
        written_spoken_digits(tmp_path)
