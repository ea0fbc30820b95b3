"""Coded inputs as zeros and ones, without parameters."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.encoders.coded import read_ids, split_cells
from mmjax.layers import all_valid, is_ids
from mmjax.types import Tokens

_BUCKETS = 256


class OneHot(nn.Module):
    """What ``raw`` is to numbers, for token ids and tables: as used by early fusion.

    An id becomes a vector of zeros and a one. From 256 on, ids share the places of smaller ones, as
    in feature hashing: id i has the place i modulo 256. The row of a table becomes a single token:
    its numbers, which of them are missing, and a vector of zeros and a one for each category.

    Reference: Weinberger et al., Feature Hashing for Large Scale Multitask Learning
    (arXiv:0902.2206).

    Attributes:
        vocabulary: number of token ids; ``make_model`` sets that of the task.
        categories: number of codes of each column of a table, 0 for numbers; ``make_model`` sets
            those of the task.

    Example:
        >>> import jax
        >>> from mmjax.encoders import OneHot
        >>> ids = jax.numpy.array([[2, 0, -1]])
        >>> OneHot(vocabulary=3).apply({}, ids, train=False).values.astype(int).tolist()
        [[[0, 0, 1], [1, 0, 0], [0, 0, 0]]]
        >>> row = jax.numpy.array([[0.5, 1]])
        >>> OneHot(categories=(0, 3)).apply({}, row, train=False).values.tolist()
        [[[0.5, 0.0, 0.0, 1.0, 0.0]]]
    """

    vocabulary: int | None = None
    categories: tuple[int, ...] | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Tokens:
        """Maps ids [batch, length] or a table [batch, columns] to tokens; it has no parameters."""
        if is_ids(x):
            ids, size = read_ids(self, x, self.vocabulary)
            places = jnp.where(ids < 0, ids, ids % _BUCKETS)
            return Tokens(jax.nn.one_hot(places, min(size, _BUCKETS)), ids >= 0)
        cells = split_cells(self, x, self.categories)
        hot = jax.nn.one_hot(cells.flat_codes, sum(cells.sizes), dtype=x.dtype).sum(axis=1)
        parts = [cells.numbers, cells.missing.astype(x.dtype), hot]
        return all_valid(jnp.concatenate(parts, axis=1)[:, None])
