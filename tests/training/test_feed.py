"""Rows that are streamed train as those on the device, bit by bit, from any step on."""

import math
import signal
import sys
from functools import partial

import jax
import numpy as np
import pytest
from killed import contents
from small import make_task

import mmjax.training.feed
import mmjax.training.fit
from mmjax.analysis.cost import cost_row
from mmjax.comparison.arm import make_arm
from mmjax.errors import DataError, Interrupted, UsageError
from mmjax.tasks.arrays import arrays, save
from mmjax.tasks.tfds import prepare, tfds
from mmjax.training.checkpoint import Checkpoints
from mmjax.training.epochs import batch_rows
from mmjax.training.feed import Stream, cut_steps, make_feed, place, process_part
from mmjax.training.fit import fit
from mmjax.training.predict import Chunks
from mmjax.training.program import compile_recipe
from mmjax.training.recipe import Recipe, make_model

pytest.importorskip("grain")

SEEDS, BATCH, STEPS = (0, 3), 18, 17  # five steps an epoch, six rows left over
DISK = {"arrays": (save, arrays), "array_record": (prepare, partial(tfds, rows="disk"))}


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    """Blocks of at most three steps, and calls of four."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmjax.training.feed, "_BLOCK_BYTES", 3 * len(SEEDS) * BATCH * 158)
        patch.setattr(mmjax.training.fit, "_FIRST_CALL", 4)
        patch.setattr(mmjax.training.fit, "_CALL_SECONDS", 1e-9)
        yield


@pytest.fixture(scope="module")
def task():
    return make_task().only("vector", "sequence")


@pytest.fixture(scope="module")
def recipe(task):
    model = make_model(task, "concat", {"sequence": "mlp"})
    return Recipe(model, batch_size=BATCH, steps=STEPS, seeds=SEEDS)


@pytest.fixture(scope="module")
def on_device(task, recipe):
    return fit(recipe, task)


@pytest.fixture(scope="module")
def program(task, recipe):
    """The recipe compiled for rows that are streamed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMJAX_FEED", "stream")
        return compile_recipe(recipe, task)


@pytest.fixture
def streamed(monkeypatch):
    monkeypatch.setenv("MMJAX_FEED", "stream")


def check_equal(got, want):
    all_of = lambda run: contents((run.params, run.state, run.history, run.best_step))
    got, want = all_of(got), all_of(want)
    assert got.keys() == want.keys()
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


@pytest.mark.slow
def test_a_streamed_run_is_that_on_the_device_bit_by_bit(
    task, recipe, program, on_device, streamed
):
    check_equal(fit(recipe, task, program=program), on_device)


@pytest.mark.slow
def test_so_it_is_where_all_seeds_run_at_once(task, recipe, monkeypatch):
    monkeypatch.setenv("MMJAX_LANES", "vmap")
    want = fit(recipe, task)
    monkeypatch.setenv("MMJAX_FEED", "stream")
    check_equal(fit(recipe, task), want)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DISK)
def test_rows_on_disk_train_as_those_in_memory(task, recipe, program, on_device, tmp_path, kind):
    write, read = DISK[kind]
    write(task, tmp_path)
    there = read(tmp_path)
    assert there.digest() == task.digest()
    trained = fit(recipe, there, program=program)
    check_equal(trained, on_device)
    rows = there.test.batch()
    want = on_device.predict(on_device.params, task.test.batch())
    np.testing.assert_array_equal(trained.predict(trained.params, rows), want)


@pytest.mark.slow
def test_a_streamed_run_goes_on_in_the_middle_of_a_block(
    task, recipe, program, on_device, tmp_path, streamed
):
    made = iter(range(100))

    def stop(steps):
        if next(made) in (0, 2, 4):
            raise Interrupted(signal.SIGTERM)

    train = partial(fit, recipe, task, progress=stop, program=program)
    for _ in range(3):
        with pytest.raises(Interrupted):
            train(checkpoints=Checkpoints(tmp_path, {}))
    check_equal(train(checkpoints=Checkpoints(tmp_path, {})), on_device)


@pytest.mark.slow
def test_a_run_may_go_on_with_the_other_way_to_feed(
    task, recipe, program, on_device, tmp_path, monkeypatch
):
    kept = lambda: Checkpoints(tmp_path, {})

    def stop(steps):
        raise Interrupted(signal.SIGTERM)

    with pytest.raises(Interrupted):
        fit(recipe, task, program=on_device.program, progress=stop, checkpoints=kept())
    monkeypatch.setenv("MMJAX_FEED", "stream")
    check_equal(fit(recipe, task, program=program, checkpoints=kept()), on_device)


