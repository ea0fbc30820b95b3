"""What the latent fusions share: decoders, their targets, and the reconstruction error.

A fusion sees tokens, not raw inputs, so latent fusions have decoders of their own. Their target is
the mean of the valid tokens of a modality, standardised over its features, so that modalities of
different scale and width weigh the same. Gradients are stopped at the target: an encoder trained
jointly could otherwise make its features easy to reconstruct by making them constant. With frozen
encoders this is the setting of the papers on extracted features.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from mmjax.layers import MLP, masked_mean
from mmjax.types import Tokens


def targets(tokens: Mapping[str, Tokens]) -> dict[str, jax.Array]:
    """The decoders' targets, sorted by name: {name: [batch, features]}, with gradients stopped."""
    pooled = {n: jax.lax.stop_gradient(masked_mean(tokens[n])) for n in sorted(tokens)}
    return {n: standardise(x) for n, x in pooled.items()}


def standardise(x: jax.Array) -> jax.Array:
    """Zero mean and unit variance over the last axis; zeros where the variance is zero."""
    variance = x.var(axis=-1, keepdims=True)
    return jax.nn.standardize(x, axis=-1, variance=variance, epsilon=1e-6)


def decoders(tokens: Mapping[str, Tokens], width: int) -> dict[str, MLP]:
    """One MLP ``decode_{name}`` per modality, created in the calling compact method."""
    sizes = {n: tokens[n].values.shape[-1] for n in sorted(tokens)}
    return {n: MLP((width, size), name=f"decode_{n}") for n, size in sizes.items()}


def squared_error(decoded: jax.Array, target: jax.Array) -> jax.Array:
    """Squared error, averaged over the last axis: [..., features] to [...]."""
    return jnp.square(decoded - target).mean(axis=-1)
