"""Diagonal Gaussians: their products, and their divergence from the standard normal."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Gaussian(NamedTuple):
    """Gaussians with diagonal covariance.

    Attributes:
        mean: [..., width].
        variance: [..., width].
    """

    mean: jax.Array
    variance: jax.Array


def multiply(experts: Gaussian, members: jax.Array, *, prior: float) -> Gaussian:
    """Products of subsets of the experts, optionally with the prior: [batch, product, width].

    Args:
        experts: [batch, modality, width].
        members: [batch, product, modality] bool; a product without members is the prior.
        prior: 1 where the prior is an expert too, else 0.
    """
    precision = 1 / experts.variance
    among = lambda x: jnp.where(members[..., None], x[:, None], 0).sum(axis=2)
    share = jnp.where(members.any(axis=2, keepdims=True), prior, 1)
    total = among(precision) + share
    return Gaussian(among(precision * experts.mean) / total, 1 / total)


def divergence(gaussian: Gaussian) -> jax.Array:
    """KL divergence from :math:`N(0, I)`, in nats per dimension: [..., width] to [...]."""
    mean, variance = gaussian
    return (variance + jnp.square(mean) - 1 - jnp.log(variance)).mean(axis=-1) / 2
