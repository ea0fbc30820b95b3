"""The cache of compiled programs: results do not depend on it, and nothing amiss stops a run."""

import json
import os
import pwd
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import jax
import numpy as np
import pytest
from digest import COST
from jax.experimental.compilation_cache import compilation_cache

from mmjax.cli import main
from mmjax.storage import compile_cache as cache

# What the whole run sets.
OURS = ("JAX_COMPILATION_CACHE_DIR", *(name.upper() for name in cache._SETTINGS))
TOUCHED = ("jax_compilation_cache_dir", "jax_enable_compilation_cache", *cache._SETTINGS)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A cache folder of the test's own, and JAX's settings as a user has them."""
    before = {name: getattr(jax.config, name) for name in TOUCHED}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in OURS:
        monkeypatch.delenv(name)
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", None)
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)


def run_cached(home, enabled="true"):
    """What a new process finds with its cache there, or with none, and what it printed besides."""
    here = str(Path(__file__).parents[1])
    ours = {"XDG_CACHE_HOME": str(home), "PYTHONPATH": here}
    ours["JAX_ENABLE_COMPILATION_CACHE"] = enabled
    code = "import digest, json; from mmjax.storage import compile_cache"
    code += "; compile_cache.enable_compilation_cache()"
    code += "; print(json.dumps(digest.fit_and_digest()))"
    env = {name: value for name, value in os.environ.items() if name not in OURS} | ours
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout), done.stderr


def entries(home):
    return {path: path.stat().st_mtime_ns for path in home.rglob("*-cache")}


@pytest.mark.slow
def test_results_are_the_same_without_with_an_empty_and_with_a_full_cache(tmp_path):
    plain, said = run_cached(tmp_path, enabled="false")
    assert not said
    assert not entries(tmp_path)
    cold, said = run_cached(tmp_path)
    assert (cold, said) == (plain, "")
    made = entries(tmp_path)
    assert len(made) > 10
    first, second, *others = sorted(made)
    os.truncate(first, first.stat().st_size // 2)
    second.write_bytes(b"")
    warm, said = run_cached(tmp_path)
    assert (warm, said) == (plain, "")
    after = entries(tmp_path)
    assert set(after) == set(made)
    assert second.stat().st_size  # compiled again
    assert all(after[path] == made[path] for path in others)  # loaded
    assert set(COST) < set(plain)


def test_programs_lie_in_a_folder_of_this_cpu(home):
    folder = cache.enable_compilation_cache()
    assert folder == home / "mmjax" / "programs" / cache.cpu_identity()
    assert folder.stat().st_mode & 0o077 == 0
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert {name: getattr(jax.config, name) for name in cache._SETTINGS} == cache._SETTINGS


def test_settings_of_jax_come_first(home, monkeypatch):
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "7")
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    assert cache.enable_compilation_cache()
    assert jax.config.jax_persistent_cache_min_compile_time_secs == before
    jax.config.update("jax_compilation_cache_dir", str(home / "mine"))
    assert cache.enable_compilation_cache() is None
    assert jax.config.jax_compilation_cache_dir == str(home / "mine")
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_enable_compilation_cache", False)
    assert cache.enable_compilation_cache() is None
    assert jax.config.jax_compilation_cache_dir is None


def test_programs_are_cached_in_a_context_only_and_after_others_were_compiled(home):
    jax.jit(lambda x: x + 1)(1)  # without a cache, which JAX remembers
    before = {name: getattr(jax.config, name) for name in TOUCHED}
    with cache.cached_programs(pytest.fail):
        jax.jit(lambda x: x * 7 + 1)(2)
        made = entries(home)
        assert made
    assert {name: getattr(jax.config, name) for name in TOUCHED} == before
    jax.jit(lambda x: x * 9 + 1)(2)
    assert entries(home) == made


def test_what_prevents_the_cache_is_said(home):
    (home / "mmjax").touch()
    said = []
    with cache.cached_programs(said.append):
        assert jax.jit(lambda x: x * 11)(2) == 22
    assert len(said) == 1
    assert said[0].startswith("compiled programs are not cached: ")


def make_a_file_of_it(home, monkeypatch):
    (home / "mmjax").touch()


def forbid_writing(home, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)


def fill_the_disk(home, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 0))


NO_DATA = ["--task", "folder", "--data", "no-such-folder"]


@pytest.mark.parametrize("spoil", [make_a_file_of_it, forbid_writing, fill_the_disk])
def test_a_folder_that_cannot_be_used_costs_the_command_one_line(home, monkeypatch, capsys, spoil):
    spoil(home, monkeypatch)
    with pytest.raises(SystemExit):
        main(["train", "concat", *NO_DATA])
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("mmjax: compiled programs are not cached: ")
    assert "no-such-folder" in second
    assert jax.config.jax_compilation_cache_dir is None


def programs(home):
    return home / "mmjax" / "programs" / cache.cpu_identity()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_programs_that_others_could_have_written_are_not_run(home, mode):
    programs(home).mkdir(parents=True)
    programs(home).chmod(mode)
    with pytest.raises(PermissionError, match=r"other users can write to .*; .*chmod go-w"):
        cache.enable_compilation_cache()
    assert jax.config.jax_compilation_cache_dir is None


def test_nor_where_others_could_put_a_folder_in_its_place(home):
    (home / "mmjax").mkdir(mode=0o700)
    (home / "mmjax").chmod(0o777)
    with pytest.raises(PermissionError, match=f"can write to {home / 'mmjax'}, and"):
        cache.enable_compilation_cache()
    (home / "mmjax").chmod(0o1777)  # as /tmp: what is there is its owner's
    assert cache.enable_compilation_cache() == programs(home)


def test_nor_where_the_folder_is_another_users(home, monkeypatch):
    programs(home).mkdir(parents=True)
    if os.getuid() == 0:  # who may do anything, and is trusted
        os.chown(programs(home), 1234, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionError, match="other users can write to"):
        cache.enable_compilation_cache()


def test_a_group_of_the_user_alone_may_write(home, monkeypatch):
    (home / "mmjax").mkdir()
    (home / "mmjax").chmod(0o775)
    user = pwd.getpwuid(os.geteuid()).pw_name
    group = namedtuple("group", "gr_name")
    monkeypatch.setattr(cache.grp, "getgrgid", lambda number: group(user))
    assert cache.enable_compilation_cache()
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setattr(cache.grp, "getgrgid", lambda number: group("staff"))
    with pytest.raises(PermissionError, match="other users"):
        cache.enable_compilation_cache()


@pytest.mark.parametrize("verb", [["compare"], ["train", "sum"], ["evaluate"], ["predict"]])
def test_every_command_that_compiles_turns_it_on(home, tmp_path, capsys, verb):
    aim = NO_DATA if verb[0] in ("compare", "train") else [str(tmp_path / "none")]
    out = ["--out", str(tmp_path / "p.csv")] if verb == ["predict"] else []
    with pytest.raises(SystemExit):
        main([*verb, *aim, *out])
    assert jax.config.jax_compilation_cache_dir


def test_trim_removes_what_is_empty_old_or_oldest(tmp_path):
    days = {"new": 1, "b/mid": 1.5, "older": 2, "expired": 31, "empty": 0}
    sizes = {"new": 60, "b/mid": 30, "older": 60, "expired": 1, "empty": 0}
    (tmp_path / "b").mkdir()
    for name, size in sizes.items():
        path = tmp_path / name
        path.write_bytes(bytes(size))
        written = path.stat().st_mtime - days[name] * 86_400
        os.utime(path, (written, written))
    cache.trim(tmp_path, 100, 30)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"new", "mid"}
    cache.trim(tmp_path / "missing", 100, 30)


CPUINFO = """processor\t: {core}
model name\t: Xeon
cpu MHz\t\t: {speed}
flags\t\t: fpu sse {more}
"""


def test_the_kind_of_cpu_is_its_model_and_instructions():
    one = cache.describe_cpuinfo(CPUINFO.format(core=0, speed=1.0, more="avx2"))
    two = cache.describe_cpuinfo(
        "\n".join(CPUINFO.format(core=core, speed=core, more="avx2") for core in (0, 1))
    )
    assert one == two == "flags\t\t: fpu sse avx2\nmodel name\t: Xeon"
    assert cache.describe_cpuinfo(CPUINFO.format(core=0, speed=1.0, more="")) != one


@pytest.fixture
def apart(tmp_path):
    """A folder for what is compiled now, in however short a time, apart from that of the run."""
    before, least = jax.config.jax_compilation_cache_dir, next(iter(cache._SETTINGS))
    seconds = getattr(jax.config, least)
    jax.config.update(least, 0.0)
    for folder in (str(tmp_path), before):
        compilation_cache.reset_cache()
        jax.config.update("jax_compilation_cache_dir", folder)
        if folder != before:
            yield tmp_path
    jax.config.update(least, seconds)


def test_a_program_of_which_another_process_has_written_half_is_compiled_again(apart):
    """As all tests have it, where a warning is an error."""
    x = np.arange(5, dtype=np.float32)
    triple = lambda x: 3 * x
    np.testing.assert_array_equal(jax.jit(triple)(x), 3 * x)
    written = list(apart.glob("*-cache"))
    assert written
    for path in written:
        os.truncate(path, path.stat().st_size // 2)
    jax.clear_caches()
    np.testing.assert_array_equal(jax.jit(triple)(x), 3 * x)


def test_the_programs_of_a_test_run_lie_apart_from_the_users():
    folder = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    assert folder.is_dir()
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert cache.cache_home() not in folder.parents
    assert cache.enable_compilation_cache() is None  # so that commands write nothing elsewhere
