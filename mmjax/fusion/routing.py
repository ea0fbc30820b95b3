"""What sparse mixtures share: how a router picks a few experts, what they say, and their balance.

Experts are computed for every row and multiplied by zero where they are not picked: few and small,
they cost less than dispatching rows.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.errors import UsageError
from mmjax.layers import Dense, masked_softmax


def pick_top_k(fusion: nn.Module, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Which ``fusion.top_k`` experts have the highest scores, and what each had to exceed.

    Args:
        fusion: has the fields ``top_k`` and ``num_experts``.
        scores: [..., expert].

    Returns:
        [..., expert] bool, and [..., expert]: the top_k-th largest score of the other experts.

    Raises:
        UsageError: ``top_k`` is not between 1 and one less than the number of experts.
    """
    if not 0 < fusion.top_k < fusion.num_experts:
        raise UsageError(
            "top_k",
            expected=f"1 to {fusion.num_experts - 1}, fewer than num_experts",
            got=str(fusion.top_k),
        )
    best, chosen = jax.lax.top_k(scores, fusion.top_k + 1)
    picked = jax.nn.one_hot(chosen[..., :-1], fusion.num_experts, dtype=bool).any(axis=-2)
    return picked, jnp.where(picked, best[..., -1:], best[..., -2:-1])


def route_with_noise(
    fusion: nn.Module, clean: jax.Array, noise: jax.Array, counts: jax.Array, *, train: bool
) -> tuple[jax.Array, jax.Array]:
    r"""The noisy top-k gate, with noise in training only.

    A score is :math:`\text{clean} + \text{softplus}(\text{noise}) \odot N(0, 1)`.

    Reference: Shazeer et al., Outrageously Large Neural Networks: The Sparsely-Gated
    Mixture-of-Experts Layer (arXiv:1701.06538).

    Args:
        fusion: has the fields ``top_k`` and ``num_experts``, and draws from its dropout key.
        clean: [..., expert], the scores.
        noise: [..., expert], the spread of the noise before the softplus.
        counts: [...] bool, where there is something to route.
        train: whether to add noise.

    Returns:
        Weights [..., expert], of which ``top_k`` are positive and sum to one where it counts, and
        the chance [..., expert] that an expert is picked under fresh noise, zero elsewhere.
    """
    # The constant bounds the gradient of the division by the spread.
    spread = nn.softplus(noise) + 0.01
    scores = clean
    if train:
        drawn = jax.random.normal(fusion.make_rng("dropout"), clean.shape, clean.dtype)
        scores = clean + spread * drawn
    picked, threshold = pick_top_k(fusion, scores)
    weights = masked_softmax(scores, picked & counts[..., None], axis=-1)
    margin = ((clean - threshold) / spread).astype(jnp.float32)  # norm.cdf needs it
    chance = jax.scipy.stats.norm.cdf(margin)
    return weights, jnp.where(counts[..., None], chance, 0)


def weigh_experts(x: jax.Array, weights: jax.Array, width: int) -> jax.Array:
    """Hidden layers of all experts, times their weights: [..., expert * width].

    A Dense layer on the result is the weighted sum of as many last layers, one per expert, with a
    single bias. Creates the Dense layer ``experts`` in the calling compact method.

    Args:
        x: [..., features].
        weights: [..., expert].
        width: size of the hidden layer of each expert.
    """
    num_experts = weights.shape[-1]
    hidden = nn.relu(Dense(num_experts * width, name="experts")(x))
    hidden = hidden.reshape(*weights.shape, width) * weights[..., None]
    return hidden.reshape(*x.shape[:-1], num_experts * width)


def squared_variation(amounts: jax.Array) -> jax.Array:
    """Squared coefficient of variation of non-negative amounts [size]: a scalar, zero for zeros."""
    mean = amounts.mean()
    return jnp.where(mean > 0, amounts / jnp.where(mean > 0, mean, 1), 0).var()
