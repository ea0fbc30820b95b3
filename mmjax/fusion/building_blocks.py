"""What two or more fusions share; each part makes its parameters in the fusion that calls it."""

from collections.abc import Callable, Iterable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.layers import (
    MLP,
    Dense,
    is_present,
    masked_mean,
    masked_softmax,
    promise,
    show_weights,
    sinusoidal_positions,
    zero_masked,
)
from mmjax.layers.initializers import normal, variance_scaling, zeros
from mmjax.types import Outputs, Tokens


def read_out(fusion: nn.Module, fused: jax.Array, *, train: bool) -> Outputs:
    """The prediction, [batch, out_dim], from a joint representation [batch, features].

    Makes the Dense layer ``readout`` in the fusion whose compact method calls it, after dropout.
    """
    dropped = nn.Dropout(fusion.dropout, deterministic=not train)(fused)
    return Outputs(Dense(fusion.out_dim, name="readout")(dropped), fused=fused)


def project(tokens: Mapping[str, Tokens], width: int) -> jax.Array:
    """Pools each modality into one space: [batch, modality, width], zeros where it is absent.

    Names sorted. Makes a Dense layer ``project_{name}`` with tanh per modality, in the module whose
    compact method calls it; with linear ones, fusions that only add would be linear models.
    """
    dense = lambda n: Dense(width, name=f"project_{n}")(masked_mean(tokens[n]))
    projected = jnp.stack([jnp.tanh(dense(n)) for n in sorted(tokens)], axis=1)
    return jnp.where(is_present(tokens)[..., None], projected, 0)


def linear_factors(tokens: Mapping[str, Tokens], width: int, *, prefix: str) -> jax.Array:
    """A linear function of each pooled modality: [batch, modality, width], names sorted.

    Makes a Dense layer ``{prefix}_{name}`` per modality, in the module whose compact method calls
    it. An absent modality has the bias in its place.
    """
    dense = lambda n: Dense(width, name=f"{prefix}_{n}")(masked_mean(tokens[n]))
    return jnp.stack([dense(n) for n in sorted(tokens)], axis=1)


def multiply_present(factors: jax.Array, tokens: Mapping[str, Tokens]) -> jax.Array:
    """Product of the factors [batch, modality, ...] of the modalities present, zero if none is."""
    present = is_present(tokens)
    present = present.reshape(*present.shape, *[1] * (factors.ndim - 2))
    return jnp.where(present.any(axis=1), jnp.where(present, factors, 1).prod(axis=1), 0)


def fold_present(
    combine: Callable[[str, jax.Array, jax.Array], jax.Array],
    vectors: jax.Array,
    tokens: Mapping[str, Tokens],
) -> jax.Array:
    """Combines the modalities present one after another, names sorted: [batch, width].

    Args:
        combine: ``(name, so_far [batch, width], vector [batch, width]) -> [batch, width]``, called
            for every modality but the first.
        vectors: [batch, modality, width], zeros where a modality is absent.
        tokens: {name: tokens}, which say where a modality is absent, and so leaves what is so far.
    """
    present = is_present(tokens)
    so_far = vectors[:, 0]
    for i, n in enumerate(sorted(tokens)[1:], start=1):
        both = present[:, :i].any(axis=1, keepdims=True) & present[:, i : i + 1]
        combined = combine(n, so_far, vectors[:, i])
        either = so_far + vectors[:, i]  # zeros stand for what is not there
        so_far = jnp.where(both, combined, either)
    return so_far


def embed(tokens: Mapping[str, Tokens], width: int) -> dict[str, Tokens]:
    """Brings tokens to one width and marks modality and position: {name: [batch, length, width]}.

    Makes a Dense layer ``project_{name}`` per modality, in the module whose compact method calls
    it. Its bias is the modality's embedding, hence random; positions are sinusoids.
    """
    marked = {}
    for n in sorted(tokens):
        mark = normal(0.02)
        project = Dense(width, bias_init=mark, name=f"project_{n}")
        values = project(zero_masked(tokens[n]).values)
        positions = sinusoidal_positions(values.shape[1], width).astype(values.dtype)
        marked[n] = Tokens(values + positions[None], tokens[n].mask)
    return marked


def token_sources(parts: Iterable[Tokens], learned: int = 0) -> np.ndarray:
    """Which modality tokens are of, for ``show_rollout``: [tokens, modality], one-hot.

    Args:
        parts: the tokens of each modality, names sorted.
        learned: number of tokens before them that are of no modality: zeros.
    """
    lengths = [part.values.shape[1] for part in parts]
    return np.repeat(np.eye(len(lengths) + 1)[:, 1:], [learned, *lengths], axis=0)


def branch_logits(
    fusion: nn.Module, tokens: Mapping[str, Tokens], *, train: bool
) -> dict[str, jax.Array]:
    """The logits of each modality, names sorted: {name: [batch, out_dim]}, zero where absent.

    Makes an MLP ``readout_{name}`` with one hidden layer on the mean of the valid tokens of each
    modality, in the fusion whose compact method calls it.
    """
    branches = {}
    for n in sorted(tokens):
        readout = MLP((fusion.width, fusion.out_dim), fusion.dropout, name=f"readout_{n}")
        logits = readout(masked_mean(tokens[n]), train=train)
        branches[n] = jnp.where(tokens[n].mask.any(axis=1, keepdims=True), logits, 0)
    return branches


class ModalityWeights(nn.Module):
    """One learned number per modality, ``weight_{name}``; softmax over those present."""

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens]) -> jax.Array:
        """Weights [batch, modality], names sorted; zeros where a modality is absent."""
        scores = jnp.stack([self.param(f"weight_{n}", zeros, ()) for n in sorted(tokens)])
        present = is_present(tokens)
        weights = masked_softmax(jnp.broadcast_to(scores, present.shape), present, axis=1)
        promise_weights(self, weights, present)
        show_weights(self, weights)
        return weights


def promise_weights(module: nn.Module, weights: jax.Array, present: jax.Array) -> None:
    """Promises that weights [batch, modality] sum to one wherever a modality is present."""
    promise(module, "weights sum to one", weights.sum(axis=1) - present.any(axis=1))


class JointDense(nn.Module):
    """Dense layer on concatenated vectors, written as one kernel per vector and one bias.

    The mathematics, and the initialisation, are those of the concatenation; the parameters carry
    the vectors' names, so that another vector renames and reshapes nothing.

    Attributes:
        features: number of output features.
    """

    features: int

    @nn.compact
    def __call__(self, vectors: Mapping[str, jax.Array]) -> jax.Array:
        """Maps {name: [batch, size]} to [batch, features]."""
        total = sum(x.shape[-1] for x in vectors.values())
        bias = self.param("bias", zeros, (self.features,))
        y = bias[None]
        for n in sorted(vectors):
            share = vectors[n].shape[-1] / total
            init = variance_scaling(share)
            y = y + Dense(self.features, use_bias=False, kernel_init=init, name=n)(vectors[n])
        return y
