"""A run that was stopped goes on as if it had not been."""

import signal
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from killed import contents, differing, kill_one, start
from representatives import representatives
from small import make_task

import mmjax.training.fit
from mmjax.errors import DataError, DivergenceError, Interrupted
from mmjax.methods import METHODS
from mmjax.methods.stacking import Stacking
from mmjax.training.checkpoint import Checkpoints
from mmjax.training.epochs import batch_rows
from mmjax.training.fit import fit
from mmjax.training.program import compile_recipe
from mmjax.training.recipe import Recipe, make_model
from mmjax.training.step import MAX_SKIPPED


@pytest.fixture(scope="module")
def task():
    return make_task().only("vector", "sequence")


@pytest.fixture
def short_calls(monkeypatch):
    """Calls of four steps: an epoch of six is interrupted in its middle and at its end."""
    monkeypatch.setattr(mmjax.training.fit, "_FIRST_CALL", 4)
    monkeypatch.setattr(mmjax.training.fit, "_CALL_SECONDS", 1e-9)


FEW_FOLDS = {"stacking": Stacking(folds=2)}
NEEDED = {"mla": "mean", "stacking": "stacking"}  # the others take any fusion


def make_recipe(task, fusion="concat", **fields):
    model = make_model(task, fusion, {"sequence": "mlp"})
    return Recipe(model, **{"batch_size": 16, "steps": 15, "seeds": (0, 1), **fields})


def stop_after(calls):
    """Progress that heeds a signal, which has come after so many calls of it."""
    made = iter(range(100))

    def progress(steps):
        if next(made) >= calls:
            raise Interrupted(signal.SIGTERM)

    return progress


def all_of(trained):
    curves = trained.history, trained.losses
    return contents((trained.params, trained.state, *curves, trained.best_step))


def check_equal(got, want):
    got, want = all_of(got), all_of(want)
    assert got.keys() == want.keys()
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


@pytest.mark.parametrize("method", representatives(METHODS, ["joint"]))
def test_a_resumed_run_is_the_uninterrupted_one_bit_by_bit(task, tmp_path, method, short_calls):
    recipe = make_recipe(
        task, NEEDED.get(method, "concat"), method=FEW_FOLDS.get(method, METHODS[method]())
    )
    train = partial(fit, recipe, task, program=compile_recipe(recipe, task))
    for calls in (1, 2):  # twice in a row
        with pytest.raises(Interrupted):
            train(checkpoints=Checkpoints(tmp_path, {}), progress=stop_after(calls))
    check_equal(train(checkpoints=Checkpoints(tmp_path, {})), train())


@pytest.mark.slow
def test_one_seed_and_an_end_of_an_epoch(task, tmp_path, short_calls):
    recipe = make_recipe(task, seeds=(3,))
    train = partial(fit, recipe, task, program=compile_recipe(recipe, task))
    want = train()
    for calls in range(1, 6):
        folder = tmp_path / str(calls)
        with pytest.raises(Interrupted):
            train(checkpoints=Checkpoints(folder, {}), progress=stop_after(calls))
        check_equal(train(checkpoints=Checkpoints(folder, {})), want)


def test_in_how_many_calls_an_epoch_is_taken_makes_no_difference(task, monkeypatch):
    recipe = make_recipe(task)
    train = partial(fit, recipe, task, program=compile_recipe(recipe, task))
    whole = train()
    monkeypatch.setattr(mmjax.training.fit, "_FIRST_CALL", 1)
    monkeypatch.setattr(mmjax.training.fit, "_CALL_SECONDS", 1e-9)
    check_equal(train(), whole)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(task, tmp_path, short_calls):
    recipe = make_recipe(task)
    train = partial(fit, recipe, task, program=compile_recipe(recipe, task))
    want = train()
    keep = lambda: Checkpoints(tmp_path, {}, every=0.0)
    with pytest.raises(Interrupted):
        train(checkpoints=keep(), progress=stop_after(3))
    _, last = sorted(tmp_path.iterdir())
    flip_a_bit(largest_file(last / "arrays"))
    with pytest.warns(UserWarning, match="corrupted"):
        check_equal(train(checkpoints=keep()), want)


