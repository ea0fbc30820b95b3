"""Files that are whole or not there, and folders that one process has to itself."""

import errno
import fcntl
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from mmjax.errors import UsageError
from mmjax.storage.files import has_files, held, locked, whole_file, write_npz, write_text
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
    with pytest.raises(FileNotFoundError, match=r"left as it was: .*missing/a\.txt"):
        write_text(path, "x")


def test_a_locked_folder_is_refused_and_names_its_holder(tmp_path):
    out = tmp_path / "new" / "run"
    with locked(out):
        assert not has_files(out)
        with pytest.raises(UsageError, match=rf"{out}, which process {os.getpid()} on .+ has loc"):
            locked(out).__enter__()
    assert os.listdir(out) == []
    with pytest.raises(RuntimeError), locked(out):
        raise RuntimeError
    with locked(out):
        pass


def test_who_waits_for_a_locked_folder_has_it_next(tmp_path):
    order = []

    def wait():
        with locked(tmp_path, wait=True):
            order.append("second")

    with locked(tmp_path):
        second = threading.Thread(target=wait)
        second.start()
        second.join(timeout=0.2)
        order.append("first")
    second.join()
    assert order == ["first", "second"]


def test_what_has_the_name_when_the_lock_comes_is_held(tmp_path, monkeypatch):
    """As if its last holder had replaced the file between opening and locking it."""
    path, flock = tmp_path / "a", fcntl.flock

    def replace_once(*arguments):
        monkeypatch.setattr(fcntl, "flock", flock)
        write_text(path, "new")
        flock(*arguments)

    path.write_text("old")
    monkeypatch.setattr(fcntl, "flock", replace_once)
    with held(path, wait=True) as file:
        file.seek(0)
        assert file.read() == b"new"


def test_without_locks_there_is_a_warning(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="has no locks"), locked(tmp_path):
        pass


@pytest.mark.parametrize("name", ["lock", ".run.json.12.part"])
def test_what_a_killed_process_leaves_is_no_file_of_a_run(tmp_path, name):
    (tmp_path / name).touch()
    assert not has_files(tmp_path)
    (tmp_path / "run.json").touch()
    assert has_files(tmp_path)
