"""Methods that change gradients: what each paper claims, against NumPy."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from method_setup import (
    KEY,
    NAMES,
    Setup,
    first_rows,
    gradient_of_branch,
    gradient_of_objective,
    make_model,
    nll,
    scaled,
    target_probability,
)
from representatives import slow
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from small import NUM_CLASSES

from mmjax.methods import Joint
from mmjax.methods.agm import AGM
from mmjax.methods.mmpareto import MMPareto, join_gradients, min_norm_share
from mmjax.methods.ogm_ge import OGMGE
from mmjax.objectives import cross_entropy
from mmjax.testing.common import compile_fast
from mmjax.training.step import init_params, make_forward
from mmjax.types import Batch


@pytest.fixture(scope="module")
def batch():
    return first_rows()


# OGM-GE


def test_ogm_shrinks_the_encoder_ahead_by_its_factor_and_nothing_else(batch):
    setup = Setup(OGMGE(alpha=0.4, noise=0.0), batch)
    grads, _, metrics = setup.gradient(setup.params, (), batch, KEY)
    joint = gradient_of_objective(setup, batch)
    s = {n: target_probability(setup.outputs.branches[n], batch, n) for n in NAMES}
    ahead, behind = sorted(NAMES, key=s.get, reverse=True)
    factor = 1 - np.tanh(0.4 * s[ahead] / s[behind])
    np.testing.assert_allclose(metrics[f"factor_{ahead}"], factor, rtol=1e-5)
    assert metrics[f"factor_{behind}"] == 1
    want = {**joint, f"encoders_{ahead}": scaled(joint[f"encoders_{ahead}"], factor)}
    chex.assert_trees_all_close(grads, want, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("noise_all", [slow(True), False])
def test_ogm_ge_adds_noise_as_large_as_the_gradient_where_it_says(batch, noise_all):
    setup = Setup(OGMGE(noise_all=noise_all), batch)
    quiet = compile_fast(OGMGE(noise=0.0).gradient(setup.forward, cross_entropy))
    plain = quiet(setup.params, (), batch, KEY)[0]
    noisy = [setup.gradient(setup.params, (), batch, k)[0] for k in jax.random.split(KEY, 200)]
    noise = jax.tree.map(lambda g, *drawn: np.stack(drawn) - g[None], plain, *noisy)
    _, _, metrics = setup.gradient(setup.params, (), batch, KEY)
    assert sorted(metrics[f"factor_{name}"] < 1 for name in NAMES) == [False, True]
    joint = gradient_of_objective(setup, batch)
    for name in NAMES:
        part = f"encoders_{name}"
        if metrics[f"factor_{name}"] == 1 and not noise_all:
            assert all(np.abs(x).max() < 1e-6 for x in jax.tree.leaves(noise[part]))
            continue
        spread = jax.tree.map(lambda n, g: float(n.std() / g.std()), noise[part], joint[part])
        assert all(abs(s - 1) < 0.1 for s in jax.tree.leaves(spread))
    assert all(np.abs(x).max() < 1e-6 for x in jax.tree.leaves(noise["fusion"]))


def test_ogm_ge_trains_balanced_modalities_exactly_as_jointly(batch):
    twins = Batch(
        {"a": batch.inputs["sequence"], "b": batch.inputs["sequence"]},
        {"a": batch.present["sequence"], "b": batch.present["sequence"]},
        batch.target,
    )
    model = make_model(names=("a", "b"))
    forward = make_forward(model)
    params = init_params(model, twins, 0)
    params["encoders_b"] = params["encoders_a"]
    params["fusion"]["readout_b"] = params["fusion"]["readout_a"]
    got = compile_fast(OGMGE().gradient(forward, cross_entropy))(params, (), twins, KEY)
    want = compile_fast(Joint().gradient(forward, cross_entropy))(params, (), twins, KEY)
    chex.assert_trees_all_equal(got[0], want[0])
    assert any(np.any(x) for x in jax.tree.leaves(got[0]["encoders_a"]))


# AGM


def agm_responses(setup, batch):
    """{name: params -> [batch, class]}, and the mean cross-entropy of each: [modality]."""
    hidden = dict.fromkeys(NAMES, jnp.zeros(32, bool))
    rows = {n: batch._replace(present={**hidden, n: batch.present[n]}) for n in NAMES}
    of = lambda params, rows: setup.forward(params, rows, KEY).prediction
    other = dict(zip(NAMES, NAMES[::-1], strict=True))
    respond = lambda n: (
        lambda params: 0.5 * (of(params, batch) - of(params, rows[other[n]]) + of(params, rows[n]))
    )
    phi, target = {n: respond(n) for n in NAMES}, np.asarray(batch.target)
    losses = {n: nll(np.asarray(phi[n](setup.params), float), target) for n in NAMES}
    return phi, np.array([losses[n][np.asarray(batch.present[n])].mean() for n in NAMES])


@pytest.mark.parametrize("fusion", ["sum", "concat", "late_mean"])
def test_agm_multiplies_the_gradient_into_each_response_by_its_lead(batch, fusion):
    setup = Setup(AGM(alpha=0.7), batch, fusion)
    phi, s = agm_responses(setup, batch)
    logits = np.asarray(setup.outputs.prediction, float)
    downstream = (softmax(logits, axis=1) - np.eye(NUM_CLASSES)[np.asarray(batch.target)]) / 32

    def pull_back(params, factors):
        """A linear function of the responses that has the gradient of the loss, modulated."""
        return sum(f * (downstream * phi[n](params)).sum() for n, f in factors.items())

    usual = compile_fast(jax.grad(pull_back))
    memory = {"average": jnp.array([0.9, 1.5]), "steps": jnp.array([3.0, 3.0])}
    for before, lead in [(setup.memory, np.ones(2)), (memory, np.exp([0.6, -0.6]))]:
        grads, after, metrics = setup.gradient(setup.params, before, batch, KEY)
        factors = np.exp(-0.7 * (np.exp(s[::-1] - s) - lead))
        np.testing.assert_allclose([metrics[f"factor_{n}"] for n in NAMES], factors, rtol=1e-4)
        want = usual(setup.params, dict(zip(NAMES, factors, strict=True)))
        chex.assert_trees_all_close(grads, want, rtol=1e-3, atol=1e-6)
        loss = nll(logits, np.asarray(batch.target)).mean()
        np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
        steps = np.asarray(before["steps"])
        average = (np.asarray(before["average"]) * steps + s) / (steps + 1)
        np.testing.assert_allclose(after["average"], average, rtol=1e-4)
        np.testing.assert_allclose(after["steps"], steps + 1)


def test_agm_scales_whole_encoders_in_an_additive_fusion_only(batch):
    memory = {"average": jnp.array([0.9, 1.5]), "steps": jnp.array([3.0, 3.0])}
    for fusion in ("sum", "concat"):
        setup = Setup(AGM(alpha=0.7), batch, fusion)
        joint = gradient_of_objective(setup, batch)
        grads, _, metrics = setup.gradient(setup.params, memory, batch, KEY)
        for n in NAMES:
            joint[f"encoders_{n}"] = scaled(joint[f"encoders_{n}"], metrics[f"factor_{n}"])
        flat = lambda tree: ravel_pytree([tree[f"encoders_{n}"] for n in NAMES])[0]
        assert np.allclose(flat(grads), flat(joint), atol=1e-6) == (fusion == "sum")


def test_agm_bears_leads_whose_exponentials_are_infinite(batch):
    numbers = np.random.default_rng(0).normal(scale=1000, size=(32, NUM_CLASSES))
    rows = batch._replace(target=jnp.asarray(numbers, jnp.float32))
    setup, memory = Setup(AGM(), rows), {"average": jnp.array([9e5, 1e5]), "steps": jnp.ones(2)}
    for average in (memory["average"], memory["average"][::-1]):
        before = {**memory, "average": average}
        grads, _, metrics = setup.gradient(setup.params, before, rows, KEY)
        assert np.isfinite([metrics[f"factor_{n}"] for n in NAMES]).all()
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(grads))


# MMPareto


def random_gradients(seed):
    rng = np.random.default_rng(seed)
    draw = lambda size: {
        "kernel": size * rng.normal(size=(2, 3)),
        "bias": size * rng.normal(size=3),
    }
    g, u = draw(1), draw(4)  # unlike lengths: else their sum rarely opposes one of them
    flat = lambda tree: np.concatenate([x.ravel() for x in jax.tree.leaves(tree)])
    return jax.tree.map(jnp.float32, (g, u)), flat(g), flat(u), flat


@pytest.mark.parametrize("seed", range(12))
def test_mmpareto_opposes_neither_gradient_and_keeps_the_length(seed):
    (g, u), flat_g, flat_u, flat = random_gradients(seed)
    joined = flat(join_gradients(g, u, 1.5))
    assert joined @ flat_g >= -1e-5
    assert joined @ flat_u >= -1e-5
    assert np.linalg.norm(joined) >= 1.5 * np.linalg.norm(flat_g + flat_u) * (1 - 1e-5)
    if flat_g @ flat_u >= 0:
        np.testing.assert_allclose(joined, 1.5 * (flat_g + flat_u), rtol=1e-5, atol=1e-5)
    else:  # the shortest mix is as far along one as along the other
        np.testing.assert_allclose(joined @ flat_g, joined @ flat_u, rtol=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_the_share_of_least_norm_is_that_of_scipy(seed):
    (g, u), flat_g, flat_u, _ = random_gradients(seed)
    u, flat_u = scaled(u, seed + 0.5), flat_u * (seed + 0.5)  # some at an end of the interval
    length = lambda a: np.sum((a * flat_g + (1 - a) * flat_u) ** 2)
    want = minimize_scalar(length, bounds=(0, 1), method="bounded", options={"xatol": 1e-9}).x
    np.testing.assert_allclose(min_norm_share(g, u), want, atol=1e-4)


def test_mmpareto_joins_within_encoders_and_adds_elsewhere(batch):
    setup = Setup(MMPareto(), batch)
    grads, _, _ = setup.gradient(setup.params, (), batch, KEY)
    g = gradient_of_objective(setup, batch)
    each = {n: gradient_of_branch(setup, batch, n) for n in NAMES}
    u = jax.tree.map(lambda *x: sum(x), *each.values())
    want = jax.tree.map(jnp.add, g, u)
    for n in NAMES:
        part = f"encoders_{n}"
        want[part] = join_gradients(g[part], each[n][part], 1.5)
    chex.assert_trees_all_close(grads, want, rtol=1e-3, atol=1e-6)
