"""Fusions with routed experts, or made for absent modalities, against NumPy and their claims."""

from itertools import combinations

import jax
import numpy as np
import pytest
from reference import (
    OUT_DIM,
    WIDTH,
    assert_close,
    attend,
    branches,
    dense,
    embed,
    joint,
    norm,
    pool,
    presence,
    project,
    ragged,
    run,
    weigh,
)
from scipy.special import log_softmax, softmax
from scipy.stats import norm as normal

from mmjax.fusion.flex_moe import FlexMoEFusion
from mmjax.fusion.fuse_moe import FuseMoEFusion
from mmjax.fusion.i2moe import I2MoEFusion
from mmjax.fusion.shaspec import ShaSpecFusion
from mmjax.fusion.simmlm import SimMLMFusion
from mmjax.testing import make_tokens
from mmjax.types import Tokens

SIZE = {"out_dim": OUT_DIM, "width": WIDTH}


def relu(x):
    return np.maximum(x, 0)


def predict(fusion, params, tokens):
    return jax.jit(lambda p: fusion.apply({"params": p}, tokens, train=False))(params)


def top_weights(scores, k):
    """Softmax over the k largest scores of a row: [row, expert]."""
    largest = np.argsort(-scores, axis=1)[:, :k]
    return weigh(scores, (largest[..., None] == np.arange(scores.shape[1])).any(axis=1))


def entropy(p):
    return -(p * np.log(p)).sum(axis=-1)


# SimMLM


def test_simmlm():
    tokens = ragged()
    got, p = run(SimMLMFusion(**SIZE), tokens)
    logits, present = branches(p, tokens)
    hidden = relu(joint(p["gate"], pool(tokens)))
    scores = np.concatenate([dense(p[f"gate_{n}"], hidden) for n in tokens], axis=1)
    weights = weigh(scores, present)
    assert_close(got.prediction, (weights[..., None] * logits).sum(axis=1))


def test_simmlm_stays_between_its_experts():
    """Of the modalities present: where only one is, it decides alone."""
    tokens = ragged()
    got, p = run(SimMLMFusion(**SIZE), tokens)
    logits, present = branches(p, tokens)
    for row in np.flatnonzero(present.any(axis=1)):
        said = logits[row, present[row]]
        assert (said.min(axis=0) - 1e-5 <= got.prediction[row]).all()
        assert (got.prediction[row] <= said.max(axis=0) + 1e-5).all()


# FuseMoE


@pytest.mark.parametrize("laplace", [True, False])
def test_fuse_moe(laplace):
    tokens, present = ragged(), presence(ragged())
    got, p = run(FuseMoEFusion(**SIZE, entropy_weight=0.3, laplace=laplace), tokens)
    kernel = p["readout"]["kernel"].reshape(4, WIDTH, OUT_DIM)
    want, chances = np.zeros((len(present), OUT_DIM)) + p["readout"]["bias"], []
    for m, n in enumerate(tokens):
        x = project(p, tokens)[:, m]
        distance = np.linalg.norm(x[:, None] - p[f"centres_{n}"], axis=2) if laplace else None
        scores = -distance if laplace else dense(p[f"router_{n}"], x)
        weights = np.where(present[:, m, None], top_weights(scores, 2), 0)
        for e in range(4):
            own = {"kernel": p["experts"]["kernel"].reshape(WIDTH, 4, WIDTH)[:, e]}
            hidden = relu(dense(own, x) + p["experts"]["bias"].reshape(4, WIDTH)[e])
            want += weights[:, e, None] * (hidden @ kernel[e])
        chances.append(softmax(scores, axis=1)[present[:, m]].mean(axis=0))
    assert_close(got.prediction, want)
    marginal = np.mean(chances, axis=0)
    assert_close(got.aux["entropy"], 0.3 * (entropy(np.stack(chances)).mean() - entropy(marginal)))


