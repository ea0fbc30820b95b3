"""Latent fusions against NumPy and SciPy; test_correlation.py has deep CCA."""

from itertools import chain, combinations, permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import (
    OUT_DIM,
    WIDTH,
    assert_close,
    block,
    dense,
    joint,
    mlp,
    pool,
    presence,
    ragged,
    run,
)
from reference import norm as layer_norm
from representatives import representatives
from scipy.integrate import quad
from scipy.spatial.distance import cosine
from scipy.special import expit, logsumexp, softmax
from scipy.stats import moment, norm

from mmjax.fusion.deep_cca import DeepCCAFusion
from mmjax.fusion.gaussian import Gaussian, divergence, multiply
from mmjax.fusion.latent import standardise
from mmjax.fusion.mctn import MCTNFusion
from mmjax.fusion.mfm import MFMFusion, discrepancy_from_normal
from mmjax.fusion.misa import MISAFusion, discrepancy, overlap
from mmjax.fusion.refnet import ReFNetFusion
from mmjax.fusion.vae import MMVAEFusion, MoPoEFusion, MVAEFusion
from mmjax.testing import make_tokens
from mmjax.types import Tokens

MIXTURES = [MMVAEFusion, MoPoEFusion]
DECODING = [MVAEFusion, *MIXTURES, MFMFusion, MISAFusion, MCTNFusion, ReFNetFusion]
ALL = [*DECODING, DeepCCAFusion]


def fuse(fusion, tokens, **fields):
    return run(fusion(out_dim=OUT_DIM, **({"width": WIDTH} | fields)), tokens)


def relu(x):
    return np.maximum(x, 0)


def target(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)


def error(p, n, z, x):
    """How badly the decoder gives one row's modality, averaged over its features."""
    return ((mlp(p[f"decode_{n}"], z) - target(x)) ** 2).mean()


# Variational autoencoders, one row and one set of modalities at a time


def posterior(p, x, members, prior):
    """Mean and variance of the product of the members and, at times, the prior."""
    precision, shift = np.full(WIDTH, float(prior)), np.zeros(WIDTH)
    for n in members:
        mean, spread = np.split(mlp(p[f"encode_{n}"], x[n]), 2)
        variance = np.logaddexp(0, spread) + 1e-6
        precision, shift = precision + 1 / variance, shift + mean / variance
    return shift / precision, 1 / precision


def kl(mean, variance):
    return (variance + mean**2 - 1 - np.log(variance)).mean() / 2


def rows(tokens):
    """Each row as {name: pooled vector} of the modalities that it has."""
    pooled, present = pool(tokens), presence(tokens)
    for i, here in enumerate(present):
        yield {n: pooled[n][i] for n, there in zip(pooled, here, strict=True) if there}


def subsets(fusion, x):
    sizes = [1] if fusion is MMVAEFusion else range(1, len(x) + 1)
    return list(chain.from_iterable(combinations(x, size) for size in sizes))


def test_mvae():
    tokens = ragged()
    got, p = fuse(MVAEFusion, tokens, beta=0.5)
    z, reconstruction, divergences = [], [], []
    for x in rows(tokens):
        z.append(posterior(p, x, x, prior=1)[0])
        if not x:
            continue
        terms = [(s, *posterior(p, x, s, prior=1)) for s in [tuple(x), *((n,) for n in x)]]
        errors = [sum(error(p, n, mean, x[n]) / 2 for n in s) for s, mean, _ in terms]
        reconstruction.append(np.mean(errors))
        divergences.append(np.mean([kl(*gaussian) for _, *gaussian in terms]))
    assert_close(got.fused, z)
    assert_close(got.prediction, dense(p["readout"], np.array(z)))
    assert_close(got.aux["reconstruction"], np.mean(reconstruction))
    assert_close(got.aux["kl"], 0.5 * np.mean(divergences))


@pytest.mark.parametrize("fusion", MIXTURES)
@pytest.mark.parametrize("num_modalities", [1, 3])
def test_mixtures(fusion, num_modalities):
    tokens = ragged(num_modalities)
    got, p = fuse(fusion, tokens, beta=0.5)
    prediction, reconstruction, divergences = [], [], []
    for x in rows(tokens):
        parts = [posterior(p, x, s, prior=0) for s in subsets(fusion, x)]
        z = np.array([mean for mean, _ in parts] or [np.zeros(WIDTH)])
        prediction.append(np.log(softmax(dense(p["readout"], z), axis=-1).mean(axis=0)))
        if x:
            errors = [sum(error(p, n, mean, x[n]) / 2 for n in x) for mean, _ in parts]
            reconstruction.append(np.mean(errors))
            divergences.append(np.mean([kl(*gaussian) for gaussian in parts]))
    assert_close(got.prediction, prediction)
    assert_close(got.aux["reconstruction"], np.mean(reconstruction))
    assert_close(got.aux["kl"], 0.5 * np.mean(divergences))


