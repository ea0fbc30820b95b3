"""Methods that weigh modalities by what each has learned: what each paper claims, against NumPy."""

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
    gradient_of_branch,
    gradient_of_objective,
    scaled,
)
from scipy.special import log_softmax, softmax

from mmjax.methods.arl import ARL, weigh


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
