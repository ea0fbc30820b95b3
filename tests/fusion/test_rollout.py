"""Attention rollout: which modalities a chain of transformer blocks has read."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import (
    OUT_DIM,
    WIDTH,
    attention_weights,
    norm,
    presence,
    ragged,
    random_variables,
)
from representatives import representatives

from mmjax.fusion import FUSIONS
from mmjax.fusion.building_blocks import token_sources
from mmjax.layers import MODALITY_WEIGHTS, learned_tokens
from mmjax.layers.blocks import TransformerBlock, show_rollout
from mmjax.testing.common import compile_fast
from mmjax.types import Tokens

CHAINED = ["transformer", "late_transformer", "zorro", "perceiver_io"]


def observe(module, variables, *args, **kwargs):
    apply = partial(module.apply, mutable=["intermediates"], **kwargs)
    return compile_fast(apply)(variables, *args)[1]["intermediates"]


class Chain(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        latents = learned_tokens(self, "latents", (3, 8), len(tokens.mask))
        latents = TransformerBlock(2, name="read")(latents, tokens, train=False)
        latents = TransformerBlock(2, name="think")(latents, train=False)
        first, others = (Tokens(x, x) for x in jnp.split(tokens.values, [1], axis=1))
        show_rollout(self, ["read", "think"], token_sources([first, others]))
        return latents.values


def test_shares_are_attention_multiplied_through_the_blocks():
    values = np.random.default_rng(1).normal(size=(2, 4, 8)).astype(np.float32)
    tokens = Tokens(values, np.array([[1, 1, 1, 1], [1, 0, 1, 0]], bool))
    chain = Chain()
    variables = random_variables(chain, tokens)
    seen = observe(chain, variables, tokens)
    (got,) = seen[MODALITY_WEIGHTS]

    p = variables["params"]
    latents = np.repeat(p["latents"][None], 2, axis=0)
    queries = norm(p["read"]["LayerNorm_0"], latents)
    keys = norm(p["read"]["norm_context"], values)
    read = attention_weights(p["read"]["Attention_0"], queries, keys, tokens.mask).mean(axis=1)
    (thought,) = seen["think"]["flow"]
    np.testing.assert_allclose(seen["read"]["flow"][0], read, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(thought.sum(axis=2), 1, rtol=1e-5)
    assert (np.diagonal(thought, axis1=1, axis2=2) >= 0.5).all()
    of_tokens = (thought @ read)[:, 0]  # [batch, 4], each row sums to one
    want = np.stack([of_tokens[:, 0], of_tokens[:, 1:].sum(axis=1)], axis=1)
    np.testing.assert_allclose(got, want, rtol=1e-4)


@pytest.mark.parametrize("name", representatives(CHAINED, ["transformer"]))
def test_attention_without_preference_counts_valid_tokens(name):
    tokens = ragged()
    fusion = FUSIONS[name](out_dim=OUT_DIM, width=WIDTH)
    variables = random_variables(fusion, tokens, train=False)
    indifferent = jax.tree_util.tree_map_with_path(
        lambda path, x: x * ("query" not in jax.tree_util.keystr(path[-2:])), variables
    )
    (got,) = observe(fusion, indifferent, tokens, train=False)[MODALITY_WEIGHTS]
    count = np.stack([tokens[n].mask.sum(axis=1) for n in sorted(tokens)], axis=1)
    if name == "late_transformer":
        count = presence(tokens)
    np.testing.assert_allclose(got, count / np.maximum(count.sum(1, keepdims=True), 1), rtol=1e-5)


@pytest.mark.parametrize("name", representatives(CHAINED, ["transformer"]))
def test_shares_follow_the_names_and_leave_out_what_is_absent(name):
    tokens = ragged()
    fusion = FUSIONS[name](out_dim=OUT_DIM, width=WIDTH)
    variables = random_variables(fusion, tokens, train=False)
    (got,) = observe(fusion, variables, tokens, train=False)[MODALITY_WEIGHTS]
    backwards = dict(reversed(tokens.items()))
    (again,) = observe(fusion, variables, backwards, train=False)[MODALITY_WEIGHTS]
    np.testing.assert_array_equal(got, again)
    present = presence(tokens)
    assert ((got > 0) == present).all()
    np.testing.assert_allclose(got.sum(axis=1), present.any(axis=1), rtol=1e-5)
