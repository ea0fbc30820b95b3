"""Encoders of tables, whose columns are numbers or categories, with missing cells."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.encoders.coded import Cells, split_cells
from mmjax.layers import MLP, all_valid
from mmjax.layers.blocks import attend_within
from mmjax.layers.initializers import normal
from mmjax.types import Removable, Tokens


def _embed(cells: Cells, width: int, dtype: jnp.dtype) -> jax.Array:
    """[batch, categorical columns, width], as a submodule of the calling encoder."""
    if not cells.sizes:
        return jnp.zeros((len(cells.codes), 0, width), dtype)
    return nn.Embed(sum(cells.sizes), width, embedding_init=normal(width**-0.5))(cells.flat_codes)


class TableEncoder(nn.Module):
    """Numbers, which of them are missing, and embedded categories, in one MLP: a single token.

    A missing number is 0, the mean of standardised ones. Reference: Guo and Berkhahn, Entity
    Embeddings of Categorical Variables (arXiv:1604.06737).

    Attributes:
        widths: output size of each layer; the last is that of the token.
        embedding: size of the embedding of a category.
        categories: number of codes of each column, 0 for numbers; ``make_model`` sets those of the
            task. By default every column holds numbers.

    Example:
        >>> import jax
        >>> from mmjax.encoders import TableEncoder
        >>> key, rows = jax.random.key(0), jax.numpy.array([[0.3, 2], [jax.numpy.nan, 0]])
        >>> encoder = TableEncoder(widths=(32, 16), categories=(0, 3))
        >>> tokens, _ = jax.eval_shape(lambda: encoder.init_with_output(key, rows, train=False))
        >>> tokens.values.shape
        (2, 1, 16)
    """

    widths: tuple[int, ...] = (128, 64)
    embedding: int = 8
    categories: tuple[int, ...] | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Tokens:
        """Maps [batch, columns] to tokens [batch, 1, widths[-1]]."""
        cells = split_cells(self, x, self.categories)
        embedded = _embed(cells, self.embedding, x.dtype).reshape(len(x), -1)
        parts = [cells.numbers, cells.missing.astype(x.dtype), embedded]
        hidden = MLP(self.widths)(jnp.concatenate(parts, axis=1), train=train)
        return all_valid(nn.relu(hidden)[:, None])


class FTTransformer(nn.Module):
    """Turns each cell into a token of its own, and applies self-attention over the columns.

    The token of a number is :math:`x_j W_j + b_j`, and :math:`M_j + b_j` if it is missing; that of
    a category is its embedding plus :math:`b_j`. Numbers come first. Unlike in the paper there is
    no class token: the fusion reads the tokens of all columns.

    Reference: Gorishniy et al., Revisiting Deep Learning Models for Tabular Data
    (arXiv:2106.11959).

    Attributes:
        width: width of the tokens.
        num_layers: number of transformer blocks.
        dropout: probability of zeroing a unit of a residual in training.
        categories: number of codes of each column, 0 for numbers; ``make_model`` sets those of the
            task. By default every column holds numbers.
        feature_biases: whether tokens have the biases :math:`b_j`.

    Example:
        >>> import jax
        >>> from mmjax.encoders import FTTransformer
        >>> key, rows = jax.random.key(0), jax.numpy.array([[0.3, 2], [jax.numpy.nan, 0]])
        >>> encoder = FTTransformer(width=16, categories=(0, 3))
        >>> tokens, _ = jax.eval_shape(lambda: encoder.init_with_output(key, rows, train=False))
        >>> tokens.values.shape  # a token for each column
        (2, 2, 16)
    """

    removable: ClassVar[Removable] = {"feature_biases": {"feature_biases": False}}
    width: int = 64
    num_layers: int = 2
    dropout: float = 0.1
    categories: tuple[int, ...] | None = None
    feature_biases: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Tokens:
        """Maps [batch, columns] to tokens [batch, columns, width]."""
        cells = split_cells(self, x, self.categories)
        draw, count = normal(self.width**-0.5), cells.numbers.shape[1]
        values = _embed(cells, self.width, x.dtype)
        if count:
            weight = self.param("weight", draw, (count, self.width))
            missing = self.param("missing", draw, (count, self.width))
            numbers = cells.numbers[..., None] * weight[None]
            numbers = jnp.where(cells.missing[..., None], missing[None], numbers)
            values = jnp.concatenate([numbers, values], axis=1)
        if self.feature_biases:
            values += self.param("bias", draw, values.shape[1:])[None]
        return attend_within(all_valid(values), self.num_layers, self.dropout, train=train)
