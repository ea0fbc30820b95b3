"""The shared layers against Flax and NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import attend, attention_weights, block, random_variables
from scipy.special import softmax

from mmjax import layers
from mmjax.errors import UsageError
from mmjax.fusion.building_blocks import JointDense
from mmjax.layers.blocks import Attention, TransformerBlock
from mmjax.types import Tokens


def draw(*shape, seed=0, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def test_as_float_scales_unsigned_integers_alone():
    np.testing.assert_allclose(layers.as_float(jnp.uint8([0, 51, 255])), [0, 0.2, 1], rtol=1e-6)
    np.testing.assert_array_equal(layers.as_float(jnp.float32([-3, 300])), [-3, 300])


MASKS = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=2, max_size=2)


@given(mask=MASKS, junk=st.sampled_from([np.nan, np.inf, 1e30, 0.0]))
@settings(max_examples=30, deadline=None)
def test_masked_mean_is_the_mean_of_the_valid(mask, junk):
    mask = np.array(mask)
    values = np.where(mask[..., None], draw(2, 3, 4), junk)
    got = layers.masked_mean(Tokens(jnp.asarray(values, jnp.float32), jnp.asarray(mask)))
    want = [
        v[m].mean(axis=0) if m.any() else np.zeros(4) for v, m in zip(values, mask, strict=True)
    ]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@given(mask=MASKS)
@settings(max_examples=30, deadline=None)
def test_masked_softmax_is_softmax_of_the_valid(mask):
    mask, scores = np.array(mask), np.asarray(draw(2, 3))
    got = layers.masked_softmax(jnp.asarray(scores), jnp.asarray(mask), axis=1)
    want = np.zeros_like(scores)
    for row, here in enumerate(mask):
        want[row, here] = softmax(scores[row, here]) if here.any() else 0
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_is_present_sorts_names():
    tokens = {
        "b": Tokens(draw(2, 2, 3), jnp.array([[True, False], [False, False]])),
        "a": Tokens(draw(2, 1, 3), jnp.array([[False], [True]])),
    }
    np.testing.assert_array_equal(layers.is_present(tokens), [[False, True], [True, False]])


def test_joint_dense_is_a_dense_layer_on_the_concatenation():
    vectors = {"b": draw(4, 50), "a": draw(4, 150, seed=1)}
    layer = JointDense(features=64)
    params = layer.init(jax.random.key(0), vectors)["params"]
    kernel = np.concatenate([params["a"]["kernel"], params["b"]["kernel"]])
    want = np.concatenate([vectors["a"], vectors["b"]], axis=1) @ kernel
    np.testing.assert_allclose(layer.apply({"params": params}, vectors), want, rtol=1e-4, atol=1e-5)
    for part in (kernel[:150], kernel[150:]):  # lecun_normal: the variance is one over the fan-in
        np.testing.assert_allclose(part.var() * 200, 1, rtol=0.1)


def test_attention_is_softmax_attention_to_valid_tokens():
    queries, context = np.asarray(draw(3, 2, 8)), np.asarray(draw(3, 4, 8, seed=1))
    mask = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]], bool)
    attention = Attention(num_heads=2)
    variables = random_variables(attention, queries, context, mask)
    apply = partial(attention.apply, variables, queries, context, jnp.asarray(mask))
    (got, weights), _ = apply(mutable=["intermediates"])
    assert apply()[1] is None
    want = attend(variables["params"], queries, context, mask)
    shares = attention_weights(variables["params"], queries, context, mask)
    np.testing.assert_allclose(weights, shares, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(got[2], 0)


def test_attention_may_have_a_mask_per_query():
    queries, context = draw(2, 3, 8), draw(2, 4, 8, seed=1)
    mask = np.random.default_rng(2).random((2, 3, 4)) < 0.5
    mask[1, 2] = False
    attention = Attention(num_heads=2)
    variables = random_variables(attention, queries, context, mask)
    got, _ = attention.apply(variables, queries, context, jnp.asarray(mask))
    for i in range(3):
        one = np.asarray(queries[:, i : i + 1])
        want = attend(variables["params"], one, np.asarray(context), mask[:, i])
        np.testing.assert_allclose(got[:, i : i + 1], want, rtol=1e-4, atol=1e-5)


def test_transformer_block_reads_what_it_may():
    x = Tokens(draw(2, 3, 8), jnp.ones((2, 3), bool))
    context = Tokens(draw(2, 4, 8, seed=1), jnp.array([[1, 1, 1, 1], [1, 0, 1, 0]], bool))
    reads = jnp.array([[1, 1, 1, 1], [0, 1, 1, 0], [0, 1, 0, 1]], bool)
    reader = TransformerBlock(num_heads=2)
    variables = random_variables(reader, x, context, train=False)
    got = reader.apply(variables, x, context, reads=reads, train=False)
    np.testing.assert_array_equal(got.mask, x.mask)
    for i in range(3):
        one = Tokens(x.values[:, i : i + 1], x.mask[:, i : i + 1])
        seen = context._replace(mask=context.mask & reads[None, i])
        want = reader.apply(variables, one, seen, train=False)
        np.testing.assert_allclose(got.values[:, i : i + 1], want.values, rtol=1e-4, atol=1e-5)


def test_join_keeps_the_order_of_its_parts():
    first = Tokens(draw(2, 1, 3), jnp.array([[True], [False]]))
    second = Tokens(draw(2, 2, 3, seed=1), jnp.array([[True, False], [False, True]]))
    joined = layers.join(first, second)
    np.testing.assert_array_equal(joined.values[:, 0], first.values[:, 0])
    np.testing.assert_array_equal(joined.values[:, 1:], second.values)
    np.testing.assert_array_equal(joined.mask, [[True, True, False], [False, False, True]])


def test_attention_refuses_heads_that_do_not_divide_the_width():
    x = jnp.ones((1, 2, 6))
    with pytest.raises(UsageError, match=r"num_heads: expected a divisor of the width 6, got 4"):
        Attention(num_heads=4).init(jax.random.key(0), x, x, jnp.ones((1, 2), bool))


@pytest.mark.parametrize("crossed", [False, True])
def test_transformer_block(crossed):
    x = Tokens(draw(3, 4, 8), jnp.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]], bool))
    context = Tokens(draw(3, 2, 6, seed=1), jnp.array([[1, 1], [1, 0], [0, 0]], bool))
    transformer_block, args = TransformerBlock(num_heads=2), (x, context) if crossed else (x,)
    variables = random_variables(transformer_block, *args, train=False)
    got = transformer_block.apply(variables, *args, train=False)
    want = block(variables["params"], *(np.asarray(array) for part in args for array in part))
    np.testing.assert_allclose(got.values, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(got.mask, x.mask)
