"""Helpers shared by several augmentations, and by corruptions."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mmjax.errors import UsageError

VECTORS, SEQUENCES, IMAGES = 1, 2, 3
"""Number of axes of a sample."""

_NAMES = {
    VECTORS: "vectors [batch, features]",
    SEQUENCES: "sequences [batch, length, features]",
    IMAGES: "images [batch, height, width, channels]",
}


def row_wise(*kinds: int) -> Callable[[Callable[..., jax.Array]], Callable[..., jax.Array]]:
    """Makes ``(self, key, row) -> row`` of some kinds of samples a method of a batch of them.

    The key and i determine what happens to row i, so that each row has randomness of its own.

    Example:
        >>> class Negate:
        ...     @row_wise(VECTORS)
        ...     def __call__(self, key, row):
        ...         return -row
        >>> Negate()(jax.random.key(0), jnp.ones((2, 2))).tolist()
        [[-1.0, -1.0], [-1.0, -1.0]]
    """

    def decorate(augment_row: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        @functools.wraps(augment_row)
        def augment(self: Any, key: jax.Array, x: jax.Array) -> jax.Array:
            if x.ndim - 1 not in kinds:
                expected = " or ".join(_NAMES[kind] for kind in kinds)
                raise UsageError(type(self).__name__, expected=expected, got=f"{list(x.shape)}")
            keys = row_keys(key, len(x))
            return jax.vmap(functools.partial(augment_row, self))(keys, x)

        return augment

    return decorate


def row_keys(key: jax.Array, size: int) -> jax.Array:
    """A key for each row, independent of the number of rows: [size].

    Example:
        >>> key = jax.random.key(0)
        >>> bool((row_keys(key, 3)[:2] == row_keys(key, 2)).all())
        True
    """
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(size))


def span(size: int, width: jax.Array, place: jax.Array, used: jax.Array | None = None) -> jax.Array:
    """[size] bool, true in one contiguous stretch of a width.

    With ``place`` uniform on [0, 1), every position of the stretch is equally likely. With
    ``used``, it lies within the first ``used`` positions.

    Example:
        >>> span(5, 2, 0.5).astype(int).tolist()
        [0, 0, 1, 1, 0]
    """
    whole = size if used is None else used
    after = jnp.arange(size) - jnp.floor(place * (whole - width + 1))
    return (after >= 0) & (after < width)


def check_number(name: str, number: float, high: float = float("inf")) -> None:
    """Raises UsageError for an argument that is not from 0 to ``high``.

    Example:
        >>> check_number("rate", 0.5, high=1.0)
    """
    if not 0 <= number <= high:
        expected = f"from 0 to {high:g}" if high < float("inf") else "0 or more"
        raise UsageError(name, expected=expected, got=str(number))
