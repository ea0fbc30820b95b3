"""Checkpoints come back bit for bit, or not at all."""

import errno
import os
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from faults import file_size_limit

from mmjax.errors import DataError
from mmjax.training import checkpoint
from mmjax.training.step import init_state


@pytest.fixture
def state():
    params = {"a.b": {"kernel": jnp.arange(6.0).reshape(2, 3)}, "c": jnp.ones(2, jnp.bfloat16)}
    return init_state(params, optax.adam(1e-3), 5)


def test_a_state_comes_back_with_its_structure_and_bits(tmp_path, state):
    checkpoint.save(tmp_path / "new", state, {"loss": [0.1, float("inf")], "step": 3})
    got, facts = checkpoint.restore(tmp_path / "new", state)
    assert facts == {"loss": [0.1, float("inf")], "step": 3}
    assert jax.tree.structure(got) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(state), strict=True):
        assert a.dtype == b.dtype
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s._replace(step=jnp.float32(0)),
        lambda s: s._replace(params={**s.params, "c": jnp.ones(3, jnp.bfloat16)}),
        lambda s: s._replace(params={**s.params, "new": jnp.ones(3)}),
        lambda s: s._replace(params={"c": s.params["c"]}),
    ],
)
def test_another_dtype_shape_or_name_is_refused(tmp_path, state, change):
    checkpoint.save(tmp_path / "new", state)
    with pytest.raises(DataError, match="the arrays of this model"):
        checkpoint.restore(tmp_path / "new", change(state))


def test_what_is_no_checkpoint_is_refused(tmp_path, state):
    for folder in (tmp_path / "missing", tmp_path):
        with pytest.raises(DataError, match=r"manifest\.json: expected the manifest"):
            checkpoint.restore(folder, state)


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_flipped_bit_in_any_file_is_noticed(tmp_path, state):
    checkpoint.save(tmp_path / "new", state)
    files = files_of(tmp_path / "new")
    assert len(files) > 3
    for path in files:
        intact = path.read_bytes()
        for place in np.linspace(0, len(intact) - 1, 5).astype(int):
            damaged = bytearray(intact)
            damaged[place] ^= 4
            path.write_bytes(damaged)
            with pytest.raises(DataError, match=re.escape(str(path))):
                checkpoint.restore(tmp_path / "new", state)
        path.write_bytes(intact)
    checkpoint.verify(tmp_path / "new")


def test_a_missing_and_a_new_file_are_noticed(tmp_path, state):
    checkpoint.save(tmp_path / "new", state)
    (tmp_path / "new" / "arrays" / "more").write_text("")
    with pytest.raises(DataError, match="more: expected the checkpoint"):
        checkpoint.verify(tmp_path / "new")
    (tmp_path / "new" / "arrays" / "more").unlink()
    files_of(tmp_path / "new" / "arrays")[0].unlink()
    with pytest.raises(DataError, match="no such file"):
        checkpoint.verify(tmp_path / "new")


def test_what_is_left_of_a_save_that_was_killed_is_no_checkpoint(tmp_path, state):
    (tmp_path / ".new.unfinished" / "arrays").mkdir(parents=True)
    checkpoints = checkpoint.Checkpoints(tmp_path, {})
    assert not checkpoints.exist
    with pytest.raises(DataError, match="got none"):
        checkpoints.latest(state)
    checkpoint.save(tmp_path / "new", state)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_the_last_few_are_kept(tmp_path, state):
    kept = checkpoint.Checkpoints(tmp_path, {"run": "a"}, every=0.0)
    for step in (8, 9, 10):
        kept.offer(step, lambda: state, lambda step=step: {"step": step})
    kept.close()
    assert [int(path.name) for path in sorted(tmp_path.iterdir())] == [9, 10]
    found = checkpoint.Checkpoints(tmp_path, {"run": "a"}).latest(state)
    assert found.facts["step"] == 10


def test_one_of_another_run_is_told_from_one_that_is_damaged(tmp_path, state, recwarn):
    kept = checkpoint.Checkpoints(tmp_path, {"recipe": "wide"}, every=0.0)
    kept.offer(8, lambda: state, dict)
    kept.close()
    narrow = state._replace(params={"c": state.params["c"]})
    with pytest.raises(DataError, match=r"expected recipe 'narrow', got 'wide'.*another run"):
        checkpoint.Checkpoints(tmp_path, {"recipe": "narrow"}).latest(narrow)
    assert not recwarn.list


def test_nothing_is_saved_before_it_is_time(tmp_path, state):
    kept = checkpoint.Checkpoints(tmp_path / "steps", {}, every=3600.0)
    kept.offer(1, lambda: state, dict)
    kept.close()
    assert not (tmp_path / "steps").exists()


def test_a_save_that_fails_is_reported_and_leaves_the_earlier_one(tmp_path, state, monkeypatch):
    kept = checkpoint.Checkpoints(tmp_path, {}, every=0.0)
    kept.offer(1, lambda: state, dict)
    kept._wait()

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    kept.offer(2, lambda: state, dict)
    with pytest.raises(OSError, match="No space left"):
        kept.close()
    assert checkpoint.Checkpoints(tmp_path, {}).latest(state).facts["identity"] == {}


@pytest.mark.parametrize("name", ["run[1]", "a*b?", "\x1b=", os.fsdecode(b"\xff")])
def test_the_name_of_a_folder_is_a_name(tmp_path, state, name):
    checkpoint.save(tmp_path / name / name, state)
    got = checkpoint.restore(tmp_path / name / name, state).tree
    np.testing.assert_array_equal(got.params["c"], state.params["c"])


def test_all_of_it_is_on_the_disk_before_it_has_its_name(tmp_path, state, monkeypatch):
    synced, fsync, rename, named = set(), os.fsync, os.rename, []

    def note(descriptor):
        synced.add(os.stat(f"/proc/self/fd/{descriptor}").st_ino)
        fsync(descriptor)

    def check(old, new):
        if Path(new) == tmp_path / "new":  # and not one of orbax's own
            inside = [Path(old), *Path(old).rglob("*")]
            named.append([path for path in inside if path.stat().st_ino not in synced])
        rename(old, new)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "rename", check)
    checkpoint.save(tmp_path / "new", state)
    assert named == [[]]
    assert tmp_path.stat().st_ino in synced


def test_a_full_disk_is_one_error_that_names_the_checkpoint(tmp_path, state, capfd):
    checkpoint.save(tmp_path / "new", state)
    large = {"kernel": np.random.default_rng(0).random(10_000)}
    message = re.escape(f"too large: '{tmp_path / 'new'}'")
    with file_size_limit(5000), pytest.raises(OSError, match=message):
        checkpoint.save(tmp_path / "new", large)
    assert not capfd.readouterr().err  # orbax would add forty lines of its own
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    checkpoint.restore(tmp_path / "new", state)
