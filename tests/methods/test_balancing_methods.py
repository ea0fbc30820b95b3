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
from mmjax.methods.cml import CML, remove_in_turn
from mmjax.methods.opm import OPM, drop_at
from mmjax.methods.sample_valuation import SampleValuation, contributions
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


# CML


def confidence(setup, params, batch):
    return jax.nn.softmax(setup.forward(params, batch, KEY).prediction).max(axis=1)


@pytest.mark.parametrize("fusion", ["late_mean", "concat"])
def test_cml_penalises_the_rise_of_confidence_after_a_removal(batch, fusion):
    setup = Setup(CML(weight=0.7), batch, fusion)
    grads, _, metrics = setup.gradient(setup.params, (), batch, KEY)
    order = jax.random.uniform(jax.random.fold_in(KEY, 0), (2, 32))
    both = np.all(list(batch.present.values()), axis=0)
    last = np.where(both, np.argmax(order, axis=0), 0)  # rows with one modality have a sequence
    only = {n: batch.present[n] & (last == i) for i, n in enumerate(NAMES)}
    smaller = batch._replace(present=only)

    def loss(params):
        rise = confidence(setup, params, smaller) - confidence(setup, params, batch)
        mean = jnp.where(both, jnp.maximum(rise, 0), 0).sum() / both.sum()
        return cross_entropy(setup.forward(params, batch, KEY), batch)[0] + 0.7 * mean, mean

    want, mean = compile_fast(jax.grad(loss, has_aux=True))(setup.params)
    assert mean > 0
    np.testing.assert_allclose(metrics["rise"], mean, rtol=1e-4)
    chex.assert_trees_all_close(grads, want, rtol=1e-3, atol=1e-6)


def test_cml_leaves_models_that_lose_confidence_with_each_modality(batch):
    def rise_after(weight):
        setup, rises = Setup(CML(weight=weight), batch, "concat"), []
        params = setup.params
        for key in jax.random.split(KEY, 30):
            grads, _, metrics = setup.gradient(params, (), batch, key)
            params = jax.tree.map(lambda p, g: p - 0.3 * g, params, grads)
            rises.append(metrics["rise"])
        return np.mean(rises[-10:])

    assert rise_after(3.0) < rise_after(0.0) / 2


def test_rows_lose_one_modality_after_another_in_any_order():
    rng, size = np.random.default_rng(0), 6_000
    here = rng.random((3, size)) < 0.7
    names = ("a", "b", "c")
    chain, removed = remove_in_turn(KEY, dict(zip(names, here, strict=True)))
    kept = np.stack([chain[n] for n in names], axis=1)  # [step, modality, row]
    np.testing.assert_array_equal(kept[0], here)
    count = here.sum(axis=0)
    for step in (1, 2):
        assert (kept[step] <= kept[step - 1]).all()
        want = np.where(count > 0, np.maximum(count - step, 1), 0)
        np.testing.assert_array_equal(kept[step].sum(axis=0), want)
        np.testing.assert_array_equal(removed[step - 1], count > step)
    full = count == 3
    np.testing.assert_allclose(kept[2][:, full].mean(axis=1), 1 / 3, atol=0.04)


# Sample-level valuation


def only(batch, name):
    return batch._replace(present={n: batch.present[n] & (n == name) for n in NAMES})


def is_right(setup, params, batch):
    return np.asarray(setup.forward(params, batch, KEY).prediction.argmax(axis=1) == batch.target)


@pytest.mark.parametrize("fusion", ["late_mean", "concat"])
def test_rows_are_repeated_with_the_modality_that_contributes_little(batch, fusion):
    setup = Setup(SampleValuation(), batch, fusion)
    grads, _, metrics = setup.gradient(setup.params, (), batch, KEY)
    both = np.all(list(batch.present.values()), axis=0)
    right = {n: is_right(setup, setup.params, only(batch, n)) * both for n in NAMES}
    whole = is_right(setup, setup.params, batch) * both
    copies = {}
    for n, other in zip(NAMES, NAMES[::-1], strict=True):
        phi = (right[n] + 2.0 * whole - right[other]) / 2
        if n == "vector":
            np.testing.assert_allclose(metrics[f"contribution_{n}"], phi[both].mean(), rtol=1e-5)
        copies[n] = np.select([phi > 0.9, phi > 0.4, phi > -0.1], [0, 1, 2], 3) * both
    assert all(len(set(c[both])) > 1 for c in copies.values())

    def loss(params):
        total = 32 * cross_entropy(setup.forward(params, batch, KEY), batch)[0]
        for n in NAMES:
            log_p = jax.nn.log_softmax(setup.forward(params, only(batch, n), KEY).prediction)
            total -= (copies[n] * log_p[jnp.arange(32), batch.target]).sum()
        return total / (32 + sum(c.sum() for c in copies.values()))

    chex.assert_trees_all_close(
        grads, compile_fast(jax.grad(loss))(setup.params), rtol=1e-3, atol=1e-6
    )


def test_contributions_sum_to_the_modalities_of_a_row_that_is_predicted_correctly(batch):
    names, rng = ("a", "b", "c"), np.random.default_rng(0)
    present = {n: jnp.asarray(rng.random(50) < 0.7) for n in names}
    rows = batch._replace(present=present, target=jnp.zeros(50, int))
    sets = [("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), names]
    # A prediction from a set depends on those of its modalities that the row has.
    of = {frozenset(s): jnp.asarray(rng.normal(size=(50, 2))) for s in [(), *sets]}
    key = lambda row, s: frozenset(n for n in s if present[n][row])
    predictions = {s: jnp.stack([of[key(i, s)][i] for i in range(50)]) for s in sets}
    phi = contributions(predictions, rows)
    count = np.sum([present[n] for n in names], axis=0)
    right = predictions[names].argmax(axis=1) == 0
    np.testing.assert_allclose(sum(phi.values()), np.where(right, count, 0), atol=1e-6)
    for n in names:
        assert not np.abs(phi[n][~present[n]]).max() > 1e-6


def test_valuation_makes_the_modality_behind_contribute_more(batch):
    def contribution_after(copies):
        setup = Setup(SampleValuation(copies=copies), batch, "concat")
        params, contribution = setup.params, []
        for key in jax.random.split(KEY, 40):
            grads, _, metrics = setup.gradient(params, (), batch, key)
            params = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
            contribution.append([metrics[f"contribution_{n}"] for n in NAMES])
        return np.mean(contribution[20:], axis=0).min()

    assert contribution_after(2.0) > contribution_after(0.0) + 0.1