def test_no_whole_checkpoint_is_an_error(task, tmp_path):
    recipe = make_recipe(task)
    train = partial(fit, recipe, task, program=compile_recipe(recipe, task))
    with pytest.raises(Interrupted):
        train(checkpoints=Checkpoints(tmp_path, {}), progress=stop_after(0))
    (only,) = tmp_path.iterdir()
    flip_a_bit(only / "manifest.json")
    with pytest.warns(UserWarning, match="corrupted"), pytest.raises(DataError, match=only.name):
        train(checkpoints=Checkpoints(tmp_path, {}))


def test_a_checkpoint_of_another_run_is_refused(task, tmp_path):
    recipe = make_recipe(task)
    identity = {"recipe": "one"}
    with pytest.raises(Interrupted):
        fit(recipe, task, checkpoints=Checkpoints(tmp_path, identity), progress=stop_after(0))
    with pytest.raises(DataError, match="expected recipe 'two', got 'one'"):
        fit(recipe, task, checkpoints=Checkpoints(tmp_path, {"recipe": "two"}))


def largest_file(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return max(files, key=lambda path: path.stat().st_size)


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# Killed


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    rng = np.random.default_rng(0)
    assert start(tmp_path / "whole").wait() == 0
    for index in range(3):
        folder = tmp_path / str(index)
        assert kill_one(folder, rng) > 0
        assert differing(folder, tmp_path / "whole") == []
    wrong = tmp_path / "wrong"
    assert kill_one(wrong, rng, "--forget") > 0
    assert differing(wrong, tmp_path / "whole")


# Numbers


def poisoned(task, rows):
    """The task with features in some training rows that are as large as tasks admit."""
    vector = task.train.inputs["vector"].copy()
    vector[rows] = 1e19
    return replace(task, train=replace(task.train, inputs={**task.train.inputs, "vector": vector}))


def squared_loss(outputs, batch):
    return jnp.square(1e3 * outputs.prediction).sum(), {}


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(task):
    only = task.only("vector")
    recipe = Recipe(make_model(only, "concat"), squared_loss, batch_size=16, steps=6, seeds=(0,))
    rows = np.arange(96)[np.asarray(only.train.present["vector"])][:1]
    trained = fit(recipe, poisoned(only, rows))
    assert trained.state.skipped.total.tolist() == [1]
    assert trained.history[0]["skipped"].tolist() == [1]
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(trained.state.params))
    assert np.isfinite(trained.history[0]["loss"]).all()
    assert not trained.diverged.any()


def test_training_without_a_finite_step_ends_with_the_rows(task, tmp_path):
    only = task.only("vector")
    recipe = Recipe(make_model(only, "concat"), squared_loss, batch_size=16, steps=60, seeds=(4,))
    everything = poisoned(only, slice(None))
    rows = batch_rows(jax.random.key(4), 0, np.zeros(96), 16)
    with pytest.raises(
        DivergenceError, match=f"step 0, seed 4, training rows {rows[0]}, {rows[1]},"
    ):
        fit(recipe, everything)


@pytest.mark.slow
def test_a_seed_that_diverges_does_not_touch_the_others(task):
    steps = 8 * MAX_SKIPPED
    recipe = make_recipe(task, steps=steps, patience=steps, dropout=0.1)
    rates = lambda *r: replace(recipe, tx=replace(recipe.tx, learning_rate=r, clip=1e30))
    both = fit(rates(1e-3, 1e30), task)
    alone = fit(replace(rates(1e-3), seeds=(0,)), task)
    assert both.diverged.tolist() == [False, True]
    assert both.state.skipped.total[0] == 0
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(both.params))
    for a, b in zip(both.history, alone.history, strict=True):
        np.testing.assert_allclose(a["loss"][0], b["loss"][0], rtol=1e-5)
