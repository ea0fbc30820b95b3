"""Methods that weigh modalities by what each has learned: what each paper claims, against NumPy."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from method_setup import (
    KEY,
    NAMES,
    Setup,
    first_rows,
    gradient_of_branch,
    gradient_of_objective,
    nll,
    scaled,
)
from scipy.special import log_softmax, softmax

from mmjax.methods import Joint
from mmjax.methods.arl import ARL, weigh
from mmjax.methods.cggm import CGGM, balance
from mmjax.methods.lfm import LFM, _widen
from mmjax.methods.recon_boost import ReconBoost, reconcile
from mmjax.objectives import cross_entropy
from mmjax.objectives.contrastive import mismatch
from mmjax.testing.common import compile_fast
from mmjax.types import Tokens


@pytest.fixture(scope="module")
def batch():
    return first_rows()


# ARL


def rows_of(batch, name, values):
    return np.asarray(values, float)[np.asarray(batch.present[name])]


def test_arl_weighs_encoders_by_inverse_variance_and_present_reliance(batch):
    setup = Setup(ARL(gamma=0.7, sharpness=5.0), batch)
    grads, _, metrics = setup.gradient(setup.params, (), batch, KEY)
    logits = {n: rows_of(batch, n, setup.outputs.branches[n]) for n in NAMES}
    entropy = np.array(
        [-(softmax(x, 1) * log_softmax(x, 1)).sum(1).mean() for x in logits.values()]
    )
    size = np.array([np.abs(x).sum(1).mean() for x in logits.values()])
    inverse = 1 / np.maximum(entropy / entropy.sum(), 0.3)
    wanted, present = inverse / inverse.sum(), size / size.sum()
    weights = softmax(5.0 * wanted * present[::-1])
    np.testing.assert_allclose([metrics[f"weight_{n}"] for n in NAMES], weights, rtol=1e-4)

    joint = gradient_of_objective(setup, batch)
    alone = [gradient_of_branch(setup, batch, n) for n in NAMES]
    want = jax.tree.map(lambda j, *each: j + 0.7 * sum(each), joint, *alone)
    for n, weight in zip(NAMES, weights, strict=True):
        want[f"encoders_{n}"] = scaled(want[f"encoders_{n}"], 1 + weight)
    chex.assert_trees_all_close(grads, want, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_arl_is_at_rest_where_reliance_is_as_wanted_and_else_speeds_up_what_lacks_it(count):
    wanted, present = np.random.default_rng(count).dirichlet(np.ones(count), size=2)
    here = jnp.ones(count, bool)
    np.testing.assert_allclose(weigh(wanted, jnp.array(wanted), here, 50.0), 1 / count, rtol=1e-4)
    weights = weigh(wanted, jnp.array(present), here, 50.0)
    np.testing.assert_array_equal(np.argsort(weights), np.argsort(wanted / present))


# CGGM


def residuals(logits, batch, name):
    """The gradient of the mean loss of the rows that have a modality."""
    here = np.asarray(batch.present[name])
    return (softmax(np.asarray(logits, float), 1) - np.eye(3)[batch.target])[here] / here.sum()


def test_cggm_scales_encoders_and_turns_the_model_by_how_classifiers_improve(batch):
    setup = Setup(CGGM(rho=1.5, weight=0.4, rate=0.01), batch, "concat")
    joint = gradient_of_objective(setup, batch)
    first, memory, _ = setup.gradient(setup.params, setup.memory, batch, KEY)
    chex.assert_trees_all_close(first, joint, rtol=1e-5)  # nothing to compare with yet

    features = {n: np.asarray(t.values[:, 0], float) for n, t in setup.outputs.tokens.items()}
    logits, gained = {}, []
    for n in NAMES:  # Adam's first step is as long as its rate
        here = np.asarray(batch.present[n])
        slope = residuals(np.zeros((32, 3)), batch, n)
        classifier = memory["classifiers"][n]
        want = -0.01 * np.sign(features[n][here].T @ slope)
        np.testing.assert_allclose(classifier["kernel"], want, atol=1e-5)
        np.testing.assert_allclose(classifier["bias"], -0.01 * np.sign(slope.sum(0)), atol=1e-5)
        logits[n] = features[n] @ np.asarray(classifier["kernel"]) + np.asarray(classifier["bias"])
        gained.append(np.log(3) - nll(logits[n], np.asarray(batch.target))[here].mean())
    assert min(gained) > 0
    shares = dict(zip(NAMES, np.array(gained)[::-1] / sum(gained), strict=True))

    grads, _, metrics = setup.gradient(setup.params, memory, batch, KEY)
    for n in NAMES:
        np.testing.assert_allclose(metrics[f"factor_{n}"], 1.5 * shares[n], rtol=1e-3)

    def loss(params):
        outputs = setup.forward(params, batch, KEY)
        total = cross_entropy(outputs, batch)[0]
        for n in NAMES:
            fused = jax.nn.softmax(outputs.prediction) - jnp.eye(3)[batch.target]
            fused, own = fused[batch.present[n]], residuals(logits[n], batch, n)
            cosine = (fused * own).sum() / jnp.linalg.norm(fused) / np.linalg.norm(own)
            total += 0.4 / 2 * shares[n] * (1 - cosine)
        return total

    want = compile_fast(jax.grad(loss))(setup.params)
    for n in NAMES:
        want[f"encoders_{n}"] = scaled(want[f"encoders_{n}"], 1.5 * shares[n])
    chex.assert_trees_all_close(grads, want, rtol=1e-3, atol=1e-5)


def test_cggm_shares_are_those_of_the_others_in_what_all_have_gained():
    gained, counts = jnp.array([0.5, 0.2, 0.0, 9.0]), jnp.array([True, True, True, False])
    shares, comparable = balance(gained, counts)
    assert comparable.tolist() == counts.tolist()
    np.testing.assert_allclose(shares[:3], [2 / 7, 5 / 7, 1], rtol=1e-6)
    np.testing.assert_allclose(balance(jnp.zeros(4), counts)[0][:3], 2 / 3, rtol=1e-6)


def test_cggm_of_one_modality_is_joint_training(batch):
    alone = batch.hide(["vector"])
    setup = Setup(CGGM(), alone)
    joint = compile_fast(Joint().gradient(setup.forward, cross_entropy))
    want = joint(setup.params, (), alone, KEY)[0]
    memory = setup.memory
    for _ in range(3):
        grads, memory, _ = setup.gradient(setup.params, memory, alone, KEY)
        chex.assert_trees_all_close(grads, want, rtol=1e-5, atol=1e-8)


# ReconBoost


def test_recon_boost_boosts_one_modality_then_trains_all_then_boosts_the_next(batch):
    method = ReconBoost(weight=0.3, alpha=0.6, stage=1, rectify=1)
    setup = Setup(method, batch)
    joint = gradient_of_objective(setup, batch)
    # All rows have a sequence, and the loss of a vector is over the rows that have one.
    both, target = np.asarray(batch.present["vector"]), np.asarray(batch.target)
    first = setup.outputs.branches
    memory, grads = setup.memory, []
    for _ in range(4):
        step, memory, metrics = setup.gradient(setup.params, memory, batch, KEY)
        grads.append((step, metrics["boost"]))
    for index in (1, 3):
        chex.assert_trees_all_close(grads[index][0], joint, rtol=1e-5, atol=1e-8)
    for (got, value), name, other in zip(grads[::2], NAMES, NAMES[::-1], strict=True):
        here = np.asarray(batch.present[name])
        p = softmax(np.asarray(first[name], float), 1)
        log_p, log_q = (log_softmax(np.asarray(first[n], float), 1) for n in (name, other))
        want = -log_p[np.arange(32), target][here].mean()
        want -= 0.3 * (np.exp(log_q) * (log_q - log_p)).sum(1)[both].mean()
        want += 0.6 * ((p - np.exp(log_q)) ** 2).mean(1)[both].mean()
        np.testing.assert_allclose(value, want, rtol=1e-4)
        idle = [got[f"encoders_{other}"], got["fusion"][f"readout_{other}"]]
        assert not any(np.any(x) for x in jax.tree.leaves(idle))
        assert any(np.any(x) for x in jax.tree.leaves(got[f"encoders_{name}"]))


def test_the_boosting_loss_falls_with_what_the_others_wrongly_expect():
    others, here = jnp.array([[0.0, 2.0]]), jnp.array([True])  # the target is the first class
    losses = [
        -jax.nn.log_softmax(own)[0, 0] - 0.25 * reconcile(own, others, here)
        for own in (jnp.array([[size, 0.0]]) for size in (10.0, 20.0, 40.0))
    ]
    steps = np.diff(losses) / [10, 20]
    wrong = 0.25 * jax.nn.softmax(others)[0, 1]
    np.testing.assert_allclose(steps, -wrong, rtol=1e-3)  # a slope, not a minimum


def test_recon_boost_fits_the_residual_of_the_others(batch):
    rng = np.random.default_rng(0)
    own, others = rng.normal(size=(2, 32, 3)).astype(np.float32)
    here = jnp.ones(32, bool)
    only = batch._replace(present={"a": here, "b": here})
    method = ReconBoost(weight=0.4, alpha=0.0)
    boost = lambda own: method._boost("a", "b", {"a": own, "b": others}, only)
    p, ensemble, y = softmax(own, 1), softmax(others, 1), np.eye(3)[batch.target]
    want = (0.6 * p - (y - 0.4 * ensemble)) / 32
    np.testing.assert_allclose(jax.grad(boost)(own), want, atol=1e-6)
    assert not jax.grad(lambda x: reconcile(own, x, here))(others).any()


# LFM


def contrast_by_hand(outputs, batch):
    both = np.asarray(batch.present["vector"])  # all rows have a sequence
    unit = [np.asarray(outputs.tokens[n].values.mean(axis=1), float)[both] for n in NAMES]
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in unit)
    diagonal = lambda scores: np.diagonal(log_softmax(scores, axis=1)).mean()
    return -(diagonal(a @ b.T / 0.07) + diagonal(b @ a.T / 0.07)) / 2


def test_lfm_mixes_both_losses_by_a_share_that_lowers_the_loss_after_a_step(batch):
    setup = Setup(LFM(start=0.4, rate=0.02), batch)
    first, memory, metrics = setup.gradient(setup.params, setup.memory, batch, KEY)
    np.testing.assert_allclose(
        metrics["contrast"], contrast_by_hand(setup.outputs, batch), rtol=1e-4
    )
    joint = gradient_of_objective(setup, batch)
    matching = lambda params: mismatch(setup.forward(params, batch, KEY).tokens, 0.07)
    match = compile_fast(jax.grad(matching))(setup.params)
    mixed = lambda alpha: jax.tree.map(lambda j, m: (1 - alpha) * j + alpha * m, joint, match)
    chex.assert_trees_all_close(first, mixed(0.4), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(metrics["alpha"], 0.4)  # no step before this one

    # The slope of the loss after a step of gradient descent, from the change of alpha.
    moved = lambda alpha: jax.tree.map(lambda p, g: p - 0.02 * g, setup.params, mixed(alpha))
    after = lambda alpha: cross_entropy(setup.forward(moved(alpha), batch, KEY), batch)[0]
    _, _, metrics = setup.gradient(moved(0.4), memory, batch, KEY)
    cosine = (metrics["alpha"] - 0.4) / 0.02
    ahead = jax.tree.map(jnp.subtract, match, joint)
    now = jax.grad(lambda p: cross_entropy(setup.forward(p, batch, KEY), batch)[0])(moved(0.4))
    slope = -0.02 * cosine * optax.tree.norm(now) * optax.tree.norm(ahead)
    np.testing.assert_allclose(slope, (after(0.41) - after(0.39)) / 0.02, rtol=0.03)


def test_lfm_keeps_its_share_in_bounds(batch):
    setup = Setup(LFM(start=0.9, rate=1.0), batch)
    opposed = jax.tree.map(lambda g: -g, gradient_of_objective(setup, batch))
    for ahead, want in [(opposed, 0.05), (scaled(opposed, -1), 0.95)]:
        memory = {"alpha": jnp.float32(0.5), "ahead": ahead}
        _, _, metrics = setup.gradient(setup.params, memory, batch, KEY)
        np.testing.assert_allclose(metrics["alpha"], want)


def test_lfm_fills_up_narrower_tokens_without_effect_on_their_cosines():
    draw = np.random.default_rng(0).normal(size=(2, 6, 1, 5)).astype(np.float32)
    valid = jnp.ones((6, 1), bool)
    a, b = (Tokens(jnp.asarray(x), valid) for x in draw)
    narrow = b._replace(values=b.values[..., :3])
    filled = b._replace(values=b.values.at[..., 3:].set(0))
    got = mismatch(_widen({"a": a, "b": narrow}), 0.5)
    np.testing.assert_allclose(got, mismatch({"a": a, "b": filled}, 0.5), rtol=1e-6)
