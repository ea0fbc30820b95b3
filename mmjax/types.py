"""The types that models, objectives and training share."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import chex
import jax
import numpy as np
import optax

from mmjax.errors import look_up

Array = jax.Array | np.ndarray


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
        target: [batch] classes, or [batch, out_dim] labels or numbers; see ``mmjax.data.targets``.
    """

    inputs: Mapping[str, Array]
    present: Mapping[str, Array]
    target: Array

    def hide(self, modalities: Collection[str]) -> "Batch":
        """The same rows with some modalities absent everywhere.

        Raises:
            UnknownNameError: the rows have no such modality.
        """
        for name in modalities:
            look_up("hide", name, self.present)
        absent = {name: np.zeros(len(self.target), bool) for name in modalities}
        return self._replace(present={**self.present, **absent})


class Outputs(NamedTuple):
    """What a model returns.

    Attributes:
        prediction: [batch, out_dim]: logits of classes or of labels, or numbers.
        tokens: {modality: Tokens} that the fusion received.
        branches: {modality: [batch, out_dim]} of fusions with a readout per modality.
        aux: {term: []} that the objective adds to its loss.
        fused: [batch, features], the joint representation of fusions that have one.
    """

    prediction: jax.Array
    tokens: Mapping[str, Tokens] = {}
    branches: Mapping[str, jax.Array] = {}
    aux: Mapping[str, jax.Array] = {}
    fused: jax.Array | None = None


class Skipped(NamedTuple):
    """Steps whose loss or gradient was not finite.

    Attributes:
        total: [] number of them.
        in_row: [] number of those since the last one that was finite.
    """

    total: Array | np.int32 = np.int32(0)
    in_row: Array | np.int32 = np.int32(0)


class TrainState(NamedTuple):
    """Everything that a train step changes: arrays only, so it maps over seeds and checkpoints.

    Attributes:
        step: [] int32, the number of steps taken.
        params: the model's parameters.
        opt_state: the optimiser's state.
        key: the JAX key of the run; batch order and dropout follow from (key, step).
        memory: what the training method remembers from step to step.
        dropout: [] rate in place of the model's own, or None.
        skipped: the steps that changed nothing.
    """

    step: jax.Array
    params: chex.ArrayTree
    opt_state: optax.OptState
    key: jax.Array
    memory: chex.ArrayTree = ()
    dropout: jax.Array | None = None
    skipped: Skipped = Skipped()


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
    [chex.ArrayTree, chex.ArrayTree, Batch, jax.Array],
    tuple[chex.ArrayTree, chex.ArrayTree, Mapping[str, jax.Array]],
]
"""``(params, memory, batch, key) -> (gradient of params, memory, {metric: []})``, "loss" first."""


class Prepared(NamedTuple):
    """What a method's preliminary runs give to the run itself.

    Attributes:
        params: {submodule: parameters [seeds, ...]} to start from in place of fresh ones.
        memory: [seeds, ...] in place of what ``Method.init`` makes, or None.
    """

    params: Mapping[str, chex.ArrayTree] = {}
    memory: chex.ArrayTree | None = None


class Trained(Protocol):
    """What a preliminary run returns; ``mmjax.training.fit.Fit`` is one."""

    @property
    def params(self) -> Any:
        """The best parameters on validation, [seeds, ...]."""
        ...

    @property
    def predict(self) -> Callable[[chex.ArrayTree, Batch], np.ndarray]:
        """``(params, rows) -> predictions [seeds, rows, out_dim]``."""
        ...


class FitLoop(Protocol):
    """Trains a ``Recipe`` on a ``Task``; both are types of packages that build on this one."""

    def __call__(self, recipe: Any, task: Any) -> Trained: ...


class Method(Protocol):
    """A training method: what it changes about the one train step.

    Inherit from it to say only what differs from joint training with the optimiser as it is.

    Attributes:
        counts_steps: whether its memory counts calls of the gradient as steps, so that a batch
            cannot be taken in parts.
    """

    counts_steps: ClassVar[bool] = False

    def num_runs(self, num_modalities: int) -> int:
        """Number of preliminary runs, each as long as the run itself."""
        return 0

    def prepare(self, fit: FitLoop, recipe: Any, task: Any) -> Prepared:
        """Makes the preliminary runs: ``fit(recipe, task)`` is one.

        Args:
            fit: runs a variant of the recipe.
            recipe: the recipe whose method this is.
            task: the data; its test split is not to be touched.
        """
        return Prepared()

    def init(self, forward: Forward, params: chex.ArrayTree, rows: Batch) -> chex.ArrayTree:
        """The memory before the first step; of the rows only the shapes matter."""
        return ()

    def transform(self, tx: optax.GradientTransformation) -> optax.GradientTransformation:
        """The optimiser that the method wants in place of ``tx``."""
        return tx

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """How the gradient follows from the model and the objective."""
        ...