def test_a_laplace_gate_is_no_surer_than_its_centres_are_apart():
    fusion, tokens = FuseMoEFusion(**SIZE, top_k=3), make_tokens({"audio": (3, 5)}, batch=64)
    _, p = run(fusion, tokens)
    flat = {
        "kernel": np.zeros((WIDTH, 4 * WIDTH), np.float32),
        "bias": np.ones(4 * WIDTH, np.float32),
    }
    apart = np.linalg.norm(p["centres_audio"][:, None] - p["centres_audio"], axis=2)
    fused = predict(fusion, p | {"experts": flat}, tokens).fused  # holds the weights
    weights = np.asarray(fused).reshape(64, 4, WIDTH)[..., 0]
    assert ((weights > 0).sum(axis=1) == 3).all()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(weights[:, :, None] / weights[:, None])
    chosen = (weights[:, :, None] > 0) & (weights[:, None] > 0)
    assert (np.abs(ratio) <= apart + 1e-4)[chosen].all()
    assert ratio[chosen].max() > 0.5


def test_modalities_pay_less_for_experts_of_their_own():
    fusion, tokens = (
        FuseMoEFusion(**SIZE, entropy_weight=1),
        make_tokens({"a": (2, 5), "b": (3, 4)}),
    )
    _, p = run(fusion, tokens)
    far = np.full((4, WIDTH), 50, np.float32)

    def pays(first, second):
        own = lambda expert: np.where(np.arange(4)[:, None] == expert, 0, far)
        centres = {"centres_a": own(first), "centres_b": own(second)}
        return predict(fusion, p | centres, tokens).aux["entropy"]

    assert_close(pays(0, 1), -np.log(2))
    assert_close(pays(2, 2), 0)


# ShaSpec


def test_shaspec():
    tokens = ragged()
    got, p = run(ShaSpecFusion(**SIZE, alignment=0.5, domains=0.3), tokens)
    projected, present = project(p, tokens), presence(tokens)
    features, apart, confusion = [], [], []
    for x, here in zip(projected, present, strict=True):
        shared = relu(dense(p["shared"], x))
        own = [relu(dense(p[f"specific_{n}"], x[m])) for m, n in enumerate(tokens)]
        mean = shared[here].mean(axis=0) if here.any() else np.zeros(WIDTH)
        composed = [r + dense(p["compose"], np.r_[r, s]) for r, s in zip(shared, own, strict=True)]
        features.append(np.concatenate([composed[m] if here[m] else mean for m in range(3)]))
        pairs = combinations(np.flatnonzero(here), 2)
        apart += [np.abs(shared[a] - shared[b]).mean() for a, b in pairs]
        told = [-log_softmax(dense(p["domain"], own[m]))[m] for m in range(3) if here[m]]
        confusion += told
    hidden = relu(dense(p["decode"], np.stack(features)))
    assert_close(got.prediction, dense(p["readout"], hidden))
    assert_close(got.aux["alignment"], 0.5 * np.mean(apart))
    assert_close(got.aux["domains"], 0.3 * np.mean(confusion))


def twins():
    """ShaSpec on two modalities that say the same."""
    first = make_tokens({"a": (1, 5)})["a"]
    tokens = {"a": first, "b": first}
    fusion = ShaSpecFusion(**SIZE, alignment=1.0, domains=1.0)
    _, p = run(fusion, tokens)
    return fusion, p | {"project_b": p["project_a"]}, tokens


def test_shared_features_that_are_aligned_stand_in_for_an_absent_modality():
    fusion, p, tokens = twins()
    alone = tokens | {"b": Tokens(tokens["b"].values, np.zeros((4, 1), bool))}
    unlike = predict(fusion, p, tokens).prediction - predict(fusion, p, alone).prediction
    assert np.abs(unlike).max() > 0.1  # what is specific is lost
    shares_all = p | {"compose": jax.tree.map(np.zeros_like, p["compose"])}
    both, one = (predict(fusion, shares_all, t) for t in (tokens, alone))
    assert_close(one.prediction, both.prediction)
    assert_close(both.aux["alignment"], 0)