def test_mopoe_mixes_all_sets_of_the_modalities_present():
    x = next(rows(ragged()))
    assert len(subsets(MoPoEFusion, x)) == 7


def test_product_of_gaussians_has_the_density_of_the_product():
    rng = np.random.default_rng(0)
    experts = Gaussian(rng.normal(size=(1, 3, 1)), rng.uniform(0.5, 2, size=(1, 3, 1)))
    members = jnp.array([[[True, False, True]]])
    got = multiply(Gaussian(*map(jnp.asarray, experts)), members, prior=1)
    density = lambda z: (
        norm.pdf(z)
        * np.prod(
            [norm.pdf(z, experts.mean[0, m, 0], experts.variance[0, m, 0] ** 0.5) for m in (0, 2)]
        )
    )
    mass, mean, square = (quad(lambda z, k=k: z**k * density(z), -9, 9)[0] for k in range(3))
    assert_close(got.mean.item(), mean / mass)
    assert_close(got.variance.item(), square / mass - (mean / mass) ** 2)
    assert_close(1 / got.variance.item(), 1 + (1 / experts.variance[0, [0, 2], 0]).sum())


def test_divergence_is_the_integral():
    mean, variance = 0.7, 0.3
    q = norm(mean, variance**0.5)
    want, _ = quad(lambda z: q.pdf(z) * (q.logpdf(z) - norm.logpdf(z)), -8, 8)
    assert_close(divergence(Gaussian(jnp.array([mean, 0.0]), jnp.array([variance, 1]))), want / 2)


def test_mvae_of_one_modality_is_a_vae_multiplied_with_the_prior():
    tokens = make_tokens({"audio": (3, 5)})
    got, p = fuse(MVAEFusion, tokens)
    mean, spread = np.split(mlp(p["encode_audio"], pool(tokens)["audio"]), 2, axis=1)
    variance = np.logaddexp(0, spread) + 1e-6
    z, variance = mean / (1 + variance), variance / (1 + variance)
    assert_close(got.prediction, dense(p["readout"], z))
    x = pool(tokens)["audio"]
    errors = [error(p, "audio", z[i], x[i]) / 2 for i in range(len(x))]
    assert_close(got.aux["reconstruction"], np.mean(errors))
    assert_close(got.aux["kl"], np.mean([kl(*g) for g in zip(z, variance, strict=True)]))


def test_mmvae_averages_mopoe_of_one_modality_at_a_time():
    tokens = make_tokens({"audio": (3, 5), "image": (4, 6), "text": (2, 3)})
    got, p = fuse(MMVAEFusion, tokens)
    other = MoPoEFusion(out_dim=OUT_DIM, width=WIDTH)
    predict = jax.jit(lambda x: other.apply({"params": p}, x, train=False).prediction)
    each = [predict({m: hide(t, m != n) for m, t in tokens.items()}) for n in tokens]
    assert_close(got.prediction, logsumexp(each, axis=0) - np.log(3))


def hide(tokens, away):
    return tokens._replace(mask=tokens.mask & (not away))


@pytest.mark.parametrize("fusion", [MVAEFusion, *MIXTURES])
def test_a_sample_has_the_mean_and_variance_of_its_posterior(fusion):
    x = make_tokens({"audio": (1, 5)}, batch=1)
    many = {n: Tokens(*(jnp.repeat(a, 20_000, axis=0) for a in t)) for n, t in x.items()}
    _, p = fuse(fusion, x)
    module = fusion(out_dim=OUT_DIM, width=WIDTH, dropout=0.0)
    apply = lambda key: module.apply({"params": p}, many, train=True, rngs={"dropout": key})
    draw = jax.jit(lambda key: apply(key).fused)
    z = np.asarray(draw(jax.random.key(0)))
    mean, variance = posterior(p, next(rows(x)), x, prior=fusion is MVAEFusion)
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=5 * np.sqrt(variance.max() / len(z)))
    np.testing.assert_allclose(z.var(axis=0), variance, rtol=0.06)
    assert (draw(jax.random.key(0)) == z).all()
    assert (draw(jax.random.key(1)) != z).any()


# The others


