"""Tokens and their padding masks, as used by encoders, fusions, objectives and methods."""

import inspect
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.errors import UsageError
from mmjax.layers.initializers import normal
from mmjax.types import Array, Tokens


def as_float(x: jax.Array) -> jax.Array:
    """Floats unchanged; unsigned integers scaled to [0, 1], so that data may stay uint8.

    Example:
        >>> import numpy as np
        >>> from mmjax.layers import as_float
        >>> as_float(np.array([0, 255], np.uint8)).tolist()
        [0.0, 1.0]
    """
    if jnp.issubdtype(x.dtype, jnp.unsignedinteger):
        return x.astype(jnp.float32) / jnp.iinfo(x.dtype).max
    return x


def is_ids(x: Array) -> bool:
    """Whether an input is token ids: they alone are signed integers.

    Example:
        >>> import numpy as np
        >>> from mmjax.layers import is_ids
        >>> is_ids(np.array([[7, 2, -1]], np.int32)), is_ids(np.array([[0, 255]], np.uint8))
        (True, False)
    """
    return bool(jnp.issubdtype(x.dtype, jnp.signedinteger))


def in_units(x: jax.Array) -> jax.Array:
    """Floats and token ids unchanged; images of bytes scaled to [0, 1], other bytes as floats.

    Example:
        >>> import numpy as np
        >>> from mmjax.layers import in_units
        >>> in_units(np.array([[0, 255]], np.uint8)).tolist()
        [[0.0, 255.0]]
    """
    counts = jnp.issubdtype(x.dtype, jnp.unsignedinteger) and x.ndim < 4
    return x.astype(jnp.float32) if counts else as_float(x)


def as_sequence(x: jax.Array) -> jax.Array:
    """[batch, length, features]: a vector becomes one token, an image a sequence of its rows.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.layers import as_sequence
        >>> [as_sequence(jnp.ones(shape)).shape for shape in [(2, 5), (2, 7, 5), (2, 8, 6, 3)]]
        [(2, 1, 5), (2, 7, 5), (2, 8, 18)]
    """
    return x[:, None] if x.ndim == 2 else x.reshape(*x.shape[:2], -1)


def all_valid(values: jax.Array) -> Tokens:
    """Tokens without padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.layers import all_valid
        >>> all_valid(jnp.ones((1, 3, 5))).mask.tolist()
        [[True, True, True]]
    """
    return Tokens(values, jnp.ones(values.shape[:2], bool))


def takes_mask(encoder: nn.Module) -> bool:
    """Whether the call of an encoder has an argument ``mask``.

    Example:
        >>> from mmjax.encoders import GRU, MLPEncoder
        >>> from mmjax.layers import takes_mask
        >>> takes_mask(GRU()), takes_mask(MLPEncoder())
        (True, False)
    """
    return "mask" in inspect.signature(type(encoder).__call__).parameters


def masked_by(mask: jax.Array | None, values: jax.Array) -> Tokens:
    """Tokens under the mask that an encoder was given; all are valid if it was given none.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.layers import masked_by
        >>> masked_by(jnp.array([[True, False]]), jnp.ones((1, 2, 5))).mask.tolist()
        [[True, False]]
    """
    return all_valid(values) if mask is None else Tokens(values, mask)


def as_tokens(output: jax.Array | Tokens) -> Tokens:
    """What an encoder returns as Tokens: of an array [batch, ..., features], all are valid.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.layers import as_tokens
        >>> as_tokens(jnp.ones((2, 5))).values.shape
        (2, 1, 5)
    """
    if isinstance(output, tuple):
        return Tokens(*output)
    return all_valid(as_sequence(output))


def join(*parts: Tokens) -> Tokens:
    """Concatenates tokens along their length: [batch, total length, features].

    Example:
        >>> from mmjax.layers import join
        >>> from mmjax.testing import make_tokens
        >>> join(*make_tokens({"audio": (3, 4), "image": (2, 4)}).values()).values.shape
        (4, 5, 4)
    """
    return Tokens(*(jnp.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True)))


def learned_tokens(module: nn.Module, name: str, shape: tuple[int, int], batch: int) -> Tokens:
    """Learned tokens of shape (length, width), shared by all samples: [batch, length, width].

    Creates the parameter ``name`` in the calling compact method.

    Raises:
        UsageError: the length is below 1.

    Example:
        >>> import flax.linen as nn
        >>> from jax import random
        >>> from mmjax.layers import learned_tokens
        >>> class Latents(nn.Module):
        ...     @nn.compact
        ...     def __call__(self):
        ...         return learned_tokens(self, "latents", shape=(2, 8), batch=4)
        >>> tokens, variables = Latents().init_with_output(random.key(0))
        >>> tokens.values.shape, variables["params"]["latents"].shape
        ((4, 2, 8), (2, 8))
    """
    if shape[0] < 1:
        raise UsageError(name, expected="at least 1 learned token", got=str(shape[0]))
    values = module.param(name, normal(0.02), shape)
    return all_valid(jnp.broadcast_to(values[None], (batch, *shape)))


