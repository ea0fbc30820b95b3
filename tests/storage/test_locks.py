"""Files and folders that one process has to itself."""

import errno
import fcntl
import os
import threading

import pytest

from mmjax.errors import UsageError
from mmjax.storage.files import has_files, write_text
from mmjax.storage.locks import held, locked


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
