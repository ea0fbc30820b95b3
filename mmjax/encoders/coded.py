"""Reading coded inputs, token ids and tables, shared by several encoders."""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import UsageError
from mmjax.layers import is_ids


def read_ids(encoder: nn.Module, x: jax.Array, vocabulary: int | None) -> tuple[jax.Array, int]:
    """The ids, [batch, length], and the size of their vocabulary.

    Raises:
        UsageError: the inputs are not token ids, or the size is not known.
    """
    where = f"encoder {type(encoder).__name__}"
    if not is_ids(x) or x.ndim != 2:
        fix = "Use the encoder of that kind of input, or declare it by kinds={...: 'tokens'}."
        expected = "token ids, integers [batch, length]"
        raise UsageError(where, expected=expected, got=f"{x.dtype} {x.shape}", fix=fix)
    if vocabulary is None:
        fix = f"make_model sets it; elsewhere, use {type(encoder).__name__}(vocabulary=...)."
        raise UsageError(where, "vocabulary is not set", fix=fix)
    return x, vocabulary


class Cells(NamedTuple):
    """The columns of a table, numbers and categories apart.

    Attributes:
        numbers: [batch, numbers], 0 where they are missing.
        missing: [batch, numbers] bool.
        codes: [batch, categorical columns] integers, 0 where they are missing or unknown.
        sizes: number of codes of each categorical column.
    """

    numbers: jax.Array
    missing: jax.Array
    codes: jax.Array
    sizes: tuple[int, ...]

    @property
    def flat_codes(self) -> jax.Array:
        """The codes, such that those of all columns differ: from 0 to ``sum(sizes) - 1``."""
        before = [sum(self.sizes[:column]) for column in range(len(self.sizes))]
        return self.codes + np.array(before, np.int32)[None]


def split_cells(encoder: nn.Module, x: jax.Array, categories: Sequence[int] | None) -> Cells:
    """The cells of a table [batch, columns], in which NaN are missing.

    Args:
        encoder: whose input it is.
        x: numbers and codes.
        categories: number of codes of each column, 0 for numbers; None if all are numbers.

    Raises:
        UsageError: the input is not a table, or has other columns.
    """
    sizes = (0,) * x.shape[-1] if categories is None else tuple(categories)
    if is_ids(x) or x.ndim != 2 or len(sizes) != x.shape[1]:
        columns = "" if categories is None else f", of {len(sizes)} columns"
        where, expected = f"encoder {type(encoder).__name__}", f"a table [batch, columns]{columns}"
        raise UsageError(where, expected=expected, got=f"{x.dtype} {x.shape}")
    there = jnp.where(jnp.isnan(x), 0, x)
    is_code = np.array(sizes) > 0
    return Cells(
        there[:, ~is_code],
        jnp.isnan(x)[:, ~is_code],
        there[:, is_code].astype(jnp.int32),
        tuple(size for size in sizes if size),
    )
