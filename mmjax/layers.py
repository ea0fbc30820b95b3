"""What two or more encoders or fusions share.

Convolution and pooling have one implementation per kind of hardware. XLA's native ones are right
for GPU and TPU; on CPU their gradients are tens of times slower than the same mathematics written
as matrix products and element-wise choices, above all inside ``lax.scan``.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial, reduce
from itertools import product

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from mmjax.errors import UsageError
from mmjax.types import Tokens

Padding = str | Sequence[tuple[int, int]]


def as_float(x: jax.Array) -> jax.Array:
    """Floats as they are; unsigned integers scaled to [0, 1], so that data may stay uint8."""
    if jnp.issubdtype(x.dtype, jnp.unsignedinteger):
        return x.astype(jnp.float32) / jnp.iinfo(x.dtype).max
    return x


def as_sequence(x: jax.Array) -> jax.Array:
    """[batch, length, features]: a vector has length one, an image is its rows."""
    return x[:, None] if x.ndim == 2 else x.reshape(*x.shape[:2], -1)


def all_valid(values: jax.Array) -> Tokens:
    """Tokens of which none is masked."""
    return Tokens(values, jnp.ones(values.shape[:2], bool))


def sinusoidal_positions(length: int, width: int) -> jax.Array:
    """Sines and cosines of the position, at wavelengths from 2 pi to 20000 pi: [length, width].

    Reference: Vaswani et al., Attention Is All You Need (arXiv:1706.03762), section 3.5.
    """
    rate = 10_000.0 ** (-jnp.arange(0, width, 2) / width)
    angle = jnp.arange(length)[:, None] * rate[None]
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1).reshape(length, -1)[:, :width]


def zero_masked(tokens: Tokens) -> Tokens:
    """The same tokens with exact zeros where the mask is false, whatever stood there."""
    return tokens._replace(values=jnp.where(tokens.mask[..., None], tokens.values, 0))


def is_present(tokens: Mapping[str, Tokens]) -> jax.Array:
    """Which modalities each sample has: [batch, modality] bool, names sorted."""
    return jnp.stack([tokens[n].mask.any(axis=1) for n in sorted(tokens)], axis=1)


def masked_mean(tokens: Tokens) -> jax.Array:
    """Mean over the valid tokens, zeros where there is none: [batch, features]."""
    total = zero_masked(tokens).values.sum(axis=1)
    count = tokens.mask.sum(axis=1, keepdims=True)
    return total / jnp.maximum(count, 1).astype(total.dtype)


def masked_softmax(scores: jax.Array, mask: jax.Array, axis: int) -> jax.Array:
    """Softmax over the entries where ``mask`` is true; zeros elsewhere, and where none is true."""
    scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    return jnp.where(mask, nn.softmax(scores, axis=axis), 0)


def promise(module: nn.Module, what: str, residual: jax.Array) -> None:
    """States that ``residual`` is zero up to rounding; ``mmjax.testing`` holds the module to it."""
    module.sow("intermediates", f"promise: {what}", residual)


class MLP(nn.Module):
    """Dense layers with ReLU, and dropout, after all but the last.

    Attributes:
        widths: output size of each layer.
        dropout: probability of zeroing a hidden unit in training.
    """

    widths: Sequence[int]
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps [..., features] to [..., widths[-1]]."""
        *hidden, last = self.widths
        for width in hidden:
            x = nn.relu(nn.Dense(width)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(last)(x)


class Attention(nn.Module):
    """Multi-head scaled dot-product attention from queries to valid context tokens.

    A row whose context has no valid token gets zeros. Keys and queries have no bias: softmax
    ignores a key's bias, which would be a parameter without a gradient.
    Reference: Vaswani et al., Attention Is All You Need (arXiv:1706.03762).

    Attributes:
        num_heads: number of heads; must divide the width of the queries.
    """

    num_heads: int = 4

    @nn.compact
    def __call__(self, queries: jax.Array, context: jax.Array, mask: jax.Array) -> jax.Array:
        """Attends from [batch, queries, width] to [batch, length, width] under [batch, length]."""
        width = queries.shape[-1]
        if width % self.num_heads:
            raise UsageError(
                "num_heads", expected=f"a divisor of the width {width}", got=str(self.num_heads)
            )
        heads = (self.num_heads, width // self.num_heads)
        split = lambda name, x: nn.DenseGeneral(heads, use_bias=False, name=name)(x)
        q, k, v = split("query", queries), split("key", context), split("value", context)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(heads[1])
        weights = masked_softmax(scores, mask[:, None, None, :], axis=-1)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, v)
        return nn.DenseGeneral(width, axis=(-2, -1), use_bias=False, name="out")(mixed)


class TransformerBlock(nn.Module):
    """Pre-norm attention and feed-forward, each with a residual.

    With a ``context`` it is cross-attention from ``x`` to the context, else self-attention.
    Reference: Xiong et al., On Layer Normalization in the Transformer (arXiv:2002.04745).

    Attributes:
        num_heads: heads of the attention.
        expansion: hidden width of the feed-forward layer, in widths of ``x``.
        dropout: probability of zeroing a unit of either residual in training.
    """

    num_heads: int = 4
    expansion: int = 2
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Tokens, context: Tokens | None = None, *, train: bool) -> Tokens:
        """Maps tokens of some width to tokens of that width; the mask of ``x`` stays."""
        width = x.values.shape[-1]
        drop = nn.Dropout(self.dropout, deterministic=not train)
        queries = nn.LayerNorm()(x.values)
        if context is None:
            keys, mask = queries, x.mask
        else:
            keys, mask = nn.LayerNorm(name="norm_context")(context.values), context.mask
        values = x.values + drop(Attention(self.num_heads)(queries, keys, mask))
        hidden = nn.LayerNorm()(values)
        hidden = nn.Dense(width)(nn.gelu(nn.Dense(width * self.expansion)(hidden)))
        return Tokens(values + drop(hidden), x.mask)


