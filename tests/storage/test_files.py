"""Files that are whole or not there."""

import os
from pathlib import Path

import numpy as np
import pytest

from mmjax.storage.files import has_files, whole_file, write_npz, write_text
from mmjax.storage.reading import read_npz


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old\n")
    with whole_file(path) as file:
        file.write(b"new\n")
        assert path.read_text() == "old\n"
    assert path.read_text() == "new\n"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_file_is_left_as_it_was_when_the_block_fails(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old\n")

    def interrupted():
        with whole_file(path) as file:
            file.write(b"new\n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old\n"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_link_stays_a_link_and_a_device_a_device(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_text(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "x"
    write_text(Path(os.devnull), "x")
    assert not Path(os.devnull).is_file()


def test_arrays_may_be_called_anything(tmp_path):
    names = ("file", "allow_pickle", "args", "kwds", "arr_0")
    arrays = {name: np.arange(6.0).reshape(2, 3).T + i for i, name in enumerate(names)}
    write_npz(tmp_path / "a.npz", arrays)
    for found in (read_npz(tmp_path / "a.npz"), dict(np.load(tmp_path / "a.npz"))):
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array, strict=True)


def test_an_error_names_the_file(tmp_path):
    path = tmp_path / "missing" / "a.txt"
    with pytest.raises(FileNotFoundError, match=r"the file was not changed: .*missing/a\.txt"):
        write_text(path, "x")


@pytest.mark.parametrize("name", ["lock", ".run.json.12.part"])
def test_what_a_killed_process_leaves_is_no_file_of_a_run(tmp_path, name):
    (tmp_path / name).touch()
    assert not has_files(tmp_path)
    (tmp_path / "run.json").touch()
    assert has_files(tmp_path)