def test_blocks_hold_the_rows_of_their_steps(task):
    rows = task.train.batch()
    stream = Stream(rows, SEEDS, BATCH, STEPS)
    calls = [
        call for span in [(0, 2), (2, 5), (11, 15), (15, 17), (3, 4)] for call in stream(*span)
    ]
    assert [call[1:] for call in calls] == [
        (0, 2), (2, 3), (3, 5), (11, 14), (14, 15), (15, 17), (3, 4),
    ]  # fmt: skip
    for block, first, last in calls:
        for step in range(first, last):
            for lane, seed in enumerate(SEEDS):
                want = batch_rows(jax.random.key(seed), step, rows.target, BATCH)
                place = step - block.first[lane]
                np.testing.assert_array_equal(block.rows.target[lane, place], rows.target[want])
                got = block.rows.inputs["vector"][lane, place]
                np.testing.assert_array_equal(got, rows.inputs["vector"][want])


@pytest.mark.parametrize("size", [1, 3, 100])
def test_blocks_are_of_one_epoch_and_have_every_step_once(size):
    blocks = cut_steps(7, 42, 10, size)
    assert [step for block in blocks for step in block] == list(range(7, 42))
    assert all(block[0] // 10 == block[-1] // 10 and len(block) <= size for block in blocks)


@pytest.mark.parametrize("count", [1, 2, 3, 18])
def test_processes_read_every_row_of_a_batch_once(task, count):
    make = partial(Stream, task.train.batch(), SEEDS, BATCH, STEPS)
    first_block = lambda stream: next(stream(0, 5))[0]
    whole = first_block(make())
    parts = [
        first_block(make(part=process_part(BATCH, index, count))).rows for index in range(count)
    ]
    joined = jax.tree.map(lambda *x: np.concatenate(x, axis=2), *parts)
    jax.tree.map(np.testing.assert_array_equal, joined, whole.rows)


def test_processes_that_do_not_divide_a_batch_are_refused():
    with pytest.raises(
        UsageError, match="batch_size: expected a multiple of 4, the number of processes, got 18"
    ):
        process_part(18, 0, 4)


def test_rows_are_streamed_that_are_on_disk_or_too_many(task, tmp_path, monkeypatch):
    monkeypatch.delenv("MMJAX_FEED", raising=False)
    is_streamed = lambda split: isinstance(make_feed(split, SEEDS, BATCH, STEPS), Stream)
    save(task, tmp_path)
    mapped = arrays(tmp_path)
    assert is_streamed(mapped.train)
    assert not is_streamed(task.train)
    assert isinstance(place(task.train, 8), Chunks)
    assert place(mapped.train, 8).inputs["vector"] is mapped.train.inputs["vector"]

    class Device:
        memory = sum(x.nbytes for x in task.train.inputs.values()) * 2

        def memory_stats(self):
            return {"bytes_limit": self.memory}

    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    assert not is_streamed(task.train)
    Device.memory -= 1
    assert is_streamed(task.train)
    monkeypatch.setenv("MMJAX_FEED", "device")
    assert not is_streamed(task.train)
    monkeypatch.setenv("MMJAX_FEED", "strema")
    with pytest.raises(UsageError, match="MMJAX_FEED: expected one of device, stream"):
        make_feed(task.train, SEEDS, BATCH, STEPS)


def test_without_grain_it_is_said_how_to_get_it(task, streamed, monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(UsageError, match=r'pip install "mmjax\[grain\]"'):
        make_feed(task.train, SEEDS, BATCH, STEPS)


@pytest.mark.slow
def test_a_file_that_breaks_while_it_is_read_is_named(task, recipe, program, tmp_path):
    prepare(task, tmp_path)
    there = tfds(tmp_path, rows="disk")
    (data,) = tmp_path.glob("*/*/*train*")
    content = bytearray(data.read_bytes())
    used = [place for place, byte in enumerate(content) if byte]  # the rest is padding
    content[used[len(used) // 2]] ^= 4
    data.write_bytes(content)
    with pytest.raises(DataError, match=r"mmjax_task/1\.0\.0: expected a task"):
        fit(recipe, there, program=program)


@pytest.mark.slow
def test_the_cost_of_a_streamed_arm_counts_a_block_in_place_of_all_rows(task, streamed):
    arm = make_arm(task, "concat", encoders={"sequence": "mlp"}, batch_size=BATCH, steps=2)
    row = cost_row(arm, fit(arm.recipe, arm.task))
    assert row["step_flops"] > row["flops"] > 0
    assert math.isfinite(row["step_ms"])
