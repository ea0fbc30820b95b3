"""Canonical correlation, the fusion and the objective, against NumPy, SciPy and scikit-learn."""

from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import OUT_DIM, WIDTH, assert_close, joint, mlp, pool, run
from scipy.linalg import fractional_matrix_power
from scipy.special import log_softmax
from sklearn.cross_decomposition import CCA

from mmjax.fusion.deep_cca import DeepCCAFusion
from mmjax.layers.correlation import total_correlation
from mmjax.objectives.deep_cca import deep_cca
from mmjax.testing import make_tokens
from mmjax.testing.common import compile_fast
from mmjax.types import Batch, Outputs, Tokens


def nuclear(x, y, ridge):
    """The paper's formula, with square roots of covariances."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    root = lambda a: fractional_matrix_power(
        a.T @ a + ridge * np.trace(a.T @ a) / a.shape[1] * np.eye(a.shape[1]), -0.5
    )
    return np.linalg.norm(root(x) @ x.T @ y @ root(y), "nuc")


def views(rows=60, p=3, q=4):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, p))
    return x, x @ rng.normal(size=(p, q)) + 2 * rng.normal(size=(rows, q))


def correlate(x, y, mask=None, **fields):
    mask = np.ones(len(x), bool) if mask is None else mask
    return compile_fast(partial(total_correlation, **fields))(np.float32(x), np.float32(y), mask)


def test_correlation_is_that_of_scikit_learn():
    x, y = views()
    scores = CCA(n_components=3, max_iter=5000, tol=1e-9).fit_transform(x, y)
    want = sum(np.corrcoef(a, b)[0, 1] for a, b in zip(*(s.T for s in scores), strict=True))
    np.testing.assert_allclose(correlate(x, y, ridge=1e-6), want, rtol=1e-4)


@pytest.mark.parametrize("ridge", [1e-3, 0.1])
def test_correlation_is_the_trace_norm(ridge):
    x, y = views()
    mask = np.arange(len(x)) % 3 > 0
    dirty = np.where(mask[:, None], x, np.nan)
    want = nuclear(x[mask], y[mask], ridge)
    np.testing.assert_allclose(correlate(dirty, y, mask, ridge=ridge), want, rtol=1e-4)


def test_identical_rows_correlate_in_every_dimension():
    x, _ = views()
    np.testing.assert_allclose(correlate(x, x, ridge=1e-6), 3, rtol=1e-4)
    np.testing.assert_allclose(correlate(x, 100 - 7 * x[:, ::-1], ridge=1e-6), 3, rtol=1e-4)


def test_gradient_of_the_correlation_is_the_slope():
    x, y = views(rows=20)
    grad = compile_fast(jax.grad(partial(total_correlation, ridge=0.01)))(
        np.float32(x), np.float32(y), np.ones(20, bool)
    )
    step = np.random.default_rng(1).normal(size=x.shape)
    slope = (nuclear(x + 1e-5 * step, y, 0.01) - nuclear(x - 1e-5 * step, y, 0.01)) / 2e-5
    np.testing.assert_allclose(np.vdot(grad, step), slope, rtol=1e-3)


DEGENERATE = {
    "equal": lambda x: (x, x, len(x)),
    "few rows": lambda x: (x, x[::-1], 3),
    "one row": lambda x: (x, x, 1),
    "no row": lambda x: (x, x, 0),
    "constant": lambda x: (0 * x + 1e3, x, len(x)),
    "one direction": lambda x: (1e4 * np.repeat(x[:, :1], 9, axis=1), x, len(x)),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_gradient_of_the_correlation_is_finite(case):
    x, y, count = DEGENERATE[case](np.random.default_rng(0).normal(size=(12, 5)))
    mask = np.arange(len(x)) < count
    gradient = compile_fast(jax.value_and_grad(total_correlation, argnums=(0, 1)))
    value, grads = gradient(np.float32(x), np.float32(y), mask)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() and not g[~mask].any() for g in grads)
    assert (value < 1e-6) == (case in ("one row", "no row", "constant"))


def three(widths=(5, 6, 3)):
    """Twenty rows of three modalities, each absent in every fifth."""
    shapes = {n: (2, width) for n, width in zip(("audio", "image", "text"), widths, strict=True)}
    tokens = make_tokens(shapes, batch=20)
    here = {n: np.arange(20) % 5 != i for i, n in enumerate(tokens)}
    return {n: Tokens(v, m & here[n][:, None]) for n, (v, m) in tokens.items()}, here


def fuse(tokens, **fields):
    return run(DeepCCAFusion(out_dim=OUT_DIM, width=WIDTH, **fields), tokens)


def test_deep_cca():
    tokens, here = three()
    got, p = fuse(tokens, components=2, weight=0.5, ridge=0.01)
    h = {n: mlp(p[f"project_{n}"], x) for n, x in pool(tokens).items()}
    h = {n: np.where(here[n][:, None], h[n], 0) for n in h}
    assert_close(got.prediction, joint(p["readout"], h))
    assert_close(got.fused, np.concatenate(list(h.values()), axis=1))
    both = {(i, j): here[i] & here[j] for i, j in combinations(h, 2)}
    totals = [nuclear(h[i][rows], h[j][rows], 0.01) for (i, j), rows in both.items()]
    assert_close(got.aux["correlation"], -0.5 * np.mean(totals) / 2)


def test_deep_cca_skips_pairs_that_too_few_rows_have():
    tokens, _ = three()
    text = tokens.pop("text")
    first = lambda count: text._replace(mask=text.mask & (jnp.arange(20) < count)[:, None])
    correlation = lambda count: fuse({**tokens, "text": first(count)})[0].aux["correlation"]
    assert_close(correlation(1), correlation(0))
    assert abs(correlation(9) - correlation(0)) > 1e-3


def test_the_objective_adds_the_correlations_of_all_pairs():
    rng = np.random.default_rng(0)
    tokens, here = three((2, 3, 2))
    logits, classes = rng.normal(size=(20, 3)), np.arange(20) % 3
    batch = Batch({}, {}, classes)
    objective = compile_fast(partial(deep_cca, weight=0.5, ridge=0.01))
    loss, _ = objective(Outputs(np.float32(logits), tokens), batch)
    pooled = pool(tokens)
    total = 0
    for i, j in combinations(tokens, 2):
        both = here[i] & here[j]
        total += nuclear(pooled[i][both], pooled[j][both], 0.01)
    entropy = -log_softmax(logits, axis=1)[np.arange(20), classes].mean()
    assert_close(loss, entropy - 0.5 * total)


def test_the_objective_without_pairs_is_cross_entropy():
    logits = np.array([[0.0, 1.0], [2.0, 0.0]])
    batch = Batch({}, {}, jnp.array([1, 1]))
    loss, metrics = deep_cca(Outputs(jnp.float32(logits)), batch)
    assert_close(loss, -log_softmax(logits, axis=1)[:, 1].mean())
    assert metrics["accuracy"] == 0.5
