"""Rows that are streamed train as those on the device, from any step, and their files are checked."""

import os
import signal
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from killed import contents
from small import make_task

import mmjax.fit
import mmjax.stream
from mmjax.checkpoint import Checkpoints
from mmjax.errors import Interrupted, UsageError
from mmjax.fit import fit
from mmjax.recipe import Recipe, make_model
from mmjax.stream import Stream, cut, make_feed, process_part
from mmjax.train import batch_rows

pytest.importorskip("grain")


@pytest.fixture(scope="module")
def task():
    return make_task().only("vector", "sequence")


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of three steps, in an epoch of five: one of three and one of two."""
    monkeypatch.setattr(mmjax.stream, "_BLOCK_BYTES", 3 * 2 * 18 * 158)


def make_recipe(task, **fields):
    model = make_model(task, "concat", {"sequence": "mlp"})
    return Recipe(model, **{"batch_size": 18, "steps": 17, "seeds": (0, 1), **fields})


def all_of(trained):
    return contents((trained.params, trained.state, trained.history, trained.best_step))


def check_equal(got, want):
    got, want = all_of(got), all_of(want)
    assert got.keys() == want.keys()
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


@pytest.mark.parametrize("lanes", ["map", "vmap"])
def test_a_streamed_run_is_that_on_the_device_bit_by_bit(task, monkeypatch, small_blocks, lanes):
    monkeypatch.setenv("MMJAX_LANES", lanes)
    want = fit(make_recipe(task), task)
    monkeypatch.setenv("MMJAX_FEED", "stream")
    check_equal(fit(make_recipe(task), task), want)
