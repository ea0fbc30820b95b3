"""Fusions of decisions against NumPy: generic parameters, absent modalities, masked tokens."""

from functools import reduce
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import (
    OUT_DIM,
    PRESENT,
    SHAPES,
    WIDTH,
    assert_close,
    branches,
    dense,
    joint,
    pool,
    ragged,
    run,
    weigh,
)
from scipy.special import log_softmax, logsumexp, softmax

from mmjax.fusion.dynamic import DynamicFusion
from mmjax.fusion.energy_weighted import EnergyWeightedFusion
from mmjax.fusion.evidential import (
    ETMCFusion,
    EvidentialFusion,
    Opinion,
    combine,
    to_evidence,
    to_opinion,
)
from mmjax.fusion.i2m2 import I2M2Fusion
from mmjax.fusion.late import LateMaxFusion, LateProbMeanFusion
from mmjax.fusion.mmcosine import MMCosineFusion
from mmjax.fusion.stacking import StackingFusion
from mmjax.testing import make_tokens

NOTHING = PRESENT.index([0, 0, 0])


def fuse(fusion_class, tokens, **fields):
    return run(fusion_class(out_dim=OUT_DIM, width=WIDTH, **fields), tokens)


def apply(fusion, params, tokens):
    return jax.jit(lambda p: fusion.apply({"params": p}, tokens, train=False))(params)


def present_logits(p, tokens):
    """[batch, modality, out_dim], zeros where a modality is absent, and which are present."""
    logits, present = branches(p, tokens)
    return np.where(present[..., None], logits, 0), present


def stacked(got, tokens):
    return np.stack([got.branches[n] for n in tokens], axis=1)


def joint_expert(p, tokens):
    return dense(p["readout"], np.maximum(joint(p["joint"], pool(tokens)), 0))


@pytest.mark.parametrize(
    "fusion_class",
    [LateProbMeanFusion, LateMaxFusion, I2M2Fusion, EnergyWeightedFusion, DynamicFusion],
)
def test_branches_are_the_logits_of_each_modality(fusion_class):
    tokens = ragged()
    got, p = fuse(fusion_class, tokens)
    assert_close(stacked(got, tokens), present_logits(p, tokens)[0])


@pytest.mark.parametrize(
    ("fusion_class", "reduce_over"), [(LateProbMeanFusion, np.mean), (LateMaxFusion, np.max)]
)
def test_rules_on_probabilities(fusion_class, reduce_over):
    tokens = ragged()
    got, p = fuse(fusion_class, tokens)
    logits, present = branches(p, tokens)
    for row, here in enumerate(present):
        uniform = np.full((1, OUT_DIM), 1 / OUT_DIM)
        said = softmax(logits[row, here], axis=-1) if here.any() else uniform
        assert_close(np.exp(got.prediction[row]), reduce_over(said, axis=0))


@pytest.mark.parametrize("fusion_class", [LateProbMeanFusion, LateMaxFusion])
def test_the_mean_and_the_maximum_of_equal_branches_are_a_branch(fusion_class):
    one = make_tokens({"left": (3, 5)})
    twins = {"left": one["left"], "right": one["left"]}
    fusion = fusion_class(out_dim=OUT_DIM, width=WIDTH)
    params = run(fusion, one)[1]
    got = apply(fusion, {f"readout_{n}": params["readout_left"] for n in twins}, twins)
    assert_close(got.prediction, log_softmax(got.branches["right"], axis=-1))


def test_i2m2():
    tokens = ragged()
    got, p = fuse(I2M2Fusion, tokens)
    unimodal = present_logits(p, tokens)[0].sum(axis=1)
    assert_close(got.prediction, unimodal + joint_expert(p, tokens))


def test_i2m2_with_a_joint_expert_of_zero_is_the_sum_of_the_logits():
    tokens, fusion = ragged(), I2M2Fusion(out_dim=OUT_DIM, width=WIDTH)
    _, p = run(fusion, tokens)
    p["readout"] = jax.tree.map(np.zeros_like, p["readout"])
    got = apply(fusion, p, tokens)
    assert_close(got.prediction, sum(got.branches.values()))


def test_energy_weighted():
    tokens = ragged()
    got, p = fuse(EnergyWeightedFusion, tokens, scale=0.3)
    logits, _ = present_logits(p, tokens)
    weights = 0.3 * np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    assert_close(got.prediction, (weights * logits).sum(axis=1))


def test_energy_is_ten_times_the_weight_of_one_modality():
    tokens = make_tokens({"audio": (3, 5)})
    got, _ = fuse(EnergyWeightedFusion, tokens)
    energy = -logsumexp(got.branches["audio"], axis=1, keepdims=True)
    assert_close(got.prediction, -energy / 10 * got.branches["audio"])