def test_twins_differ_in_nothing_but_what_is_specific():
    """The classifier of modalities cannot tell twins apart unless their own encoders do."""
    fusion, p, tokens = twins()
    same = p | {"specific_b": p["specific_a"]}
    assert predict(fusion, same, tokens).aux["domains"] >= np.log(2) - 1e-5
    lose = jax.jit(jax.value_and_grad(lambda q: sum(predict(fusion, q, tokens).aux.values())))
    for _ in range(100):
        loss, grads = lose(p)
        p = jax.tree.map(lambda x, g: x - 0.3 * g, p, grads)
    assert loss < np.log(2) / 2


# Flex-MoE


def load(scores, spread, k):
    """The chance that an expert's score under noise exceeds the k-th largest of the others."""
    rest = [np.delete(scores, e, axis=1) for e in range(scores.shape[1])]
    exceeds = np.stack([np.sort(x, axis=1)[:, -k] for x in rest], axis=1)
    return normal.cdf((scores - exceeds) / spread)


def flex_moe_tokens(p, tokens):
    """Tokens with those of the bank, [batch, length, width], their masks and modalities."""
    present, embedded = presence(tokens), embed(p, tokens)
    combination = present @ [1, 2, 4]
    parts = [
        (
            np.concatenate([embedded[n], p["bank"][combination, m][:, None]], axis=1),
            np.concatenate([tokens[n].mask, ~present[:, m : m + 1]], axis=1),
            m,
        )
        for m, n in enumerate(tokens)
    ]
    values, masks = (np.concatenate([part[i] for part in parts], axis=1) for i in (0, 1))
    return values, masks, np.concatenate([np.full(mask.shape[1], m) for _, mask, m in parts])


@pytest.mark.parametrize("num_experts", [4, 8])
def test_flex_moe(num_experts):
    tokens = ragged()
    fusion = FlexMoEFusion(**SIZE, num_experts=num_experts, router_weight=0.5)
    got, p = run(fusion, tokens)
    x, mask, modality = flex_moe_tokens(p, tokens)
    queries = norm(p["norm_attention"], x)
    x = x + attend(p["attention"], queries, queries, mask)
    routed = norm(p["norm_experts"], x)
    scores = dense(p["gate"], routed)
    shape, flat = scores.shape, (-1, num_experts)
    weights = np.where(mask[..., None], top_weights(scores.reshape(flat), 2).reshape(shape), 0)
    hidden = relu(dense(p["experts"], routed)).reshape(*shape, WIDTH) * weights[..., None]
    x = x + dense(p["mix"], hidden.reshape(*shape[:2], -1))
    counts = [mask & (modality == m) for m in range(3)]
    means = [
        np.where(here[..., None], x, 0).sum(axis=1) / here.sum(axis=1, keepdims=True)
        for here in counts
    ]
    assert_close(got.prediction, dense(p["readout"], np.concatenate(means, axis=1)))

    spread = np.log1p(np.exp(dense(p["noise"], routed))) + 0.01
    chance = load(scores.reshape(flat), spread.reshape(flat), 2).reshape(shape)
    combination = presence(tokens) @ [1, 2, 4]
    full = mask & (combination == 7)[:, None]
    partial = mask & ((combination > 0) & (combination < 7))[:, None]
    variation = lambda a: a.var() / a.mean() ** 2
    balance = sum(
        variation(a[full].sum(axis=0)) + variation(a[partial].sum(axis=0)[1:])
        for a in (weights, chance)
    )
    own = np.array([0, *(1 + c % (num_experts - 1) for c in range(7))])[combination]
    told = -np.take_along_axis(log_softmax(scores, axis=2), own[:, None, None], axis=2)[..., 0]
    assert_close(got.aux["balance"], 0.5 * balance)
    assert_close(got.aux["specialisation"], 0.5 * told[partial].mean())


