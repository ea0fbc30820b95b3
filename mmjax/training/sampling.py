"""Which training rows an epoch takes, and in which order; a function of (seed, epoch)."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from mmjax.training.recipe import Recipe
from mmjax.training.step import ORDER
from mmjax.types import Array

Order = Callable[[jax.Array, jax.Array | int, Array], jax.Array]
"""``(key of the run, epoch, target of the training rows) -> rows of the epoch [size]``."""


def order_of(recipe: Recipe) -> Order:
    """The order that a recipe's ``sampling`` stands for.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import Recipe, make_model
        >>> order_of(Recipe(make_model(synthetic(size=100), "sum"))) is shuffled
        True
    """
    if recipe.sampling == "balanced":
        return partial(balanced, num_classes=recipe.model.fusion.out_dim)
    return shuffled


def shuffled(key: jax.Array, epoch: jax.Array | int, target: Array) -> jax.Array:
    """Every row once, in random order.

    Example:
        >>> sorted(shuffled(jax.random.key(0), 0, jnp.array([1, 1, 0])).tolist())
        [0, 1, 2]
    """
    key = _key_of(key, epoch)
    return jnp.argsort(jax.random.bits(key, (len(target),)))  # half the time of random.permutation


def balanced(
    key: jax.Array, epoch: jax.Array | int, target: Array, *, num_classes: int
) -> jax.Array:
    """Each class equally often: any ``num_classes`` rows in a row, from the first, have all.

    No row comes again before all of its class have come.

    Args:
        key: of the run.
        epoch: its number.
        target: classes of the training rows; each occurs.
        num_classes: their number.

    Example:
        >>> target = jnp.array([0, 0, 0, 0, 1, 0])
        >>> rows = balanced(jax.random.key(0), 0, target, num_classes=2)
        >>> sorted(target[rows].tolist())
        [0, 0, 0, 1, 1, 1]
    """
    order = shuffled(key, epoch, target)
    target = jnp.asarray(target)
    by_class = order[jnp.argsort(target[order])]
    counts = jnp.bincount(target, length=num_classes)
    starts = jnp.cumsum(counts) - counts
    turns = jnp.arange(-(-len(target) // num_classes))
    bits = jax.random.bits(jax.random.fold_in(_key_of(key, epoch), 1), (len(turns), num_classes))
    classes = jnp.argsort(bits, axis=1)  # [turn, class]
    places = starts[classes] + turns[:, None] % counts[classes]
    return by_class[places].reshape(-1)[: len(target)]


def _key_of(key: jax.Array, epoch: jax.Array | int) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(key, ORDER), epoch)
