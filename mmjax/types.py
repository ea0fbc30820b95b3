"""The types that models, objectives and training share."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import chex
import jax
import optax


class Tokens(NamedTuple):
    """One modality after its encoder; a vector is a single token.

    Attributes:
        values: [batch, length, features].
        mask: [batch, length] bool, true where a token is valid.
    """

    values: jax.Array
    mask: jax.Array


class Batch(NamedTuple):
    """Rows of a task, as the model and the objective see them.

    Attributes:
        inputs: {modality: [batch, ...]}.
        present: {modality: [batch] bool}, false where a sample lacks that modality.
        target: [batch] integer classes.
    """

    inputs: Mapping[str, jax.Array]
    present: Mapping[str, jax.Array]
    target: jax.Array


class Outputs(NamedTuple):
    """What a model returns.

    Attributes:
        prediction: [batch, out_dim], logits for a classification task.
        tokens: {modality: Tokens} that the fusion received.
        branches: {modality: [batch, out_dim]} of fusions with a readout per modality.
        aux: {term: []} that the objective adds to its loss.
    """

    prediction: jax.Array
    tokens: Mapping[str, Tokens] = {}
    branches: Mapping[str, jax.Array] = {}
    aux: Mapping[str, jax.Array] = {}


class TrainState(NamedTuple):
    """Everything that a train step changes: arrays only, so it maps over seeds and checkpoints.

    Attributes:
        step: [] int32, the number of steps taken.
        params: the model's parameters.
        opt_state: the optimiser's state.
        key: the JAX key of the run; batch order and dropout follow from (key, step).
    """

    step: jax.Array
    params: chex.ArrayTree
    opt_state: optax.OptState
    key: jax.Array


class Encoder(Protocol):
    """Turns one modality into tokens: ``(x [batch, ...], *, train) -> Tokens``."""

    def __call__(self, x: jax.Array, *, train: bool) -> Tokens: ...


class Fusion(Protocol):
    """Turns ``{modality: Tokens}`` into ``[batch, out_dim]``, or into Outputs to say more."""

    out_dim: int

    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> jax.Array | Outputs: ...


class Objective(Protocol):
    """Turns outputs into a loss: ``(outputs, batch) -> (loss [], {metric: []})``."""

    def __call__(
        self, outputs: Outputs, batch: Batch
    ) -> tuple[jax.Array, Mapping[str, jax.Array]]: ...


Forward = Callable[[chex.ArrayTree, Batch, jax.Array], Outputs]
"""``(params, batch, key) -> Outputs`` in training."""

Gradient = Callable[
    [chex.ArrayTree, Batch, jax.Array],
    tuple[tuple[jax.Array, Mapping[str, jax.Array]], chex.ArrayTree],
]
"""``(params, batch, key) -> ((loss [], {metric: []}), gradient of params)``."""


class Method(Protocol):
    """A training method: what it changes about the one train step.

    Attributes:
        pretrain: objective with which every encoder is trained alone beforehand, or None.
    """

    pretrain: Objective | None

    def transform(self, tx: optax.GradientTransformation) -> optax.GradientTransformation:
        """The optimiser that the method wants in place of ``tx``."""
        ...

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """How the gradient follows from the model and the objective."""
        ...