def test_rows_read_the_bank_of_their_combination_alone():
    fusion, tokens = FlexMoEFusion(**SIZE), ragged()
    got, p = run(fusion, tokens)
    before = np.asarray(got.prediction)
    combination = presence(tokens) @ [1, 2, 4]
    for c in (1, 5, 7):
        changed = p["bank"].copy()
        changed[c] += np.random.default_rng(c).normal(size=changed[c].shape)
        after = predict(fusion, p | {"bank": changed}, tokens).prediction
        moved = np.abs(after - before).max(axis=1) > 1e-6
        np.testing.assert_array_equal(moved, (combination == c) & (c != 7))


def test_rows_come_to_the_expert_of_their_combination():
    fusion, tokens = FlexMoEFusion(**SIZE, router_weight=1.0), ragged()
    _, p = run(fusion, tokens)
    lose = jax.jit(jax.value_and_grad(lambda q: predict(fusion, q, tokens).aux["specialisation"]))
    start, _ = lose(p)
    for _ in range(60):
        loss, grads = lose(p)
        p = jax.tree.map(lambda x, g: x - 0.5 * g, p, grads)
    assert loss < 0.2 < start


# I2MoE


def expert_says(p, e, vectors):
    """One expert of I2MoE: [batch, out_dim]."""
    own = lambda x: x[..., e * WIDTH : (e + 1) * WIDTH]
    return dense(p[f"readout_{e}"], relu(joint(jax.tree.map(own, p["experts"]), vectors)))


def without(vectors, name):
    return {n: np.zeros_like(x) if n == name else x for n, x in vectors.items()}


def cosine(x, y):
    return (x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)


def test_i2moe():
    tokens, names = ragged(), list(ragged())
    got, p = run(I2MoEFusion(**SIZE, interaction_weight=0.3), tokens)
    vectors, present = pool(tokens), presence(tokens)
    whole = [expert_says(p, e, vectors) for e in range(5)]
    weights = softmax(dense(p["weights"], relu(joint(p["reweight"], vectors))), axis=1)
    assert_close(got.prediction, sum(weights[:, e, None] * y for e, y in enumerate(whole)))

    masked = [[expert_says(p, e, without(vectors, n)) for n in names] for e in range(5)]
    counts = present & (present.sum(axis=1, keepdims=True) > 1)
    margins = []
    for m in range(3):
        moved = [np.linalg.norm(whole[m] - y, axis=1) for y in masked[m]]
        for n in {0, 1, 2} - {m}:
            both = counts[:, m] & counts[:, n]
            margins += [*relu(moved[n] - moved[m] + 1)[both]]
    alike = lambda e: np.stack([cosine(whole[e], y) for y in masked[e]], axis=1)[counts]
    assert_close(got.aux["uniqueness"], 0.3 * np.mean(margins) * 3 / 5)
    assert_close(got.aux["synergy"], 0.3 * alike(3).mean() / 5)
    assert_close(got.aux["redundancy"], 0.3 * (1 - alike(4)).mean() / 5)


def test_the_terms_teach_experts_their_interaction():
    """What they say then depends on one modality alone, on all, or on none in particular."""
    tokens = make_tokens({"a": (2, 5), "b": (3, 4)}, batch=16)
    fusion = I2MoEFusion(**SIZE, interaction_weight=4.0)
    _, p = run(fusion, tokens)
    lose = jax.jit(jax.grad(lambda q: sum(predict(fusion, q, tokens).aux.values())))
    for _ in range(80):
        p = jax.tree.map(lambda x, g: x - 0.2 * g, p, lose(p))
    p = jax.device_get(p)
    vectors = jax.device_get(pool(tokens))
    said = lambda e: [expert_says(p, e, v) for v in (vectors, *(without(vectors, n) for n in "ab"))]
    for e, (whole, *masked) in enumerate(map(said, range(2))):
        moved = [np.linalg.norm(whole - y, axis=1).mean() for y in masked]
        assert moved[e] > moved[1 - e] + 0.8
    alike = [[cosine(whole, y).mean() for y in masked] for whole, *masked in map(said, (2, 3))]
    assert max(alike[0]) < 0.2
    assert min(alike[1]) > 0.9
