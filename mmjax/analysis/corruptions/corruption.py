"""Code that several kinds of corruptions share."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.augmentations.rows import row_keys, span
from mmjax.layers import as_float

NUM_SEVERITIES = 5
SNR_DB = (20.0, 15.0, 10.0, 5.0, 0.0)
"""Signal over noise, in decibels of power, at severities 1 to 5."""
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Fraction that is masked or removed, at severities 1 to 5."""


class Corruption(NamedTuple):
    """A corruption of one modality, in five severities.

    Attributes:
        kind: what it applies to: "pixels" [rows, height, width, channels] from 0 to 1 (or uint8),
            "waveform" [rows, samples], "sequence" [rows, length, features] and "vector"
            [rows, features], both with features of mean 0 and standard deviation 1; "text", token
            ids [rows, length], and "table" [rows, columns], as ``mmjax.data.codings`` has them; or
            "pairs". Sequences may end in frames of NaN, which is padding.
        apply: ``(key, values, severity) -> values`` of the same shape, for severities 1
            to 5, which may be traced. The key and i determine what happens to row i. A corruption
            of pairs is ``(key, target [rows], group [rows], severity) -> index [rows]``: the row
            from which each row takes the modality.

    Example:
        >>> from mmjax.analysis.corruptions import CORRUPTIONS
        >>> dropout = CORRUPTIONS["feature_dropout"]
        >>> values = dropout.apply(jax.random.key(0), jnp.ones((100, 8)), 5)
        >>> dropout.kind, bool(0.4 < (values == 0).mean() < 0.6)
        ('vector', True)
    """

    kind: str
    apply: Callable[..., jax.Array]


def strength(levels: Sequence[float], severity: jax.Array | int) -> jax.Array:
    """The level of a severity from 1 to 5, [] float32."""
    return jnp.asarray(levels, jnp.float32)[severity - 1]


def row_wise(corrupt_row: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Maps ``(key, row, severity) -> row`` over rows, as ``Corruption.apply`` expects."""

    @functools.wraps(corrupt_row)
    def apply(key: jax.Array, values: jax.Array, severity: jax.Array | int) -> jax.Array:
        keys = row_keys(key, len(values))
        return jax.vmap(corrupt_row, (0, 0, None))(keys, as_float(jnp.asarray(values)), severity)

    return apply


def add_noise(
    key: jax.Array, signal: jax.Array, severity: jax.Array | int, where: jax.Array | None = None
) -> jax.Array:
    """Adds white Gaussian noise whose power is exactly ``SNR_DB`` below that of the signal.

    With ``where``, of the shape of the signal, both powers are those of its true entries.
    """
    noise = jax.random.normal(key, signal.shape)
    ratio = jnp.mean(signal**2, where=where) / jnp.mean(noise**2, where=where)
    return signal + jnp.sqrt(ratio) * 10 ** (-strength(SNR_DB, severity) / 20) * noise


def stretch(
    size: int, share: jax.Array, place: jax.Array, used: jax.Array | None = None
) -> jax.Array:
    """[size] bool, true in one contiguous stretch of a fraction of the size, at least 1.

    With ``place`` uniform on [0, 1), every position of the stretch is equally likely. With
    ``used``, it is a fraction of the first ``used`` positions, and lies within them.
    """
    whole = size if used is None else used
    return span(size, jnp.maximum(jnp.round(share * whole), 1), place, used)


def shifted(
    key: jax.Array, size: int, severity: jax.Array | int, used: jax.Array | None = None
) -> jax.Array:
    """The source of each position after a shift either way, possibly out of range: [size].

    The shift is a fraction of the size, or of ``used``.
    """
    share = strength((0.05, 0.1, 0.15, 0.2, 0.25), severity)
    shift = jnp.maximum(jnp.round(share * (size if used is None else used)), 1).astype(int)
    return jnp.arange(size) - shift * jax.random.rademacher(key, (), int)