def sinusoidal_positions(length: int, width: int) -> jax.Array:
    """Sinusoidal position encodings with wavelengths from 2 pi to 20000 pi: [length, width].

    Reference: Vaswani et al., Attention Is All You Need (arXiv:1706.03762), section 3.5.

    Example:
        >>> from mmjax.layers import sinusoidal_positions
        >>> sinusoidal_positions(3, 4).round(2).tolist()[0]  # position 0: sines 0, cosines 1
        [0.0, 1.0, 0.0, 1.0]
    """
    rate = 10_000.0 ** (-jnp.arange(0, width, 2) / width)
    angle = jnp.arange(length)[:, None] * rate[None]
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1).reshape(length, -1)[:, :width]


def zero_masked(tokens: Tokens) -> Tokens:
    """The same tokens with exact zeros wherever the mask is false, even in place of NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.layers import zero_masked
        >>> from mmjax.types import Tokens
        >>> tokens = Tokens(jnp.array([[[1.0], [jnp.nan]]]), jnp.array([[True, False]]))
        >>> zero_masked(tokens).values.tolist()
        [[[1.0], [0.0]]]
    """
    return tokens._replace(values=jnp.where(tokens.mask[..., None], tokens.values, 0))


def is_present(tokens: Mapping[str, Tokens]) -> jax.Array:
    """Which modalities each sample has: [batch, modality] bool, sorted by name.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.layers import is_present
        >>> from mmjax.testing import make_tokens
        >>> tokens = make_tokens({"image": (2, 5), "audio": (3, 4)}, batch=2)
        >>> tokens["audio"] = tokens["audio"]._replace(mask=jnp.zeros((2, 3), bool))
        >>> is_present(tokens).tolist()  # audio comes first
        [[False, True], [False, True]]
    """
    return jnp.stack([tokens[n].mask.any(axis=1) for n in sorted(tokens)], axis=1)


def masked_mean(tokens: Tokens) -> jax.Array:
    """Mean over the valid tokens, zeros where there are none: [batch, features].

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.layers import masked_mean
        >>> from mmjax.types import Tokens
        >>> mask = jnp.array([[True, True, False], [False, False, False]])
        >>> masked_mean(Tokens(jnp.array([[[1.0], [3.0], [9.0]]] * 2), mask)).tolist()
        [[2.0], [0.0]]
    """
    total = zero_masked(tokens).values.sum(axis=1)
    count = tokens.mask.sum(axis=1, keepdims=True)
    return total / jnp.maximum(count, 1).astype(total.dtype)


def mean_where(counts: Array, values: jax.Array, axis: int | None = None) -> jax.Array:
    """Mean of the values where ``counts``, of the same shape, is true; zero where it never is.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.layers import mean_where
        >>> mean_where(jnp.array([True, True, False]), jnp.array([1.0, 3.0, jnp.nan])).item()
        2.0
    """
    total = jnp.where(counts, values, 0).sum(axis)
    return total / jnp.maximum(counts.sum(axis), 1).astype(total.dtype)


def masked_softmax(scores: jax.Array, mask: jax.Array, axis: int) -> jax.Array:
    """Softmax over the entries where ``mask`` is true; zeros elsewhere, even if all are masked.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.layers import masked_softmax
        >>> mask = jnp.array([[True, True, False], [False, False, False]])
        >>> masked_softmax(jnp.zeros((2, 3)), mask, axis=1).tolist()
        [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
    """
    scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    return jnp.where(mask, nn.softmax(scores, axis=axis), 0)


def promise(module: nn.Module, what: str, residual: jax.Array) -> None:
    """States that ``residual`` is zero up to rounding, which ``mmjax.testing`` then checks.

    Example:
        >>> import flax.linen as nn
        >>> import jax.numpy as jnp
        >>> from mmjax.layers import promise
        >>> module = nn.Dense(3).bind({}, mutable="intermediates")  # in a fusion: self
        >>> promise(module, "probabilities sum to one", nn.softmax(jnp.zeros(4)).sum() - 1)
        >>> list(module.variables["intermediates"])
        ['promise: probabilities sum to one']
    """
    module.sow("intermediates", f"promise: {what}", residual)


MODALITY_WEIGHTS = "modality_weights"


def show_weights(module: nn.Module, weights: jax.Array) -> None:
    """Sows the modality weights, [batch, modality] sorted by name, for reports to collect.

    Example:
        >>> import flax.linen as nn
        >>> import jax.numpy as jnp
        >>> from mmjax.layers import MODALITY_WEIGHTS, show_weights
        >>> module = nn.Dense(3).bind({}, mutable="intermediates")  # in a fusion: self
        >>> show_weights(module, jnp.array([[0.25, 0.75]]))
        >>> module.variables["intermediates"][MODALITY_WEIGHTS][0].tolist()
        [[0.25, 0.75]]
    """
    module.sow("intermediates", MODALITY_WEIGHTS, weights)
