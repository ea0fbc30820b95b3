"""Tasks as TensorFlow datasets: equal to the bit, and damage is noticed."""

import importlib
import importlib.util

import numpy as np
import pytest
from small import make_rich_split

from mmjax.data.task import Task
from mmjax.errors import DataError, UnknownNameError, UsageError
from mmjax.tasks.synthetic import synthetic
from mmjax.tasks.tfds import prepare, tfds

module = importlib.import_module("mmjax.tasks.tfds")  # the package's table hides it by the loader


@pytest.fixture
def task():
    rng = np.random.default_rng(0)
    splits = (
        make_rich_split(30, rng),
        make_rich_split(5, rng),
        make_rich_split(1, rng, labelled=False),
    )
    return Task("some/name", *splits, out_dim=3)


def test_a_task_comes_back_equal_to_the_bit(tmp_path, task):
    prepare(task, tmp_path)
    got = tfds(tmp_path)
    assert (got.name, got.out_dim) == (task.name, task.out_dim)
    assert got.digest() == task.digest()
    for role, split in task.splits.items():
        assert got.splits[role].meta.keys() == split.meta.keys()
        for name, values in split.meta.items():
            np.testing.assert_array_equal(got.splits[role].meta[name], values, strict=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mmjax_task"]


def test_extreme_values_survive(tmp_path):
    task = synthetic(size=20)
    values = task.train.inputs["a"]
    values[0, :5] = [-0.0, np.float32(1e-45), np.float32(1e19), np.float32(0.1), -1]
    prepare(task, tmp_path)
    np.testing.assert_array_equal(
        tfds(tmp_path).train.inputs["a"].view(np.uint32), values.view(np.uint32)
    )


def test_two_tasks_need_two_folders(tmp_path, task):
    prepare(task, tmp_path / "one")
    prepare(task, tmp_path / "two")
    with pytest.raises(UsageError, match="folder: expected a folder without a task"):
        prepare(task, tmp_path / "one")


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "metadata"])
def test_damage_is_an_error_that_names_the_folder(tmp_path, task, damage):
    prepare(task, tmp_path)
    (data,) = (tmp_path / module.PLACE).glob("*train*")
    content = bytearray(data.read_bytes())
    used = [place for place, byte in enumerate(content) if byte]  # the rest is padding
    middle = used[len(used) // 2]
    if damage == "flip":
        content[middle] ^= 4
        data.write_bytes(content)
    elif damage == "cut":
        data.write_bytes(content[:middle])
    elif damage == "remove":
        data.unlink()
    else:
        (tmp_path / module.PLACE / "metadata.json").write_text("{}")
    with pytest.raises(DataError, match=r"mmjax_task/1\.0\.0: expected a task"):
        tfds(tmp_path)


def test_what_the_format_would_lose_is_refused(tmp_path, task):
    task.train.meta["weight"] = task.train.meta["weight"].astype(np.float64)
    with pytest.raises(DataError, match=r"valid: expected .*float64"):
        prepare(task, tmp_path)
    for split in task.splits.values():
        split.meta["weight"] = np.zeros(split.size)
    with pytest.raises(DataError, match=r"meta/weight: expected integers.*got float64 of shape"):
        prepare(task, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_task_is_explained(tmp_path):
    with pytest.raises(DataError, match=r"expected mmjax_task/1\.0\.0, got nothing"):
        tfds(tmp_path)
    with pytest.raises(DataError, match="expected a folder"):
        tfds(tmp_path / "missing")


def test_options_are_checked(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'public'"):
        tfds(tmp_path, source="publik")


def test_public_without_tensorflow_says_what_to_do(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"Install tensorflow, or use the task mnist_fsdd"):
        tfds(source="public")


def test_public_datasets_are_paired_as_the_publishers_split_them(monkeypatch):
    """With rows as the catalogue documents them, since its own loader needs TensorFlow."""
    rng = np.random.default_rng(0)

    def load(name, split, folder):
        if name == "mnist":
            for row in range({"train": 100, "test": 20}[split]):
                yield {"image": np.full((28, 28, 1), row % 10, np.uint8), "label": row % 10}
            return
        for digit in range(10):
            for take in rng.permutation(11):
                audio = rng.integers(-(2**15), 2**15, 500 + 10 * take)
                name = f"{digit}_ann_{take}.wav".encode()
                yield {"audio": audio, "audio/filename": name, "label": digit}

    monkeypatch.setattr(module, "_load_public", load)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    task = tfds(source="public")
    assert {role: split.size for role, split in task.splits.items()} == {
        "train": 90, "valid": 10, "test": 20,
    }  # fmt: skip
    takes = {role: set((split.group % 11).tolist()) for role, split in task.splits.items()}
    order = sorted(range(11), key=str)  # of names: 0, 1, 10, 2, ...
    assert {order[place] for place in takes["train"]} == {10}
    assert {order[place] for place in takes["valid"]} <= {5, 6, 7, 8, 9}
    assert {order[place] for place in takes["test"]} <= {0, 1, 2, 3, 4}
    for split in task.splits.values():
        np.testing.assert_array_equal(split.inputs["image"][:, 0, 0, 0], split.target)
        np.testing.assert_array_equal(split.group // 11, split.target)