def test_mfm():
    tokens = ragged()
    got, p = fuse(MFMFusion, tokens, reconstruction_weight=0.5, prior_weight=2.0)
    pooled, present = pool(tokens), presence(tokens)
    code = dense(p["encode"], relu(joint(p["joint"], pooled)))
    shared = relu(dense(p["generate"], code))
    assert_close(got.prediction, dense(p["readout"], shared))
    errors, discrepancies = [], [mmd(code[present.any(axis=1)])]
    for n, here in zip(pooled, present.T, strict=True):
        private = mlp(p[f"encode_{n}"], pooled[n])
        discrepancies.append(mmd(private[here]))
        both = np.concatenate([shared, relu(dense(p[f"generate_{n}"], private))], axis=1)
        errors += [error(p, n, both[i], pooled[n][i]) for i in np.flatnonzero(here)]
    assert_close(got.aux["reconstruction"], 0.5 * np.mean(errors))
    assert_close(got.aux["prior"], 2 * np.mean(discrepancies))


def mmd(x):
    """The kernel averaged over pairs of rows, of a row and the prior, and of the prior alone."""
    width = x.shape[1]
    within = np.mean([np.exp(-((a - b) ** 2).sum() / (2 * width)) for a in x for b in x])
    gain = lambda times: (width / (width + times)) ** (width / 2)
    across = gain(1) * np.mean(np.exp(-(x**2).sum(axis=1) / (2 * (width + 1))))
    return within - 2 * across + gain(2)


@pytest.mark.slow
def test_discrepancy_is_that_from_a_large_sample_of_the_prior():
    rng = np.random.default_rng(0)
    x, prior = rng.normal(1, 0.5, size=(7, 2)), rng.normal(size=(3000, 2))
    kernel = lambda a, b: np.exp(-((a[:, None] - b[None]) ** 2).sum(axis=2) / 4).mean()
    want = kernel(x, x) - 2 * kernel(x, prior) + kernel(prior, prior)
    got = discrepancy_from_normal(jnp.asarray(x), jnp.ones(7, bool))
    np.testing.assert_allclose(got, want, rtol=0.05)
    none = discrepancy_from_normal(jnp.asarray(prior[:1000]), jnp.ones(1000, bool))
    assert abs(none) < 2e-3


@pytest.mark.parametrize(("num_modalities", "whole"), [(1, False), (3, False), (2, True)])
def test_misa(num_modalities, whole):
    tokens = ragged(num_modalities)
    if whole:  # of two rows, any two spaces overlap alike
        tokens = {n: t._replace(mask=t.mask | True) for n, t in tokens.items()}
    weights = {"similarity_weight": 0.5, "difference_weight": 2.0, "reconstruction_weight": 3.0}
    got, p = fuse(MISAFusion, tokens, **weights)
    pooled, present = pool(tokens), presence(tokens)
    shared, private = {}, {}
    for n, x in pooled.items():
        own = layer_norm(p[f"norm_{n}"], relu(dense(p[f"project_{n}"], x)))
        shared[n], private[n] = expit(dense(p["share"], own)), expit(dense(p[f"private_{n}"], own))
    both = np.stack([*shared.values(), *private.values()], axis=1)
    read = layer_norm(p["norm"], block(p["block"], both, np.tile(present, 2)))
    read = np.where(np.tile(present, 2)[..., None], read, 0)
    sides = {
        n: np.concatenate([read[:, m], read[:, m + num_modalities]], axis=1)
        for m, n in enumerate(tokens)
    }
    assert_close(got.prediction, dense(p["readout"], relu(joint(p["joint"], sides))))

    here = dict(zip(tokens, present.T, strict=True))
    pairs = list(combinations(tokens, 2))
    apart = [cmd(shared[m][here[m]], shared[n][here[n]]) for m, n in pairs]
    assert_close(got.aux["similarity"], 0.5 * np.mean(apart or [0]))
    overlaps = [squared_overlap(private[n][here[n]], shared[n][here[n]]) for n in tokens]
    together = {(m, n): here[m] & here[n] for m, n in pairs}
    overlaps += [squared_overlap(private[m][r], private[n][r]) for (m, n), r in together.items()]
    assert_close(got.aux["difference"], 2 * np.sum(overlaps))
    errors = [
        error(p, n, shared[n][i] + private[n][i], pooled[n][i])
        for n in tokens
        for i in np.flatnonzero(here[n])
    ]
    assert_close(got.aux["reconstruction"], 3 * np.mean(errors))


def cmd(x, y):
    """Central moment discrepancy of order five."""
    moments = lambda x: [x.mean(axis=0), *(moment(x, k, axis=0) for k in (2, 3, 4, 5))]
    both = zip(moments(x), moments(y), strict=True)
    return sum(np.linalg.norm(a - b) for a, b in both)


def squared_overlap(x, y):
    unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)
    return ((unit(x - x.mean(axis=0)).T @ unit(y - y.mean(axis=0))) ** 2).mean()


