"""Corruptions of the pairing: some rows take a modality from another row.

Each row is drawn with probability 0.2, 0.4, 0.6, 0.8 or 1; targets do not change.
"""

import jax
import jax.numpy as jnp

from mmjax.analysis.corruptions.corruption import strength
from mmjax.augmentations.rows import row_keys

SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)


def conflicting(
    key: jax.Array, target: jax.Array, group: jax.Array, severity: jax.Array
) -> jax.Array:
    """Takes the modality from rows of other classes, so that modalities contradict each other."""
    return _exchange(key, target[:, None] != target[None], severity)


def desynchronised(
    key: jax.Array, target: jax.Array, group: jax.Array, severity: jax.Array
) -> jax.Array:
    """Takes the modality from other groups of the same class: consistent, but not one event."""
    alike = target[:, None] == target[None]
    return _exchange(key, alike & (group[:, None] != group[None]), severity)


def _exchange(key: jax.Array, usable: jax.Array, severity: jax.Array) -> jax.Array:
    """The source of each row, [rows]: itself where it is not drawn or has no usable source.

    Args:
        key: the key and i determine the source of row i; a row that is drawn at one severity is
            drawn at every higher one.
        usable: [rows, rows] bool, the sources that each row may have.
        severity: 1 to 5.
    """
    own = jnp.arange(len(usable))

    def take(key, usable, own):
        chances = jax.random.uniform(key, (1 + usable.size,))
        drawn = chances[0] < strength(SHARES, severity)
        other = jnp.argmax(jnp.where(usable, chances[1:], -1))
        return jnp.where(drawn & usable.any(), other, own)

    return jax.vmap(take)(row_keys(key, len(usable)), usable, own)
