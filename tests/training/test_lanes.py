"""Lanes run as the environment says, and give the same results however they run."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.errors import UsageError
from mmjax.layers.platform import stated_platform
from mmjax.training.lanes import how, over_seeds


def test_the_platform_chooses_how_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("MMJAX_LANES", raising=False)
    assert how(4) == "map"
    with stated_platform("gpu"):
        assert how(4) == "vmap"
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    assert how(4) == "shard"
    assert how(3) == "map"
    monkeypatch.setenv("MMJAX_LANES", "vmap")
    assert how(4) == "vmap"


@pytest.mark.parametrize(("value", "what"), [("vamp", "vamp"), ("shard", "1 devices and 4 seeds")])
def test_what_cannot_be_is_refused(monkeypatch, value, what):
    monkeypatch.setenv("MMJAX_LANES", value)
    with pytest.raises(UsageError, match=what):
        how(4)


@pytest.mark.parametrize("chosen", ["map", "vmap"])
def test_lanes_get_their_own_and_what_is_shared(monkeypatch, chosen):
    monkeypatch.setenv("MMJAX_LANES", chosen)
    f = over_seeds(lambda lane, x: {"y": lane["a"] * x + lane["b"]})
    got = f({"a": jnp.arange(3.0), "b": jnp.ones(3)}, jnp.arange(2.0))
    np.testing.assert_allclose(got["y"], [[1, 1], [1, 2], [1, 3]])


_ON_TWO_DEVICES = """
import os, jax, numpy as np
from small import make_task
from mmjax.training.fit import fit
from mmjax.training.recipe import Recipe, make_model

assert jax.local_device_count() == 2
task = make_task()
recipe = Recipe(make_model(task, "concat"), batch_size=16, steps=8, seeds=(0, 1, 2, 3))
found = {}
for how in ("map", "shard"):
    os.environ["MMJAX_LANES"] = how
    found[how] = fit(recipe, task)
one, two = found.values()
np.testing.assert_allclose(
    one.predict(one.params, task.valid.batch()), two.predict(two.params, task.valid.batch()),
    atol=1e-4,
)
for a, b in zip(one.history, two.history, strict=True):
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-4)
devices = {d for leaf in jax.tree.leaves(two.state.params) for d in leaf.devices()}
assert len(devices) == 2, devices
"""


@pytest.mark.slow
def test_lanes_dealt_out_to_devices_train_as_one_after_another():
    root = Path(__file__).parents[1]
    paths = os.pathsep.join([str(root), str(root.parent)])
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "2", "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", _ON_TWO_DEVICES], env=environment, check=True)
