"""Corruptions of the pairing: some rows get a modality that belongs to another row.

A share of 0.2, 0.4, 0.6, 0.8 or 1 of the rows is drawn; the target of a row stays as it is.
"""

import jax
import jax.numpy as jnp

from mmjax.analysis.corruptions.corruption import row_keys, strength

SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)


def conflicting(
    key: jax.Array, target: jax.Array, group: jax.Array, severity: jax.Array
) -> jax.Array:
    """From rows of other classes, so that modalities contradict each other."""
    return _exchange(key, target[:, None] != target[None], severity)


def desynchronised(
    key: jax.Array, target: jax.Array, group: jax.Array, severity: jax.Array
) -> jax.Array:
    """From other groups of the same class: modalities agree, but were not observed together."""
    alike = target[:, None] == target[None]
    return _exchange(key, alike & (group[:, None] != group[None]), severity)


def _exchange(key: jax.Array, usable: jax.Array, severity: jax.Array) -> jax.Array:
    """The row that each row takes from, [rows]: itself where not drawn, or where none is usable.

    Args:
        key: row i's choice follows from it and i; a row drawn once is drawn by all that is severer.
        usable: [rows, rows] bool, the rows that each row may take from.
        severity: 1 to 5.
    """
    own = jnp.arange(len(usable))

    def take(key, usable, own):
        chances = jax.random.uniform(key, (1 + usable.size,))
        drawn = chances[0] < strength(SHARES, severity)
        other = jnp.argmax(jnp.where(usable, chances[1:], -1))
        return jnp.where(drawn & usable.any(), other, own)

    return jax.vmap(take)(row_keys(key, len(usable)), usable, own)
