"""Linear dependence between two sets of vectors."""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular


@jax.default_matmul_precision("float32")  # at lower precision covariances become indefinite
def total_correlation(
    x: jax.Array, y: jax.Array, mask: jax.Array, *, ridge: float = 1e-3
) -> jax.Array:
    """Sum of the canonical correlations of ``x`` and ``y``, at most the smaller of their sizes.

    This is the sum of the singular values of :math:`S_{11}^{-1/2} S_{12} S_{22}^{-1/2}`, with
    ``ridge`` times the mean variance added to the diagonals of :math:`S_{11}` and :math:`S_{22}`.
    It is invariant to translation, scaling and rotation of either set. With no more rows than
    dimensions it is close to its maximum whatever the rows; with fewer than two it is zero. The
    gradient is always finite.

    Reference: Andrew et al., Deep Canonical Correlation Analysis (ICML 2013).

    Args:
        x: [rows, features].
        y: [rows, features], possibly with a different number of features.
        mask: [rows] bool, true where a row counts; other rows have exactly zero influence.
        ridge: added to the diagonals, in units of the mean variance of each set.
    """
    x, y = _centre(x, mask), _centre(y, mask)
    # Cholesky factors whiten as square roots do, up to rotations, which keep singular values.
    half = solve_triangular(_factor(x, ridge), x.T @ y, lower=True)
    whitened = solve_triangular(_factor(y, ridge), half.T, lower=True)
    return jnp.linalg.svd(whitened, compute_uv=False).sum()


def _centre(x, mask):
    """Centres the rows that count and zeroes the others; linear algebra needs float32."""
    x = jnp.where(mask[:, None], x, 0).astype(jnp.float32)
    mean = x.sum(axis=0, keepdims=True) / jnp.maximum(mask.sum(), 1)
    return jnp.where(mask[:, None], x - mean, 0)


def _factor(x, ridge):
    """Cholesky factor of the covariance times the number of rows, which cancels."""
    gram = x.T @ x
    size = len(gram)
    floor = ridge * gram.trace() / size + jnp.finfo(gram.dtype).eps
    return jnp.linalg.cholesky(gram + floor * jnp.eye(size))