def test_discrepancy_is_of_distributions():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(6, 1, 3))
    shuffled, mirrored = x[rng.permutation(6)], 2 * x.mean(axis=0) - x
    everywhere = jnp.ones((6, 2), bool)
    between = lambda y: float(discrepancy(jnp.concatenate([x, y], axis=1), everywhere))
    assert between(shuffled) < 1e-6
    assert between(x + 0.5) == pytest.approx(0.5 * 3**0.5, rel=1e-4)
    odd = [2 * np.linalg.norm(moment(x[:, 0], k, axis=0)) for k in (3, 5)]
    assert between(mirrored) == pytest.approx(sum(odd), rel=1e-3)


def test_spaces_overlap_unless_they_vary_independently():
    left, right = np.meshgrid([-1.0, 1.0], [-1.0, 1.0])
    along = lambda sign: jnp.asarray(0.5 + 0.1 * np.outer(sign.ravel(), [1, 2, -2]))
    everywhere = jnp.ones(4, bool)
    assert overlap(along(left), along(right), everywhere) < 1e-6
    assert_close(overlap(along(left), along(left), everywhere), 4**2 / 3**2)  # 4 rows, of length 1


def test_mctn():
    tokens = ragged()
    got, p = fuse(MCTNFusion, tokens, translation_weight=0.5, cycle_weight=2.0)
    fused, there, back = [], [], []
    for x in rows(tokens):
        hidden = {n: np.tanh(mlp(p[f"encode_{n}"], x[n])) for n in x}
        fused.append(np.mean(list(hidden.values()), axis=0) if x else np.zeros(WIDTH))
        for s, t in permutations(x, 2):
            there.append(error(p, t, hidden[s], x[t]))
            translated = mlp(p[f"decode_{t}"], hidden[s])
            back.append(error(p, s, np.tanh(dense(p[f"return_{t}"], translated)), x[s]))
    hidden = relu(dense(p["predict"], np.array(fused)))
    assert_close(got.prediction, dense(p["readout"], hidden))
    assert len(there) == 6 + 2 + 2
    assert_close(got.aux["translation"], 0.5 * np.mean(there))
    assert_close(got.aux["cycle"], 2 * np.mean(back))


def test_refnet():
    tokens = ragged()
    got, p = fuse(ReFNetFusion, tokens, refiner_weight=0.5)
    pooled, present = pool(tokens), presence(tokens)
    fused = relu(dense(p["fuse"], relu(joint(p["joint"], pooled))))
    assert_close(got.prediction, dense(p["readout"], fused))
    losses = [
        cosine(mlp(p[f"decode_{n}"], fused[i]), target(pooled[n][i]))
        for n, here in zip(pooled, present.T, strict=True)
        for i in np.flatnonzero(here)
    ]
    assert_close(got.aux["refiner"], 0.5 * np.mean(losses))


@pytest.mark.parametrize("fusion", representatives(ALL, [MVAEFusion]))
def test_a_modality_absent_everywhere_might_as_well_not_exist(fusion):
    tokens = make_tokens({"audio": (3, 5), "image": (4, 6), "text": (2, 3)})
    got, p = fuse(fusion, {n: hide(t, n == "text") for n, t in tokens.items()})
    two = {n: tokens[n] for n in ("audio", "image")}
    module = fusion(out_dim=OUT_DIM, width=WIDTH)
    want = jax.jit(lambda x: module.apply({"params": p}, x, train=False))(two)
    assert_close(got.prediction, want.prediction)
    assert_close([got.aux[n] for n in want.aux], list(want.aux.values()))


@pytest.mark.parametrize("fusion", representatives(DECODING, [MVAEFusion]))
def test_no_gradient_passes_through_what_is_to_be_reconstructed(fusion):
    tokens, module = ragged(2), fusion(out_dim=OUT_DIM, width=WIDTH)
    _, p = fuse(fusion, tokens)

    def loss(scale, values):
        params = jax.tree.map(lambda x: scale * x, p)
        moved = {n: Tokens(values[n], t.mask) for n, t in tokens.items()}
        return sum(module.apply({"params": params}, moved, train=False).aux.values())

    grad = jax.jit(jax.grad(loss, argnums=1))
    values = {n: t.values for n, t in tokens.items()}
    assert any(np.any(g) for g in jax.tree.leaves(grad(1.0, values)))
    assert not any(np.any(g) for g in jax.tree.leaves(grad(0.0, values)))


def test_vectors_far_from_zero_are_standardised():
    got = standardise(jnp.array([[30_000.0, 30_000, 30_000], [30_000, 30_001, 30_002]]))
    assert not got[0].any()
    assert_close(got[1], [-(1.5**0.5), 0, 1.5**0.5])
