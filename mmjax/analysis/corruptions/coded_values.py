"""Corruptions of token ids and of tables."""

import jax
import jax.numpy as jnp

from mmjax.analysis.corruptions.corruption import SHARES, row_wise, strength
from mmjax.types import PADDING


@row_wise
def token_dropout(key: jax.Array, ids: jax.Array, severity: jax.Array) -> jax.Array:
    """Removes each token with probability 0.1, 0.2, 0.3, 0.4 or 0.5; its place stays empty.

    Reference: Iyyer et al., Deep Unordered Composition Rivals Syntactic Methods for Text
    Classification (ACL 2015), section 2.3.
    """
    keep = jax.random.uniform(key, ids.shape) >= strength(SHARES, severity)
    return jnp.where(keep, ids, PADDING)


@row_wise
def token_replacement(key: jax.Array, ids: jax.Array, severity: jax.Array) -> jax.Array:
    """Replaces each token with probability 0.1, 0.2, 0.3, 0.4 or 0.5.

    The new id is uniform between 0 and the largest of the row.
    """
    which, what = jax.random.split(key)
    keep = jax.random.uniform(which, ids.shape) >= strength(SHARES, severity)
    other = jax.random.randint(what, ids.shape, 0, jnp.maximum(ids.max(), 0) + 1, ids.dtype)
    return jnp.where(keep | (ids == PADDING), ids, other)


@row_wise
def cell_dropout(key: jax.Array, cells: jax.Array, severity: jax.Array) -> jax.Array:
    """Makes each cell missing with probability 0.1, 0.2, 0.3, 0.4 or 0.5."""
    keep = jax.random.uniform(key, cells.shape) >= strength(SHARES, severity)
    return jnp.where(keep, cells, jnp.nan)
