"""Every fusion against NumPy, with generic parameters, absent modalities and masked tokens."""

from functools import partial

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import (
    OUT_DIM,
    PRESENT,
    SHAPES,
    WIDTH,
    assert_close,
    block,
    branches,
    by_row,
    clean,
    dense,
    embed,
    fuse,
    joint,
    mean,
    norm,
    pool,
    presence,
    project,
    ragged,
    weigh,
)
from representatives import FUSIONS as CHOSEN
from representatives import representatives
from scipy.special import expit, log_softmax, softmax

from mmjax.errors import UsageError
from mmjax.fusion import FUSIONS
from mmjax.testing import make_tokens
from mmjax.types import Tokens


def test_early():
    tokens = ragged()
    got, p = fuse("early", tokens)
    flat = {n: x.reshape(len(x), -1) for n, x in clean(tokens)[0].items()}
    hidden = np.maximum(joint(p["joint"], flat), 0)
    hidden = np.maximum(dense(p["hidden_1"], hidden), 0)
    assert_close(got.prediction, dense(p["readout"], hidden))


def test_concat():
    tokens = ragged()
    got, p = fuse("concat", tokens)
    assert_close(
        got.prediction, dense(p["readout"], np.maximum(joint(p["joint"], pool(tokens)), 0))
    )


@pytest.mark.parametrize(
    ("name", "reduce"), {"sum": np.sum, "mean": np.mean, "max": np.max, "product": np.prod}.items()
)
def test_elementwise(name, reduce):
    tokens = ragged()
    got, p = fuse(name, tokens)
    mixed = by_row(project(p, tokens), presence(tokens), reduce)
    assert_close(got.prediction, dense(p["readout"], mixed))


def test_weighted():
    tokens = ragged()
    got, p = fuse("weighted", tokens)
    scores = np.array([p["weights"][f"weight_{n}"] for n in tokens])
    weights = weigh(scores, presence(tokens))
    mixed = (weights[..., None] * project(p, tokens)).sum(axis=1)
    assert_close(got.prediction, dense(p["readout"], mixed))


def test_attention_pool():
    tokens = ragged()
    got, p = fuse("attention_pool", tokens)
    scores = [joint(p[f"score_{n}"], pool(tokens)) for n in tokens]
    weights = weigh(np.concatenate(scores, axis=1), presence(tokens))
    mixed = (weights[..., None] * project(p, tokens)).sum(axis=1)
    assert_close(got.prediction, dense(p["readout"], mixed))


@pytest.mark.parametrize("num_modalities", [1, 2, 3])
def test_gmu(num_modalities):
    tokens = ragged(num_modalities)
    got, p = fuse("gmu", tokens)
    if num_modalities == 2:
        gate = expit(joint(p["gate_audio"], pool(tokens)))
        gates = [gate, 1 - gate]
    else:
        gates = [expit(joint(p[f"gate_{n}"], pool(tokens))) for n in tokens]
    gated = np.stack(gates, axis=1) * project(p, tokens)
    assert_close(got.prediction, dense(p["readout"], by_row(gated, presence(tokens), np.sum)))


def test_transformer():
    tokens = ragged()
    got, p = fuse("transformer", tokens)
    embedded, masks = embed(p, tokens), clean(tokens)[1]
    cls = np.broadcast_to(p["cls"], (len(PRESENT), 1, WIDTH))
    x = np.concatenate([cls, *embedded.values()], axis=1)
    mask = np.concatenate([np.ones((len(PRESENT), 1), bool), *masks.values()], axis=1)
    for i in range(2):
        x = block(p[f"block_{i}"], x, mask)
    assert_close(got.prediction, dense(p["readout"], norm(p["norm"], x[:, 0])))


@pytest.mark.parametrize("num_modalities", [1, 3])
def test_cross_attention(num_modalities):
    tokens = ragged(num_modalities)
    got, p = fuse("cross_attention", tokens)
    embedded, masks = embed(p, tokens), clean(tokens)[1]
    pooled = {}
    for n, own in embedded.items():
        streams = [
            block(p[f"{n}_from_{other}_0"], own, masks[n], context, masks[other])
            for other, context in embedded.items()
            if other != n
        ]
        merged = block(p[f"{n}_0"], np.concatenate(streams or [own], axis=-1), masks[n])
        merged = norm(p[f"norm_{n}"], merged)
        pooled[n] = mean(np.where(masks[n][..., None], merged, 0), masks[n])
    assert_close(got.prediction, joint(p["readout"], pooled))


@pytest.mark.parametrize("name", ["late_mean", "late_weighted", "product_of_experts"])
def test_late_fusions_return_their_branches(name):
    tokens = ragged()
    got, p = fuse(name, tokens)
    logits, present = branches(p, tokens)
    want = np.where(present[..., None], logits, 0)
    assert_close(np.stack([got.branches[n] for n in tokens], axis=1), want)


