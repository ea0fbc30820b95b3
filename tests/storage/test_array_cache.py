"""Arrays are kept whole, found again, and made again if anything is wrong with them."""

import os
from pathlib import Path

import jax
import numpy as np
import pytest

from mmjax.data.chunks import on_disk
from mmjax.storage import array_cache
from mmjax.storage.array_cache import keep_array

ARRAY = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(array_cache, "_SPARE", 0)
    array_cache._tell_once.cache_clear()
    return tmp_path / "mmjax" / "arrays"


class Made:
    """Makes an array in batches, and counts how often."""

    def __init__(self, array=ARRAY):
        self.array, self.times = array, 0

    def __call__(self):
        self.times += 1
        yield self.array[:2]
        yield self.array[2:]

    def keep(self, key="ab", mapped=False, shape=None):
        found = keep_array(key, shape or self.array.shape, self, mapped=mapped)
        np.testing.assert_array_equal(found, self.array)
        assert found.dtype == np.float32
        return found


@pytest.mark.parametrize("mapped", [False, True])
def test_an_array_is_made_once(home, mapped):
    make = Made()
    assert on_disk(make.keep(mapped=mapped)) == mapped
    assert on_disk(make.keep(mapped=mapped)) == mapped
    assert make.times == 1
    np.testing.assert_array_equal(np.load(home / "ab.npy"), ARRAY)  # which ignores the checksum
    assert os.listdir(home) == ["ab.npy"]


DAMAGE = {
    "a flipped bit": lambda x: x[:-60] + bytes([x[-60] ^ 1]) + x[-59:],
    "a changed header": lambda x: x.replace(b"(5, 2, 3)", b"(2, 5, 3)"),
    "a truncated file": lambda x: x[:-40],
    "a truncated checksum": lambda x: x[:-1],
    "more than there was": lambda x: x + b"\0",
    "nothing": lambda x: b"",
    "a few bytes": lambda x: x[:10],
    "something else": lambda x: b"hello" * 100,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_array_is_made_again(home, name):
    make = Made()
    make.keep()
    path = home / "ab.npy"
    sound = path.read_bytes()
    damaged = DAMAGE[name](sound)
    assert damaged != sound
    path.write_bytes(damaged)
    make.keep()
    assert make.times == 2
    assert path.read_bytes() == sound


def test_an_array_of_another_shape_is_made_again(home):
    Made(ARRAY[:, :1]).keep()
    make = Made()
    make.keep()
    assert make.times == 1


def test_an_error_leaves_nothing_behind(home):
    def fail():
        yield ARRAY[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep_array("ab", ARRAY.shape, fail, mapped=False)
    assert not os.listdir(home)


def test_the_oldest_are_removed_beyond_the_limit(home, monkeypatch):
    one, size = Made(), 0
    for age, key in ((300, "aa"), (200, "bb"), (100, "cc")):
        one.keep(key)
        size = (home / f"{key}.npy").stat().st_size
        past = (home / f"{key}.npy").stat().st_mtime - age
        os.utime(home / f"{key}.npy", (past, past))
    one.keep("aa")  # is used again
    monkeypatch.setattr(array_cache, "LIMIT", 2 * size)
    one.keep("dd")
    assert sorted(os.listdir(home)) == ["aa.npy", "cc.npy", "dd.npy"]  # and the new one


def test_a_full_disk_keeps_nothing(home, monkeypatch, capsys):
    monkeypatch.setattr(array_cache, "_SPARE", 1 << 60)
    make = Made()
    make.keep()
    make.keep(mapped=True)
    assert make.times == 2
    assert capsys.readouterr().err.count("not kept") == 1
    assert not os.listdir(home)


def test_a_disk_that_becomes_full_keeps_nothing(home, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(array_cache, "_write", fail)
    Made().keep()


def test_a_folder_of_others_is_not_used(home, capsys):
    Made().keep()
    Path(home).chmod(0o777)
    make = Made()
    make.keep()
    assert make.times == 1
    assert "other users" in capsys.readouterr().err


def test_jax_own_switch_keeps_nothing(home):
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        Made().keep()
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert not home.exists()
