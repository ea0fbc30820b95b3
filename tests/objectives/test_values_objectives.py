"""Objectives against NumPy, with modalities that rows lack, and what they leave out."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma, gammaln, log_softmax, logsumexp
from scipy.stats import dirichlet

from mmjax.errors import UsageError
from mmjax.objectives.branches import branch_mean, branches
from mmjax.objectives.classification import cross_entropy, focal, label_smoothing
from mmjax.objectives.confidence_ranking import confidence_ranking
from mmjax.objectives.contrastive import info_nce, supervised_contrastive
from mmjax.objectives.evidential import evidential
from mmjax.testing.common import compile_fast
from mmjax.types import Batch, Outputs, Tokens

RNG = np.random.default_rng(0)
TARGET = np.array([0, 1, 2, 2, 1, 0])
ROWS, CLASSES = len(TARGET), 3
HERE = {  # row 3 has nothing
    "audio": np.array([1, 1, 0, 0, 1, 1], bool),
    "image": np.array([1, 0, 1, 0, 1, 1], bool),
    "text": np.array([1, 1, 1, 0, 1, 0], bool),
}
LOGITS = RNG.normal(size=(ROWS, CLASSES))
BRANCHES = {n: RNG.normal(size=(ROWS, CLASSES)) for n in HERE}
VALUES = {n: RNG.normal(size=(ROWS, 2, 4)) for n in HERE}
FUSED = RNG.normal(size=(ROWS, 5))


TOKENS = {n: Tokens(VALUES[n], np.tile(HERE[n][:, None], 2)) for n in HERE}
BATCH = jax.tree.map(jnp.asarray, Batch({}, HERE, TARGET))
OUTPUTS = jax.tree.map(jnp.asarray, Outputs(LOGITS, TOKENS, BRANCHES))


def value(objective, outputs=OUTPUTS, batch=BATCH, **options):
    return float(compile_fast(partial(objective, **options))(outputs, batch)[0])


def nll(logits):
    return -log_softmax(logits, axis=1)[np.arange(ROWS), TARGET]


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-4)


def test_label_smoothing():
    targets = np.full((ROWS, CLASSES), 0.3 / CLASSES)
    targets[np.arange(ROWS), TARGET] += 0.7
    want = -(targets * log_softmax(LOGITS, axis=1)).sum(axis=1).mean()
    close(value(label_smoothing, smoothing=0.3), want)


def test_focal():
    p = np.exp(-nll(LOGITS))
    close(value(focal, focus=1.5), (-((1 - p) ** 1.5) * np.log(p)).mean())


def test_without_focus_and_smoothing_the_cross_entropy_remains():
    close(value(focal, focus=0.0), nll(LOGITS).mean())
    close(value(label_smoothing, smoothing=0.0), nll(LOGITS).mean())


@pytest.mark.parametrize("focus", [0.0, 0.5, 1.0, 2.0])
def test_focal_of_a_certain_row_is_finite(focus):
    loss = lambda x: focal(Outputs(x), BATCH, focus=focus)[0]
    certain = 100 * jax.nn.one_hot(TARGET, CLASSES)
    assert np.isfinite(compile_fast(jax.grad(loss))(certain)).all()


def branch_terms():
    return [nll(BRANCHES[n])[HERE[n]].mean() for n in HERE]


def test_branches():
    close(value(branches, weight=0.4), nll(LOGITS).mean() + 0.4 * sum(branch_terms()))


def test_evidential():
    def row_loss(logits, target, kl_weight):
        alpha = np.exp(logits)
        others = np.where(np.arange(CLASSES) == target, 1, alpha)
        total = others.sum()
        kl = gammaln(total) - gammaln(CLASSES) - gammaln(others).sum()
        kl += ((others - 1) * (digamma(others) - digamma(total))).sum()
        return digamma(alpha.sum()) - digamma(alpha[target]) + kl_weight * kl

    def mean(logits, rows):
        return np.mean([row_loss(logits[i], TARGET[i], 0.6) for i in np.flatnonzero(rows)])

    want = mean(LOGITS, np.ones(ROWS)) + sum(mean(BRANCHES[n], HERE[n]) for n in HERE)
    close(value(evidential, kl_weight=0.6), want)
    outputs = OUTPUTS._replace(joint=OUTPUTS.branches["audio"])
    want += mean(BRANCHES["audio"], np.ones(ROWS))
    close(value(evidential, outputs, kl_weight=0.6), want)


def test_evidential_is_an_expectation_over_the_dirichlet():
    alpha = np.array([3.0, 1.5, 0.7])
    outputs, batch = Outputs(jnp.log(alpha)[None]), Batch({}, {}, jnp.array([1]))
    draws = dirichlet(alpha).rvs(200_000, random_state=0)
    close_enough = {"rtol": 0.02}
    surprise = value(evidential, outputs, batch, kl_weight=0.0)
    np.testing.assert_allclose(surprise, -np.log(draws[:, 1]).mean(), **close_enough)
    others, uniform = dirichlet([3.0, 1.0, 0.7]), dirichlet(np.ones(3))
    draws = others.rvs(200_000, random_state=0).T
    kl = (others.logpdf(draws) - uniform.logpdf(draws)).mean()
    penalty = value(evidential, outputs, batch, kl_weight=1.0) - surprise
    np.testing.assert_allclose(penalty, kl, **close_enough)


def test_confidence_ranking():
    ranks = 0
    for n in HERE:
        loss, confidence = nll(BRANCHES[n]), logsumexp(BRANCHES[n], axis=1)
        rows = np.flatnonzero(HERE[n])
        hinges = [
            max(0, confidence[i] - confidence[j] + loss[i] - loss[j])
            for i in rows
            for j in rows
            if loss[i] > loss[j]
        ]
        ranks += sum(hinges) / (len(rows) * (len(rows) - 1) / 2)
    want = nll(LOGITS).mean() + sum(branch_terms()) + 0.7 * ranks
    close(value(confidence_ranking, weight=0.7), want)


@pytest.mark.parametrize(("slope", "costs"), [(-2, False), (-0.5, True), (2, True)])
def test_confidence_that_falls_with_the_loss_by_as_much_costs_nothing(slope, costs):
    shift = slope * nll(LOGITS) - logsumexp(LOGITS, axis=1)  # sets the confidence, not the loss
    said = {"audio": jnp.asarray(LOGITS + shift[:, None])}
    outputs = OUTPUTS._replace(branches=said)
    cost = value(confidence_ranking, outputs) - value(branches, outputs)
    assert cost > 1e-2 if costs else abs(cost) < 1e-5


def test_ranking_moves_confidence_and_not_the_losses():
    def ranks(logits):
        outputs = OUTPUTS._replace(branches={"audio": logits})
        return confidence_ranking(outputs, BATCH)[0] - branches(outputs, BATCH)[0]

    logits = OUTPUTS.branches["audio"]
    slope = jax.nn.softmax(logits)  # of the confidence, which is pushed alike for every class
    push = compile_fast(jax.grad(ranks))(logits) / slope
    assert np.any(push)
    np.testing.assert_allclose(push, np.tile(push[:, :1], CLASSES), atol=1e-5)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_info_nce():
    z = {n: unit(VALUES[n].mean(axis=1)) for n in HERE}
    pairs = []
    for a, b in [("audio", "image"), ("audio", "text"), ("image", "text")]:
        both = HERE[a] & HERE[b]
        scores = z[a][both] @ z[b][both].T / 0.2
        for direction in (scores, scores.T):
            pairs.append(-np.diag(log_softmax(direction, axis=1)).mean())
    want = nll(LOGITS).mean() + 0.3 * np.mean(pairs)
    close(value(info_nce, weight=0.3, temperature=0.2), want)


def khosla(z, classes, temperature):
    losses = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        log_p = log_softmax([z[i] @ z[a] / temperature for a in others])
        same = [log_p[k] for k, a in enumerate(others) if classes[a] == classes[i]]
        losses += [-np.mean(same)] if same else []
    return np.mean(losses)


def test_supervised_contrastive_of_modalities():
    z = np.concatenate([unit(VALUES[n].mean(axis=1))[HERE[n]] for n in HERE])
    classes = np.concatenate([TARGET[HERE[n]] for n in HERE])
    want = nll(LOGITS).mean() + 0.3 * khosla(z, classes, 0.2)
    close(value(supervised_contrastive, weight=0.3, temperature=0.2), want)


def test_supervised_contrastive_of_what_is_fused():
    outputs = OUTPUTS._replace(fused=jnp.asarray(FUSED))
    some = np.arange(ROWS) != 3  # nothing is fused there; row 2 is now the only one of its class
    want = nll(LOGITS).mean() + 0.3 * khosla(unit(FUSED)[some], TARGET[some], 0.2)
    close(value(supervised_contrastive, outputs, weight=0.3, temperature=0.2), want)
    want = nll(LOGITS).mean() + 0.3 * khosla(unit(FUSED), TARGET, 0.2)
    outputs = outputs._replace(tokens={})
    close(value(supervised_contrastive, outputs, weight=0.3, temperature=0.2), want)


def test_the_mean_of_branches_leaves_the_prediction_out():
    each = [nll(BRANCHES[name])[here].mean() for name, here in HERE.items()]
    close(value(branch_mean), np.mean(each))
    grad = compile_fast(jax.grad(lambda x: branch_mean(OUTPUTS._replace(prediction=x), BATCH)[0]))
    assert not grad(OUTPUTS.prediction).any()


MULTIMODAL = [
    branches,
    branch_mean,
    evidential,
    confidence_ranking,
    info_nce,
    supervised_contrastive,
]


@pytest.mark.parametrize("objective", [o for o in MULTIMODAL if o is not evidential])
def test_nothing_but_a_prediction_leaves_the_cross_entropy(objective):
    outputs = Outputs(OUTPUTS.prediction)
    close(value(objective, outputs), value(cross_entropy, outputs))
    loss = lambda x: objective(Outputs(x), BATCH)[0]
    grad = compile_fast(jax.grad(loss))(outputs.prediction)
    assert np.isfinite(grad).all()


def test_one_modality_has_no_pair():
    outputs = OUTPUTS._replace(tokens={"audio": OUTPUTS.tokens["audio"]})
    close(value(info_nce, outputs), value(cross_entropy, outputs))


@pytest.mark.parametrize("objective", MULTIMODAL)
@pytest.mark.parametrize("rows_left", [0, 1])
def test_rows_without_a_partner_are_finite(objective, rows_left):
    some = np.arange(ROWS) < rows_left
    here = {n: jnp.asarray(HERE[n] & some) for n in HERE}
    tokens = {n: Tokens(t.values, t.mask & some[:, None]) for n, t in OUTPUTS.tokens.items()}

    def loss(values, logits):
        own = {n: Tokens(values[n], tokens[n].mask) for n in tokens}
        outputs = Outputs(OUTPUTS.prediction, own, logits)
        return objective(outputs, BATCH._replace(present=here))[0]

    values = {n: t.values for n, t in tokens.items()}
    gradient = compile_fast(jax.value_and_grad(loss, argnums=(0, 1)))
    result = gradient(values, OUTPUTS.branches)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(result))
    assert not any(np.any(x[rows_left:]) for x in jax.tree.leaves(result[1]))


@pytest.mark.parametrize("objective", [info_nce, supervised_contrastive])
def test_an_embedding_of_zero_has_a_finite_gradient(objective):
    def loss(values):
        tokens = {n: Tokens(values, OUTPUTS.tokens[n].mask) for n in HERE}
        return objective(OUTPUTS._replace(tokens=tokens), BATCH)[0]

    assert np.isfinite(compile_fast(jax.grad(loss))(np.zeros((ROWS, 2, 4), np.float32))).all()


@pytest.mark.parametrize("objective", [info_nce, supervised_contrastive])
def test_unlike_widths_are_named(objective):
    wide = Tokens(jnp.zeros((ROWS, 2, 7)), OUTPUTS.tokens["text"].mask)
    outputs = OUTPUTS._replace(tokens={**OUTPUTS.tokens, "text": wide})
    with pytest.raises(UsageError, match="audio: 4, image: 4, text: 7"):
        objective(outputs, BATCH)