def test_dynamic():
    tokens = ragged()
    got, p = fuse(DynamicFusion, tokens, resource_weight=0.5)
    logits, present = present_logits(p, tokens)
    hidden = np.maximum(joint(p["gate"], pool(tokens)), 0)
    gates = [*(f"gate_{n}" for n in tokens), "joint_gate"]
    scores = np.concatenate([dense(p[gate], hidden) for gate in gates], axis=1)
    weights = weigh(scores, np.column_stack([present, present.all(axis=1)]))
    experts = np.concatenate([logits, joint_expert(p, tokens)[:, None]], axis=1)
    assert_close(got.prediction, (weights[..., None] * experts).sum(axis=1))
    cost = weights @ [1 / 3, 1 / 3, 1 / 3, 1]
    assert_close(got.aux["resources"], 0.5 * cost[:NOTHING].mean())


def test_cheap_experts_are_cheaper():
    tokens, fusion = make_tokens(SHAPES), DynamicFusion(out_dim=OUT_DIM, width=WIDTH)
    grad = jax.grad(lambda p: apply(fusion, p, tokens).aux["resources"])(run(fusion, tokens)[1])
    assert grad["joint_gate"]["bias"] > 0
    assert all(grad[f"gate_{n}"]["bias"] < 0 for n in tokens)


def test_stacking():
    tokens = ragged()
    got, p = fuse(StackingFusion, tokens)
    logits, _ = present_logits(p, tokens)
    centred = logits - logits.mean(axis=-1, keepdims=True)
    assert_close(stacked(got, tokens), centred)
    by_name = {n: centred[:, i] for i, n in enumerate(tokens)}
    assert_close(got.prediction, joint(p["meta"], by_name))


def test_stacking_does_not_see_what_softmax_does_not():
    tokens, fusion = ragged(), StackingFusion(out_dim=OUT_DIM, width=WIDTH)
    before, p = run(fusion, tokens)
    p["readout_text"]["Dense_1"]["bias"] += 5
    assert_close(apply(fusion, p, tokens).prediction, before.prediction)


def test_stacking_has_the_parameters_that_its_method_trains():
    parts = set(fuse(StackingFusion, ragged())[1])
    assert parts == {"meta", "readout_audio", "readout_image", "readout_text"}


# Evidence


def dempster(one, other):
    """Dempster's rule on {set of classes: mass}, in its general form."""
    combined, conflict = {}, 0
    for a, mass in one.items():
        for b, other_mass in other.items():
            if a & b:
                combined[a & b] = combined.get(a & b, 0) + mass * other_mass
            else:
                conflict += mass * other_mass
    return {s: mass / (1 - conflict) for s, mass in combined.items()}


def opinion_of(evidence):
    """{set of classes: mass}: each class, and all of them."""
    strength = evidence.sum() + OUT_DIM
    masses = {frozenset([k]): e / strength for k, e in enumerate(evidence)}
    return {**masses, frozenset(range(OUT_DIM)): OUT_DIM / strength}


@pytest.mark.parametrize("num_modalities", [1, 3])
def test_mmcosine(num_modalities):
    tokens = ragged(num_modalities)
    got, p = fuse(MMCosineFusion, tokens, scale=3.0)
    want = np.zeros((len(PRESENT), OUT_DIM))
    for n, x in pool(tokens).items():
        hidden, weights = np.maximum(dense(p[f"project_{n}"], x), 0), p[f"weights_{n}"]
        norms = np.linalg.norm(hidden, axis=1)[:, None] * np.linalg.norm(weights, axis=0)
        here = np.asarray(tokens[n].mask).any(axis=1, keepdims=True)
        logits = np.where(here, 3 * (hidden @ weights) / norms, 0)
        assert_close(got.branches[n], logits)
        want += logits
    assert_close(got.prediction, want)


def test_mmcosine_weighs_no_modality_by_its_norms():
    tokens, fusion = ragged(2), MMCosineFusion(out_dim=OUT_DIM, width=WIDTH)
    got, p = run(fusion, tokens)
    louder = {**p, "weights_audio": 50 * p["weights_audio"]}
    louder["project_image"] = jax.tree.map(lambda x: 50 * x, p["project_image"])
    assert_close(apply(fusion, louder, tokens).prediction, got.prediction)


def test_mmcosine_has_a_gradient_where_all_features_are_zero():
    tokens, fusion = ragged(2), MMCosineFusion(out_dim=OUT_DIM, width=WIDTH)
    _, p = run(fusion, tokens)
    p = {**p, "project_audio": jax.tree.map(np.zeros_like, p["project_audio"])}
    loss = lambda p: jnp.square(fusion.apply({"params": p}, tokens, train=False).prediction).sum()
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(jax.jit(jax.grad(loss))(p)))


