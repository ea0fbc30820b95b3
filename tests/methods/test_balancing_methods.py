"""Methods that drop, remove or repeat modalities of rows: what each paper claims, against NumPy."""

from functools import cache

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_setup import (
    KEY,
    NAMES,
    Setup,
    first_rows,
    gradient_of_objective,
    start,
    target_probability,
)

from mmjax.errors import UsageError
from mmjax.methods import Joint
from mmjax.methods.opm import OPM, drop_at
from mmjax.objectives import cross_entropy
from mmjax.testing.common import compile_fast


@pytest.fixture(scope="module")
def batch():
    return first_rows()


@cache
def joint(fusion):
    return compile_fast(Joint().gradient(start(fusion)[0], cross_entropy))


# OPM


def rates_by_hand(outputs, batch, rate, alpha):
    s = {n: target_probability(outputs.branches[n], batch, n) for n in NAMES}
    ahead, behind = sorted(NAMES, key=s.get, reverse=True)
    lead = np.tanh(s[ahead] / s[behind] - 1)
    return {ahead: min(1, rate * (1 + alpha * lead)), behind: 0}


def test_opm_is_joint_training_on_rows_that_lose_the_modality_ahead(batch):
    setup = Setup(OPM(rate=0.6, alpha=0.8, share=1.0), batch)
    grads, _, metrics = setup.gradient(setup.params, (), batch, KEY)
    rates = rates_by_hand(setup.outputs, batch, 0.6, 0.8)
    for n in NAMES:
        np.testing.assert_allclose(metrics[f"dropped_{n}"], rates[n], rtol=1e-5)
    _, row_key = jax.random.split(jax.random.fold_in(KEY, 0))
    draws = dict(zip(NAMES, jax.random.uniform(row_key, (2, 32)), strict=True))
    left = {n: batch.present[n] & (draws[n] >= rates[n]) for n in NAMES}
    lost = ~np.any(list(left.values()), axis=0)
    left = {n: jnp.where(lost, batch.present[n], left[n]) for n in NAMES}
    assert any((left[n] != batch.present[n]).any() for n in NAMES)
    want = joint("late_mean")(setup.params, (), batch._replace(present=left), KEY)
    chex.assert_trees_all_close(grads, want[0], atol=1e-6)


def test_opm_executes_in_a_share_of_the_steps(batch):
    setup = Setup(OPM(rate=1.0, share=0.3), batch)
    whole = gradient_of_objective(setup, batch)["fusion"]["readout_vector"]["Dense_1"]["bias"]
    run = jax.vmap(lambda key: setup.gradient(setup.params, (), batch, key)[0])
    bias = run(jax.random.split(KEY, 400))["fusion"]["readout_vector"]["Dense_1"]["bias"]
    kept = np.abs(bias - whole[None]).max(axis=1) < 1e-5
    np.testing.assert_allclose(1 - kept.mean(), 0.3, atol=0.07)


def test_opm_never_drops_the_only_modality_and_drops_as_often_as_it_says():
    here = jnp.ones(20_000, bool)
    alone = jnp.arange(20_000) % 2 == 0
    left = drop_at(KEY, {"a": here, "b": ~alone}, {"a": 0.7, "b": 0.0})
    assert left["a"][alone].all()
    assert (left["b"] == ~alone).all()
    np.testing.assert_allclose(left["a"][~alone].mean(), 0.3, atol=0.02)


def test_opm_refuses_what_is_no_probability():
    for field in ("rate", "share"):
        with pytest.raises(UsageError, match=rf"{field}: expected a probability"):
            OPM(**{field: 1.5})
