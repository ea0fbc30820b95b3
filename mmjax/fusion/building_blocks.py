"""Building blocks shared by several fusions; each creates its parameters in the calling fusion."""

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
    """The prediction, [batch, out_dim], from a joint representation, [batch, features].

    Applies dropout, then creates the Dense layer ``readout`` in the calling compact method.
    """
    dropped = nn.Dropout(fusion.dropout, deterministic=not train)(fused)
    return Outputs(Dense(fusion.out_dim, name="readout")(dropped), fused=fused)


def project(tokens: Mapping[str, Tokens], width: int) -> jax.Array:
    """Pools each modality and projects it into a common space: [batch, modality, width].

    Modalities are sorted by name, and absent ones are zeros. Creates one Dense layer
    ``project_{name}`` with tanh per modality in the calling compact method; with linear
    projections, fusions that only add would be linear models.

    Example:
        >>> from mmjax.testing import make_tokens
        >>> class Average(nn.Module):
        ...     out_dim: int
        ...     dropout: float = 0.0
        ...
        ...     @nn.compact
        ...     def __call__(self, tokens, *, train):
        ...         return read_out(self, project(tokens, 8).mean(axis=1), train=train)
        >>> tokens = make_tokens({"audio": (3, 4), "image": (2, 5)}, batch=2)
        >>> outputs, params = Average(3).init_with_output(jax.random.key(0), tokens, train=False)
        >>> outputs.prediction.shape, sorted(params["params"])
        ((2, 3), ['project_audio', 'project_image', 'readout'])
    """
    dense = lambda n: Dense(width, name=f"project_{n}")(masked_mean(tokens[n]))
    projected = jnp.stack([jnp.tanh(dense(n)) for n in sorted(tokens)], axis=1)
    return jnp.where(is_present(tokens)[..., None], projected, 0)


def linear_factors(tokens: Mapping[str, Tokens], width: int, *, prefix: str) -> jax.Array:
    """A linear function of each pooled modality: [batch, modality, width], sorted by name.

    Creates one Dense layer ``{prefix}_{name}`` per modality in the calling compact method. For an
    absent modality only the bias remains.
    """
    dense = lambda n: Dense(width, name=f"{prefix}_{n}")(masked_mean(tokens[n]))
    return jnp.stack([dense(n) for n in sorted(tokens)], axis=1)


def multiply_present(factors: jax.Array, tokens: Mapping[str, Tokens]) -> jax.Array:
    """Product of the factors [batch, modality, ...] of the modalities present; zero if none is.

    Example:
        >>> from mmjax.testing import make_tokens
        >>> tokens = make_tokens({"a": (1, 4), "b": (1, 4)}, batch=1)
        >>> multiply_present(jnp.array([[[2.0], [3.0]]]), tokens).tolist()
        [[6.0]]
    """
    present = is_present(tokens)
    present = present.reshape(*present.shape, *[1] * (factors.ndim - 2))
    return jnp.where(present.any(axis=1), jnp.where(present, factors, 1).prod(axis=1), 0)


def power_normalise(fusion: nn.Module, z: jax.Array) -> jax.Array:
    """Signed square root, then unit length of the last axis; zeros stay zero: [..., features]."""
    roots = z / jnp.sqrt(jnp.abs(z) + 1e-4)
    square = jnp.sum(roots**2, axis=-1, keepdims=True)
    some = square > 0  # the gradient of a square root at zero is not finite
    normal = jnp.where(some, roots / jnp.sqrt(jnp.where(some, square, 1)), 0)
    promise(fusion, "length is one", jnp.sum(normal**2, axis=-1) - some[..., 0])
    return normal


def fold_present(
    combine: Callable[[str, jax.Array, jax.Array], jax.Array],
    vectors: jax.Array,
    tokens: Mapping[str, Tokens],
) -> jax.Array:
    """Folds the modalities present one after another, sorted by name: [batch, width].

    Args:
        combine: ``(name, so_far [batch, width], vector [batch, width]) -> [batch, width]``, called
            for every modality but the first.
        vectors: [batch, modality, width], zeros where a modality is absent.
        tokens: {name: tokens}; absent modalities are skipped.

    Example:
        >>> from mmjax.testing import make_tokens
        >>> tokens = make_tokens({"a": (1, 4), "b": (1, 4)}, batch=1)
        >>> combine = lambda name, so_far, vector: 10 * so_far + vector
        >>> fold_present(combine, jnp.array([[[2.0], [3.0]]]), tokens).tolist()
        [[23.0]]
    """
    present = is_present(tokens)
    so_far = vectors[:, 0]
    for i, n in enumerate(sorted(tokens)[1:], start=1):
        both = present[:, :i].any(axis=1, keepdims=True) & present[:, i : i + 1]
        combined = combine(n, so_far, vectors[:, i])
        either = so_far + vectors[:, i]  # absent ones are zeros
        so_far = jnp.where(both, combined, either)
    return so_far