def alpha_of_all(views):
    """Parameters of the Dirichlet, [classes], from the evidence of each view, [view, classes]."""
    masses = reduce(dempster, map(opinion_of, views))
    np.testing.assert_allclose(sum(masses.values()), 1)
    strength = OUT_DIM / masses[frozenset(range(OUT_DIM))]
    return np.array([masses[frozenset([k])] * strength + 1 for k in range(OUT_DIM)])


@pytest.mark.parametrize("num_modalities", [1, 2, 3])
def test_evidential(num_modalities):
    tokens = ragged(num_modalities)
    got, p = fuse(EvidentialFusion, tokens)
    logits, present = branches(p, tokens)
    evidence = np.where(present[..., None], np.log1p(np.exp(logits)), 0)
    assert_close(stacked(got, tokens), np.log(evidence + 1))
    for row, of_modalities in enumerate(evidence):
        alpha = alpha_of_all(of_modalities)
        assert_close(np.exp(got.prediction[row]), alpha)
        assert_close(softmax(got.prediction[row]), alpha / alpha.sum())


@pytest.mark.parametrize("num_modalities", [1, 3])
def test_etmc(num_modalities):
    tokens = ragged(num_modalities)
    got, p = fuse(ETMCFusion, tokens)
    logits, present = branches(p, tokens)
    evidence = np.where(present[..., None], np.log1p(np.exp(logits)), 0)
    pseudo = np.log1p(np.exp(joint_expert(p, tokens)))
    pseudo = np.where(present.any(axis=1, keepdims=True), pseudo, 0)
    assert_close(stacked(got, tokens), np.log(evidence + 1))
    assert_close(got.joint, np.log(pseudo + 1))
    views = np.concatenate([evidence, pseudo[:, None]], axis=1)
    assert_close(np.exp(got.prediction), [alpha_of_all(row) for row in views])


@pytest.mark.parametrize("fusion_class", [EvidentialFusion, ETMCFusion])
def test_only_a_pseudo_view_sees_interactions(fusion_class):
    """Without it ``log (1 + e / K)`` of the whole is the sum of those of the modalities."""
    tokens, fusion = make_tokens({"a": (1, 4), "b": (1, 3)}), fusion_class(OUT_DIM, WIDTH)
    _, p = run(fusion, tokens)

    def logs(a, b):
        given = {"a": a, "b": b}
        moved = {n: t._replace(values=given[n] * t.values) for n, t in tokens.items()}
        alpha = np.exp(apply(fusion, p, moved).prediction)
        return np.log1p((alpha - 1) / OUT_DIM)

    interaction = logs(2, 2) - logs(2, -2) - logs(-2, 2) + logs(-2, -2)
    assert (np.abs(interaction).max() > 0.01) == (fusion_class is ETMCFusion)


def some_opinions(count=3, batch=4):
    rng = np.random.default_rng(0)
    draw = lambda: jnp.asarray(rng.exponential(3, (batch, OUT_DIM)), jnp.float32)
    return [to_opinion(draw()) for _ in range(count)]


def test_masses_sum_to_one():
    for size in (1, 2, 3):
        belief, uncertainty = reduce(combine, some_opinions(size))
        assert_close(belief.sum(axis=1) + uncertainty[:, 0], 1)


def test_the_order_of_combination_is_irrelevant():
    want, *others = (reduce(combine, order) for order in permutations(some_opinions()))
    for got in others:
        jax.tree.map(assert_close, got, want)
    a, b, c = some_opinions()
    jax.tree.map(assert_close, combine(a, combine(b, c)), combine(combine(a, b), c))


def test_the_vacuous_opinion_is_neutral():
    (opinion,) = some_opinions(1)
    vacuous = Opinion(jnp.zeros_like(opinion.belief), jnp.ones_like(opinion.uncertainty))
    jax.tree.map(assert_close, to_opinion(jnp.zeros((4, OUT_DIM))), vacuous)
    jax.tree.map(assert_close, combine(opinion, vacuous), opinion)


def test_combined_evidence_has_a_closed_form():
    a, b = some_opinions(2)
    factors = (1 + to_evidence(a) / OUT_DIM) * (1 + to_evidence(b) / OUT_DIM)
    assert_close(to_evidence(combine(a, b)), OUT_DIM * (factors - 1))


def test_strong_evidence_for_unlike_classes_stays_finite():
    one, other = (to_opinion(1e6 * jnp.eye(OUT_DIM)[k : k + 1]) for k in (0, 1))
    belief, uncertainty = combine(one, other)
    assert_close(belief, [[0.5, 0.5, 0]])
    assert_close(belief.sum() + uncertainty, [[1]])