def test_late_mean():
    tokens = ragged()
    got, p = fuse("late_mean", tokens)
    assert_close(got.prediction, by_row(*branches(p, tokens), np.mean))


def test_late_weighted():
    tokens = ragged()
    got, p = fuse("late_weighted", tokens)
    logits, present = branches(p, tokens)
    scores = np.array([p["weights"][f"weight_{n}"] for n in tokens])
    assert_close(got.prediction, (weigh(scores, present)[..., None] * logits).sum(axis=1))


def test_product_of_experts():
    tokens = ragged()
    got, p = fuse("product_of_experts", tokens)
    logits, present = branches(p, tokens)
    prior = softmax(p["prior"])
    experts = by_row(softmax(logits, axis=-1), present, np.prod)
    experts[~present.any(axis=1)] = 1
    joint_probability = experts / prior ** (present.sum(axis=1, keepdims=True) - 1)
    want = joint_probability / joint_probability.sum(axis=1, keepdims=True)
    assert_close(np.exp(got.prediction), want)


# Identities


def twins(seed):
    """Two modalities that are the same, for one set of weights to read twice."""
    tokens = make_tokens({"left": (3, 5)}, seed=seed)
    return {"left": tokens["left"], "right": tokens["left"]}


def share_weights(params):
    return {n: params[n.replace("right", "left")] for n in params}


@given(seed=st.integers(0, 100))
@settings(max_examples=5, deadline=None)
def test_late_mean_of_identical_branches_is_a_branch(seed):
    tokens, fusion = twins(seed), FUSIONS["late_mean"](out_dim=OUT_DIM, width=WIDTH)
    params = fusion.init(jax.random.key(seed), tokens, train=False)["params"]
    outputs = fusion.apply({"params": share_weights(params)}, tokens, train=False)
    assert_close(outputs.prediction, outputs.branches["left"])


@given(seed=st.integers(0, 100))
@settings(max_examples=5, deadline=None)
def test_product_of_one_expert_is_its_log_softmax(seed):
    tokens = make_tokens({"audio": (3, 5)}, seed=seed)
    fusion = FUSIONS["product_of_experts"](out_dim=OUT_DIM, width=WIDTH)
    variables = fusion.init(jax.random.key(seed), tokens, train=False)
    outputs = fusion.apply(variables, tokens, train=False)
    assert_close(outputs.prediction, log_softmax(outputs.branches["audio"], axis=-1))


@given(seed=st.integers(0, 100))
@settings(max_examples=5, deadline=None)
def test_equal_weights_make_the_mean(seed):
    tokens = make_tokens(SHAPES, seed=seed)
    weighted, mean_fusion = (FUSIONS[n](out_dim=OUT_DIM, width=WIDTH) for n in ("weighted", "mean"))
    params = weighted.init(jax.random.key(seed), tokens, train=False)["params"]
    shared = {n: p for n, p in params.items() if n != "weights"}
    got = weighted.apply({"params": params}, tokens, train=False)
    want = mean_fusion.apply({"params": shared}, tokens, train=False)
    assert_close(got.prediction, want.prediction)


@pytest.mark.parametrize(
    "name",
    representatives(
        [n for n, f in FUSIONS.items() if f.level != "input"], [*CHOSEN[1:], "transformer"]
    ),
)
def test_padding_with_masked_tokens_changes_nothing(name):
    tokens = ragged(2)
    pad = lambda x: np.pad(x, [(0, 0), (0, 2)] + [(0, 0)] * (x.ndim - 2))
    padded = {n: Tokens(*map(pad, t)) for n, t in tokens.items()}
    assert_close(fuse(name, padded)[0].prediction, fuse(name, tokens)[0].prediction)


@pytest.mark.parametrize(
    ("name", "field", "what"),
    [
        ("coupled_mamba", "window", "window"),
        ("healnet", "num_latents", "latents"),
        ("q_former", "num_queries", "queries"),
    ],
)
def test_fusion_refuses_a_number_of_zero(name, field, what):
    fusion, tokens = FUSIONS[name](out_dim=3, width=8, **{field: 0}), make_tokens({"a": (2, 4)})
    with pytest.raises(UsageError, match=f"{what}: expected at least 1"):
        jax.eval_shape(lambda: fusion.init(jax.random.key(0), tokens, train=False))


@pytest.mark.parametrize("name", representatives(FUSIONS, CHOSEN))
def test_another_modality_renames_nothing(name):
    fusion = FUSIONS[name](out_dim=OUT_DIM, width=WIDTH)
    init = lambda size: fusion.init(jax.random.key(0), ragged(size), train=False)
    two, three = (set(names(jax.eval_shape(partial(init, size)))) for size in (2, 3))
    assert two < three


def names(params):
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return [jax.tree_util.keystr(path) for path, _ in leaves]
