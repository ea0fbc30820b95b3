"""The contract of augmentations."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.testing.common import (
    Rule,
    check,
    compile_fast,
    first_row,
    is_close,
    is_equal,
    is_finite,
)
from mmjax.types import Augmentation

_NUM_KEYS = 16  # enough for what happens to a row with probability 1/2 to be seen both ways


class _AugmentationProbe:
    """An augmentation with rows, and what it makes of them with several keys."""

    def __init__(self, augment: Augmentation, x: Any) -> None:
        self.augment, self.x, self.num_traces = augment, np.asarray(x, np.float32), 0
        self.keys = jax.random.split(jax.random.key(0), _NUM_KEYS)
        self.run = compile_fast(self._trace)

    def _trace(self, key: jax.Array, x: jax.Array) -> jax.Array:
        self.num_traces += 1
        return self.augment(key, x)

    def each(self, x: Any) -> list[np.ndarray]:
        """What it makes of rows with each key."""
        return [np.asarray(self.run(key, x)) for key in self.keys]


def augmentation_keeps_the_shape(probe: _AugmentationProbe) -> Iterator[str]:
    """Rows keep their shape and dtype, and stay finite."""
    for out in probe.each(probe.x):
        if out.shape != probe.x.shape or out.dtype != probe.x.dtype:
            yield f"{probe.x.dtype} {probe.x.shape} becomes {out.dtype} {out.shape}"
        if not is_finite(out):
            yield "a number is not finite"


def augmentation_follows_the_key(probe: _AugmentationProbe) -> Iterator[str]:
    """The key decides everything, and something changes."""
    one, other = probe.each(probe.x), probe.each(probe.x)
    if not is_equal(one, other):
        yield "the same key gives different results"
    if all(is_equal(out, one[0]) for out in one):
        yield f"{_NUM_KEYS} keys give the same result"
    if all(is_equal(out, probe.x) for out in one):
        yield "nothing changes"


def augmentation_rows_are_independent(probe: _AugmentationProbe) -> Iterator[str]:
    """Each row depends on itself alone, and has randomness of its own."""
    others = np.concatenate([probe.x[:1], np.full_like(probe.x[1:], np.nan)])
    if not is_equal([out[0] for out in probe.each(probe.x)], [o[0] for o in probe.each(others)]):
        yield "NaN in the other rows changes the first"
    copies = np.broadcast_to(probe.x[:1], probe.x.shape)
    if all(is_equal(out, np.broadcast_to(out[:1], out.shape)) for out in probe.each(copies)):
        yield "the same happens to all rows"


def augmentation_compiles_once(probe: _AugmentationProbe) -> Iterator[str]:
    """A single trace, the same results compiled and eager, and vmap over keys."""
    first = probe.run(probe.keys[0], probe.x)
    if not is_close(probe.augment(probe.keys[0], jnp.asarray(probe.x)), first):
        yield "compiled and eager results differ"
    mapped = compile_fast(jax.vmap(probe.augment, (0, None)))(probe.keys[:2], probe.x)
    if not is_close(first_row(mapped), first):
        yield "vmap over keys changes the results"
    if probe.num_traces != 1:
        yield f"batches of the same shape were traced {probe.num_traces} times"


AUGMENTATION_RULES: tuple[Rule, ...] = (
    augmentation_keeps_the_shape,
    augmentation_follows_the_key,
    augmentation_rows_are_independent,
    augmentation_compiles_once,
)


def check_augmentation(augment: Augmentation, x: Any) -> None:
    """Checks an augmentation against ``AUGMENTATION_RULES`` on inputs [batch, ...].

    Args:
        augment: the function, with arguments by which it usually changes some of the rows.
        x: at least two rows.

    Raises:
        ContractError: the augmentation breaks a rule.

    Example:
        >>> from mmjax.testing import check_augmentation
        >>> def louder(key, x):
        ...     return x * jax.random.uniform(key, minval=0.5, maxval=2.0)
        >>> check_augmentation(louder, np.ones((4, 8)))
        Traceback (most recent call last):
            ...
        mmjax.testing.common.ContractError: louder breaks rule 3 (Each row depends on itself alone,
            and has randomness of its own): the same happens to all rows.
    """
    probe = _AugmentationProbe(augment, x)
    check(augment, AUGMENTATION_RULES, probe, traced=augmentation_compiles_once)
