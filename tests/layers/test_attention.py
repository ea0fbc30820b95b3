"""Attention on its own: values and gradients against a plain softmax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention_cases import ATTENTIONS, check_attention, check_extreme_scores

from mmjax.layers.attention import attend, attention_weights

pytestmark = pytest.mark.usefixtures("formulation")


@pytest.mark.parametrize("sizes", ATTENTIONS)
def test_attention_is_a_plain_softmax(sizes):
    check_attention(*sizes)


def test_extreme_scores():
    check_extreme_scores()


def test_weights_are_those_of_what_is_read():
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(2, 6, 3, 4)), jnp.float32) for _ in range(3))
    mask = jnp.asarray(rng.random((2, 6, 6)) < 0.5)
    weights = attention_weights(q, k, mask)
    want = jnp.einsum("bhqk,bkhd->bqhd", weights, v)
    np.testing.assert_allclose(attend(q, k, v, mask), want, rtol=1e-5, atol=1e-6)
    assert not weights[~jnp.broadcast_to(mask[:, None], weights.shape)].any()
    sums = weights.sum(axis=-1)
    np.testing.assert_allclose(sums[jnp.broadcast_to(mask.any(-1)[:, None], sums.shape)], 1, 1e-5)


def test_what_may_not_be_read_has_no_gradient():
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(1, 4, 2, 3)), jnp.float32) for _ in range(3))
    mask = jnp.asarray([[[True, True, False, True]]])
    d_k, d_v = jax.grad(lambda k, v: (attend(q, k, v, mask) ** 2).sum(), (0, 1))(k, v)
    assert not d_k[:, 2].any()
    assert not d_v[:, 2].any()
    assert d_k[:, 3].all()