class Conv(nn.Module):
    """Convolution over [batch, *space, features], with the parameters and meaning of ``nn.Conv``.

    Attributes:
        features: number of output features.
        kernel_size: size of the window in each spatial dimension.
        strides: step of the window, one number or one per dimension.
        padding: "SAME", "VALID", or (before, after) per dimension.
        use_bias: whether to add a bias.
    """

    features: int
    kernel_size: Sequence[int]
    strides: int | Sequence[int] = 1
    padding: Padding = "SAME"
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [batch, *space, in] to [batch, *out, features]."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.linear.default_kernel_init, shape)
        x, kernel = nn.dtypes.promote_dtype(x, kernel)
        y = conv(x, kernel, self.strides, self.padding)
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        return y + along_last(bias.astype(y.dtype), y)


def conv(
    x: jax.Array, kernel: jax.Array, strides: int | Sequence[int] = 1, padding: Padding = "SAME"
) -> jax.Array:
    """Cross-correlates [batch, *space, in] with a kernel [*window, in, out]."""
    space, window = x.shape[1:-1], kernel.shape[:-2]
    strides = (strides,) * len(space) if isinstance(strides, int) else tuple(strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(space, window, strides, padding)
    padding = tuple(map(tuple, padding))
    compute = _cpu_conv if jax.default_backend() == "cpu" else _native_conv
    return compute(x, kernel, strides, padding)


def _native_conv(x, kernel, strides, padding, dilation=None):
    letters = "DHW"[-len(strides) :]
    layout = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    return lax.conv_general_dilated(
        x, kernel, strides, padding, lhs_dilation=dilation, dimension_numbers=layout
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _cpu_conv(x, kernel, strides, padding):
    window = kernel.shape[:-2]
    if x.shape[-1] == 1:
        x = _pad(x, padding)
        sizes = _num_windows(x.shape[1:-1], window, strides)
        offsets = list(product(*map(range, window)))
        return sum(_shift(x, o, sizes, strides) * along_last(kernel[o][0], x) for o in offsets)
    if len(window) == 1:
        patches = _patches(x, window, strides, padding)
        return patches @ kernel.reshape(-1, kernel.shape[-1])
    return _native_conv(x, kernel, strides, padding)


def along_last(vector, x):
    """[features] in the rank of ``x``, for arithmetic without rank promotion."""
    return vector.reshape((1,) * (x.ndim - 1) + (-1,))


def _cpu_conv_forward(x, kernel, strides, padding):
    return _cpu_conv(x, kernel, strides, padding), (x, kernel)


def _cpu_conv_backward(strides, padding, saved, cotangent):
    x, kernel = saved
    return _input_gradient(x, kernel, strides, padding, cotangent), _kernel_gradient(
        x, kernel, strides, padding, cotangent
    )


_cpu_conv.defvjp(_cpu_conv_forward, _cpu_conv_backward)


def _input_gradient(x, kernel, strides, padding, cotangent):
    """Convolves the cotangent with the flipped, transposed kernel."""
    window, space = kernel.shape[:-2], x.shape[1:-1]
    flipped = jnp.flip(kernel, range(len(window))).swapaxes(-1, -2)
    pads = []
    for size, k, stride, (low, _), out in zip(
        space, window, strides, padding, cotangent.shape[1:-1], strict=True
    ):
        before = k - 1 - low
        pads.append((before, size + k - 1 - before - ((out - 1) * stride + 1)))
    ones = (1,) * len(window)
    return _native_conv(cotangent, flipped, ones, pads, dilation=strides)


def _kernel_gradient(x, kernel, strides, padding, cotangent):
    """Patches transposed times cotangent, one matrix product per offset in the first dimension.

    One product for all offsets would copy the input as often as the window is large.
    """
    window, features = kernel.shape[:-2], x.shape[-1]
    flat = cotangent.reshape(-1, cotangent.shape[-1])
    if len(window) == 1 or features == 1:
        patches = _patches(x, window, strides, padding)
        return (patches.reshape(-1, patches.shape[-1]).T @ flat).reshape(kernel.shape)
    x = _pad(x, padding)
    sizes = cotangent.shape[1:-1]
    rows = []
    for i in range(window[0]):
        shifts = [
            _shift(x, (i, *rest), sizes, strides) for rest in product(*map(range, window[1:]))
        ]
        patches = jnp.concatenate(shifts, axis=-1)
        rows.append(patches.reshape(-1, patches.shape[-1]).T @ flat)
    return jnp.stack(rows).reshape(kernel.shape)


def _patches(x, window, strides, padding):
    """The window's entries at each output position: [batch, *out, prod(window) * features]."""
    x = _pad(x, padding)
    sizes = _num_windows(x.shape[1:-1], window, strides)
    shifts = [_shift(x, offset, sizes, strides) for offset in product(*map(range, window))]
    return jnp.concatenate(shifts, axis=-1)


def _num_windows(space, window, strides):
    return [(n - k) // s + 1 for n, k, s in zip(space, window, strides, strict=True)]


def _pad(x, padding):
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*p, 0) for p in padding), (0, 0, 0)])


def _shift(x, offset, sizes, strides):
    """Every ``strides``-th entry from ``offset`` on, ``sizes`` of them."""
    stops = [o + (n - 1) * s + 1 for o, n, s in zip(offset, sizes, strides, strict=True)]
    return lax.slice(x, (0, *offset, 0), (len(x), *stops, x.shape[-1]), (1, *strides, 1))


def max_pool(x: jax.Array, window: Sequence[int]) -> jax.Array:
    """Maximum over windows that do not overlap: [batch, *space, features], remainders dropped."""
    if jax.default_backend() != "cpu":
        return nn.max_pool(x, tuple(window), strides=tuple(window))
    # The gradient of a chain of choices is a chain of choices; that of reduce_window is a scatter.
    sizes = _num_windows(x.shape[1:-1], window, window)
    shifts = [_shift(x, offset, sizes, window) for offset in product(*map(range, window))]
    return reduce(lambda a, b: jnp.where(a >= b, a, b), shifts)