def embed(
    tokens: Mapping[str, Tokens], width: int, *, positions: bool = True, modalities: bool = True
) -> dict[str, Tokens]:
    """Projects tokens to a common width and adds embeddings: {name: [batch, length, width]}.

    Creates one Dense layer ``project_{name}`` per modality in the calling compact method. Its bias
    is the modality embedding, hence initialised at random; positions are sinusoidal.

    Args:
        tokens: {name: [batch, length, features]}.
        width: size of the embedded tokens.
        positions: whether to add positions.
        modalities: whether to add modality embeddings.
    """
    marked = {}
    for n in sorted(tokens):
        mark = normal(0.02)
        project = Dense(width, use_bias=modalities, bias_init=mark, name=f"project_{n}")
        values = project(zero_masked(tokens[n]).values)
        if positions:
            values += sinusoidal_positions(values.shape[1], width).astype(values.dtype)[None]
        marked[n] = Tokens(values, tokens[n].mask)
    return marked


def token_sources(parts: Iterable[Tokens], learned: int = 0) -> np.ndarray:
    """The modality of each token, for ``show_rollout``: [tokens, modality], one-hot.

    Args:
        parts: the tokens of each modality, sorted by name.
        learned: number of leading tokens that belong to no modality; their rows are zeros.

    Example:
        >>> from mmjax.testing import make_tokens
        >>> parts = make_tokens({"audio": (2, 4), "image": (1, 4)})
        >>> token_sources(parts.values(), learned=1).tolist()
        [[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """
    lengths = [part.values.shape[1] for part in parts]
    return np.repeat(np.eye(len(lengths) + 1)[:, 1:], [learned, *lengths], axis=0)


def branch_logits(
    fusion: nn.Module, tokens: Mapping[str, Tokens], *, train: bool
) -> dict[str, jax.Array]:
    """The logits of each modality, sorted by name: {name: [batch, out_dim]}, zero where absent.

    Creates one MLP ``readout_{name}`` with a hidden layer per modality in the calling compact
    method, applied to the mean of its valid tokens.
    """
    branches = {}
    for n in sorted(tokens):
        readout = MLP((fusion.width, fusion.out_dim), fusion.dropout, name=f"readout_{n}")
        logits = readout(masked_mean(tokens[n]), train=train)
        branches[n] = jnp.where(tokens[n].mask.any(axis=1, keepdims=True), logits, 0)
    return branches


class ModalityWeights(nn.Module):
    """One learned scalar per modality, ``weight_{name}``, and a softmax over those present."""

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens]) -> jax.Array:
        """Weights [batch, modality], sorted by name; zero where a modality is absent."""
        scores = jnp.stack([self.param(f"weight_{n}", zeros, ()) for n in sorted(tokens)])
        present = is_present(tokens)
        weights = masked_softmax(jnp.broadcast_to(scores, present.shape), present, axis=1)
        promise_weights(self, weights, present)
        show_weights(self, weights)
        return weights


def promise_weights(module: nn.Module, weights: jax.Array, present: jax.Array) -> None:
    """States that weights [batch, modality] sum to one wherever a modality is present."""
    promise(module, "weights sum to one", weights.sum(axis=1) - present.any(axis=1))


class JointDense(nn.Module):
    """Dense layer on concatenated vectors, written as one kernel per vector and a single bias.

    Function and initialisation are those of a Dense layer on the concatenation. Since parameters
    carry the vectors' names, adding a vector neither renames nor reshapes the others.

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


def gate_scores(vectors: Mapping[str, jax.Array], width: int, *others: str) -> jax.Array:
    """Logits of a gate that reads {name: [batch, size]}: [batch, modality], sorted by name.

    Creates the hidden layer ``gate``, and an output layer ``gate_{name}`` per modality, in the
    calling compact method. ``others`` names the output layers of further columns.
    """
    hidden = nn.relu(JointDense(width, name="gate")(vectors))
    names = [*(f"gate_{n}" for n in sorted(vectors)), *others]
    return jnp.concatenate([Dense(1, name=name)(hidden) for name in names], axis=1)


def cosine(x: jax.Array, y: jax.Array) -> jax.Array:
    """Cosine similarity over the last axis, zero where either is zero: [..., features] to [...].

    Example:
        >>> cosine(jnp.array([[1.0, 0.0]]), jnp.array([[2.0, 0.0]])).tolist()
        [1.0]
    """
    squares = jnp.square(x).sum(axis=-1) * jnp.square(y).sum(axis=-1)
    safe = jnp.where(squares > 0, squares, 1)  # the gradient of the root is infinite at zero
    return (x * y).sum(axis=-1) / jnp.sqrt(safe)
