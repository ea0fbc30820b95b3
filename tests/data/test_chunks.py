"""Tasks whose inputs stay on disk: the same rows, the same checks, and damage is noticed."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from small import make_task

import mmjax.data.chunks
from mmjax.cli import main
from mmjax.data.chunks import chunks
from mmjax.data.targets import UNLABELLED
from mmjax.errors import DataError, UnknownNameError, UsageError
from mmjax.storage.jsonl import read_rows
from mmjax.tasks import load_task
from mmjax.tasks.arrays import arrays, save
from mmjax.tasks.readers.columns import Column
from mmjax.tasks.tfds import prepare, tfds


@pytest.fixture
def folder(tmp_path):
    task = make_task(30)
    task.train.meta["speaker"] = np.array([f"Zoë {row}" for row in range(30)])
    task.test.target[:] = UNLABELLED
    save(task, tmp_path)
    return tmp_path


def test_a_folder_of_arrays_is_the_task_that_was_saved(folder):
    task, got = make_task(30), load_task("arrays", folder)
    assert (got.name, got.out_dim) == (f"arrays/{folder.name}", task.out_dim)
    assert not got.test.labelled
    for name, values in task.train.inputs.items():
        np.testing.assert_array_equal(got.train.inputs[name], values, strict=True)
        np.testing.assert_array_equal(got.train.present[name], task.train.present[name])
        assert isinstance(got.train.inputs[name], np.memmap)
    assert got.train.meta["speaker"][-1] == "Zoë 29"
    with pytest.raises(UsageError, match="folder: expected a folder without a task"):
        save(task, folder)


def test_a_file_that_was_cut_short_is_named(folder):
    path = folder / "train" / "inputs" / "vector.npy"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(
        DataError, match=r"vector\.npy: .* 596 bytes of values, .* 600 bytes\. Download"
    ):
        arrays(folder)


@pytest.mark.parametrize(
    ("name", "array", "match"),
    [
        (
            "train/target",
            np.zeros((30, 1), int),
            r"valid target: expected labels.*got int64 \(30,\)",
        ),
        ("train/target", np.zeros(30), r"target\.npy: expected one integer class per row.*float64"),
        ("train/target", np.zeros(0, int), r"train: expected at least one row"),
        ("train/target", np.full(30, 2**40), r"rows of every class, got none of 0, 1"),
        ("valid/group", np.zeros(7, int), r"valid group: expected integers of shape \(30,\)"),
        ("train/present/vector", np.ones(30), r"vector' present: expected bool"),
        ("train/present/victor", np.ones(30, bool), r"present: expected the same file names as in"),
        ("train/inputs/vector", np.zeros((29, 5), np.float32), r"expected shape \(30, 5\)"),
        ("train/inputs/vector", np.float32(0), r"expected shape"),
        (
            "valid/inputs/vector",
            np.full((30, 5), np.inf, np.float32),
            r"valid.*infinity in 30 rows",
        ),
    ],
)
def test_arrays_that_are_no_task_are_refused(folder, name, array, match):
    np.save(folder / f"{name}.npy", array)
    with pytest.raises(DataError, match=match):
        arrays(folder)


@pytest.mark.parametrize(
    ("missing", "match"),
    [
        ("valid", "expected valid, got only task.json, test, train"),
        ("train/target.npy", r"train: expected target\.npy, got only group\.npy"),
        ("test/inputs/image.npy", r"present: expected the same file names as in .*test/inputs"),
    ],
)
def test_a_missing_part_is_told(folder, missing, match):
    path = folder / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataError, match=match):
        arrays(folder)


def test_a_task_on_disk_comes_back_equal_to_the_bit(tmp_path):
    task = make_task(30)
    task.train.meta["speaker"] = np.array([f"Zoë {row}" for row in range(30)])
    for role in ("valid", "test"):
        split = task.splits[role]
        split.meta["speaker"] = np.full(split.size, "")
    prepare(task, tmp_path)
    got = tfds(tmp_path, rows="disk")
    assert got.digest() == task.digest()
    np.testing.assert_array_equal(got.train.meta["speaker"], task.train.meta["speaker"])
    assert isinstance(got.train.inputs["image"], Column)
    assert isinstance(got.only("image").train.inputs["image"], Column)
    with pytest.raises(UnknownNameError, match="rows: expected one of disk, memory"):
        tfds(tmp_path, rows="disc")


def test_a_column_is_indexed_like_an_array():
    values = np.arange(600 * 6, dtype=np.float32).reshape(600, 2, 3)
    asked = []

    def read(rows):
        asked.append(len(rows))
        return [values[row] for row in rows]

    column = Column(read, values.shape, np.float32)
    mask = np.arange(600) % 7 == 0
    for rows in (
        3,
        slice(2, 9),
        slice(None),
        mask,
        np.array([[5, 1], [599, 5]]),
        np.array([], int),
    ):
        np.testing.assert_array_equal(column[rows], values[rows], strict=True)
    np.testing.assert_array_equal(np.asarray(column), values, strict=True)
    np.testing.assert_array_equal(list(column), values)
    assert max(asked) == 256
    assert (len(column), column.nbytes) == (600, values.nbytes)
    with pytest.raises(IndexError, match="rows from -1 to 600 of 600"):
        column[np.array([-1, 600])]


def test_arrays_are_checked_and_digested_in_chunks(monkeypatch):
    task = make_task(30)
    digest = task.digest()
    monkeypatch.setattr(mmjax.data.chunks, "_CHUNK_BYTES", 7 * 5 * 4)  # seven rows of five numbers
    assert [len(rows) for rows in chunks(task.train.inputs["vector"])] == [7, 7, 7, 7, 2]
    assert replace(task).digest() == digest
    task.train.inputs["vector"][23] = np.nan
    with pytest.raises(DataError, match="NaN or infinity in row 23"):
        replace(task)


@pytest.mark.slow
def test_a_task_on_disk_goes_through_the_commands(tmp_path, capsys):
    pytest.importorskip("grain")
    save(load_task("synthetic", options={"size": "200"}), tmp_path / "data")
    out = tmp_path / "run"
    settings = ["--task", "arrays", "--data", str(tmp_path / "data"), "--seeds", "2"]
    main(["train", "concat", *settings, "--batch-size", "16", "--steps", "9", "--out", str(out)])
    trained = [row["accuracy"] for row in read_rows(out / "rows.jsonl")]
    capsys.readouterr()
    main(["evaluate", str(out)])
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["accuracy"] for line in lines] == trained
    main(["predict", str(out), "--out", str(tmp_path / "predictions.csv")])
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 41
