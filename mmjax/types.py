"""The types shared by models, objectives and training."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import chex
import jax
import numpy as np
import optax

from mmjax.errors import look_up

Array = jax.Array | np.ndarray

PADDING = -1
"""The token id that stands for no token, after the end of a row."""


class Tokens(NamedTuple):
    """One modality after its encoder; a vector is a single token.

    Attributes:
        values: [batch, length, features].
        mask: [batch, length] bool padding mask, true where a token is valid.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.layers import masked_mean
        >>> from mmjax.types import Tokens
        >>> mask = jnp.array([[True, True, True], [True, False, False]])  # the second row is padded
        >>> tokens = Tokens(jnp.ones((2, 3, 8)), mask)
        >>> masked_mean(tokens).shape
        (2, 8)
    """

    values: jax.Array
    mask: jax.Array


class Mixed(NamedTuple):
    """The rows that mixup has mixed into those of a batch.

    Attributes:
        target: their targets, of the same shape as those of the batch.
        weight: [batch] the weight of their losses, or None.
        share: [batch] of the batch's own rows, at least 1/2; the same number in all rows.
    """

    target: Array
    weight: Array | None
    share: Array


class Batch(NamedTuple):
    """Rows of a task, as seen by the model and the objective.

    Attributes:
        inputs: {modality: [batch, ...]}.
        present: {modality: [batch] bool}, false where a row lacks that modality.
        target: [batch] classes, or [batch, out_dim] labels or numbers; see ``mmjax.data.targets``.
        weight: [batch] factor of each row's loss, from the weights of the classes, or None.
        mixed: what was mixed into the rows, or None.
        view: {modality: [batch, ...]}, the inputs varied a second time, where training varies them.

    Example:
        >>> import numpy as np
        >>> from mmjax.types import Batch
        >>> present = {"audio": np.array([True, False])}
        >>> batch = Batch({"audio": np.ones((2, 5))}, present, target=np.array([0, 1]))
        >>> batch.hide(["audio"]).present["audio"].tolist()
        [False, False]
    """

    inputs: Mapping[str, Array]
    present: Mapping[str, Array]
    target: Array
    weight: Array | None = None
    mixed: Mixed | None = None
    view: Mapping[str, Array] | None = None

    def hide(self, modalities: Collection[str]) -> "Batch":
        """The same rows with some modalities absent from all of them.

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
        prediction: [batch, out_dim], the logits of classes or labels, or numbers.
        tokens: {modality: Tokens} as passed to the fusion.
        branches: {modality: [batch, out_dim]}, for fusions with a readout per modality.
        aux: {term: []}, added to the loss by the objective.
        fused: [batch, features], the joint representation, for fusions that have one.
        joint: [batch, out_dim], what a readout of all modalities together says beside the branches,
            for fusions in which it has a loss of its own.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.types import Outputs
        >>> logits = {"audio": jnp.zeros((2, 3)), "image": jnp.ones((2, 3))}
        >>> outputs = Outputs(sum(logits.values()), branches=logits)
        >>> outputs.prediction.shape, outputs.fused
        ((2, 3), None)
    """

    prediction: jax.Array
    tokens: Mapping[str, Tokens] = {}
    branches: Mapping[str, jax.Array] = {}
    aux: Mapping[str, jax.Array] = {}
    fused: jax.Array | None = None
    joint: jax.Array | None = None


class Skipped(NamedTuple):
    """Number of steps skipped because their loss or gradient was not finite.

    Attributes:
        total: [] since the start.
        in_row: [] since the last finite one.
    """

    total: Array | np.int32 = np.int32(0)
    in_row: Array | np.int32 = np.int32(0)


class TrainState(NamedTuple):
    """Everything that a training step changes: only arrays, to vmap over seeds and to checkpoint.

    Attributes:
        step: [] int32, the number of steps taken.
        params: the parameters of the model.
        opt_state: the state of the optimiser.
        key: the JAX key of the run; batch order and dropout follow from (key, step).
        memory: the state of the training method.
        dropout: [] rate that overrides the model's own, or None.
        skipped: number of steps that were skipped.
    """

    step: jax.Array
    params: chex.ArrayTree
    opt_state: optax.OptState
    key: jax.Array
    memory: chex.ArrayTree = ()
    dropout: jax.Array | None = None
    skipped: Skipped = Skipped()


class Coding(Protocol):
    """How a modality that is not an array of numbers becomes one; see ``mmjax.data.codings``.

    Encoders that can read it have the attribute that it names, None by default, which
    ``make_model`` sets to ``known``.

    Attributes:
        encoder: key of the default encoder.
        axis: what the entries of a row are: the axis of a coded array [rows, axis].
        dtype: of coded arrays.
        attribute: of encoders that can read it.
    """

    encoder: ClassVar[str]
    axis: ClassVar[str]
    dtype: ClassVar[Any]
    attribute: ClassVar[str]

    @property
    def known(self) -> Any:
        """What an encoder must know: the value of its ``attribute``."""
        ...

    def fit(self, name: str, given: Any, present: np.ndarray, train: np.ndarray) -> "Coding":
        """The coding with all that it learns from the rows of an input.

        Args:
            name: of the input.
            given: every row, as users have them.
            present: [rows] bool, the rows that have the modality.
            train: [rows] bool, the training rows.
        """
        ...

    def encode(
        self, name: str, given: Any, present: np.ndarray | None = None, ids: Any = None
    ) -> np.ndarray:
        """Codes rows; those that are coded already stay as they are.

        Args:
            name: of the input.
            given: the rows.
            present: [rows] bool; by default every row has the modality.
            ids: the user's names of the rows, if not their indices.
        """
        ...

    def check(self, where: str, values: np.ndarray, present: np.ndarray, ids: Any = None) -> None:
        """Raises DataError unless ``values`` are what ``encode`` may return."""
        ...

    def say(self, row: np.ndarray) -> str:
        """What a coded row says, for people."""
        ...

    def find_scale(self, values: np.ndarray, present: np.ndarray) -> Any:
        """The ``Scale`` of coded rows by which models standardise them, if they do, or None."""
        ...


class Encoder(Protocol):
    """Maps one modality to tokens: ``(x [batch, ...], *, train) -> Tokens``.

    An array, [batch, features] or [batch, length, features], stands for tokens that are all valid.

    An encoder may also take ``mask``, [batch, length] bool or None, where rows differ in length:
    the first frames of a row are valid, the others zeros. Without it, it reads the zeros as they
    are.
    """

    def __call__(self, x: jax.Array, *, train: bool) -> Tokens | jax.Array: ...


class Fusion(Protocol):
    """Maps ``{modality: Tokens}`` to ``[batch, out_dim]``, or to Outputs to return more."""

    out_dim: int

    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> jax.Array | Outputs: ...


class Objective(Protocol):
    """Maps outputs to a loss: ``(outputs, batch) -> (loss [], {metric: []})``."""

    def __call__(
        self, outputs: Outputs, batch: Batch
    ) -> tuple[jax.Array, Mapping[str, jax.Array]]: ...


Removable = Mapping[str, Mapping[str, Any]]
"""Components that an ablation can remove from a member: {component: {field: value without it}}."""

Tried = Mapping[str, tuple[Any, ...]]
"""Values that a search tries: {field: values}."""

Augmentation = Callable[[jax.Array, jax.Array], jax.Array]
"""``(key, x [batch, ...]) -> x``, of one modality in training; each row varies by itself."""

Trade = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""As ``Metric.trade``."""


@dataclass(frozen=True, repr=False)
class Metric:
    """A score of predictions, by which models are selected and compared.

    Attributes:
        name: in rows and on the command line.
        label: in tables and figures.
        kinds: of targets that it scores.
        score: ``(prediction [rows, out_dim], target) -> float``; predictions are logits, or numbers
            in their own units.
        contributions: ``(prediction, target, group [rows]) -> [rows]``, whose mean is the score,
            and whose spread over rows, or groups, tells how uncertain it is: for a score that is no
            mean over rows, its value plus the influence of each row (Hampel, JASA 69, 1974).
        trade: ``(decisions, other decisions, target) -> two arrays [rows]``, the contributions of
            the rows to the difference between two models, equal where both decide alike. None for a
            metric that depends on more than decisions: differences of ``contributions`` serve.
        lower_is_better: whether the best value is the lowest.
        percent: whether values are shown in %.
        limits: the lowest and highest possible value.
        about: a sentence, and the reference.

    Example:
        >>> from mmjax.metrics import METRICS
        >>> logits, target = np.array([[2.0, 0.0], [1.0, 0.0]]), np.array([0, 1])
        >>> METRICS["accuracy"].score(logits, target)
        0.5
        >>> METRICS["accuracy"].contributions(logits, target, np.arange(2)).tolist()
        [1.0, 0.0]
    """

    name: str
    label: str
    kinds: tuple[str, ...]
    score: Callable[[np.ndarray, np.ndarray], float]
    contributions: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    trade: Trade | None = None
    lower_is_better: bool = False
    percent: bool = True
    limits: tuple[float, float] = (0.0, 1.0)
    about: str = ""

    def __repr__(self) -> str:
        return f"Metric({self.name!r})"

    @property
    def sign(self) -> int:
        """1, or -1 if lower is better: ``sign * score`` is higher for better models."""
        return -1 if self.lower_is_better else 1

    @property
    def title(self) -> str:
        """The label at the beginning of a sentence."""
        return self.label[:1].upper() + self.label[1:]

    @property
    def factor(self) -> int:
        """What values are multiplied by when they are shown."""
        return 100 if self.percent else 1

    @property
    def axis(self) -> str:
        """The label of an axis with its values."""
        better = " (lower is better)" if self.lower_is_better else ""
        return f"{self.label} in %{better}" if self.percent else f"{self.label}{better}"

    @property
    def head(self) -> str:
        """The heading of a column with its values."""
        return f"{self.label} %" if self.percent else self.label

    @property
    def unit(self) -> str:
        """What differences are measured in."""
        return f"points of {self.label}" if self.percent else self.label

    def format(self, value: float, digits: int = 2) -> str:
        """A value as text: in % without the sign, or with two digits more.

        Example:
            >>> from mmjax.metrics import METRICS
            >>> METRICS["accuracy"].format(0.51234), METRICS["rmse"].format(0.51234)
            ('51.23', '0.5123')
        """
        return f"{100 * value:.{digits}f}" if self.percent else f"{value:.{digits + 2}f}"

    def format_gain(self, value: float) -> str:
        """A difference as text, with its sign."""
        return f"{100 * value:+.1f}" if self.percent else f"{value:+.3g}"

    def amount(self, value: float, split: str = "") -> str:
        """The size of a difference with its unit.

        Example:
            >>> from mmjax.metrics import METRICS
            >>> METRICS["accuracy"].amount(0.05, "test"), METRICS["rmse"].amount(0.051234, "test")
            ('5.0 points of test accuracy', '0.0512 in test RMSE')
        """
        size = self.format_gain(value).lstrip("+")
        if not split:
            return f"{size} points" if self.percent else size
        return f"{size} {'points of' if self.percent else 'in'} {split} {self.label}"

    def show(self, value: float) -> str:
        """A value as text with its unit."""
        return self.format(value) + (" %" if self.percent else "")

    def tell(self, value: float) -> str:
        """A value as words: "95.10 % accuracy", "log loss 0.0512"."""
        words = self.show(value), self.label
        return " ".join(words if self.percent else words[::-1])


Forward = Callable[[chex.ArrayTree, Batch, jax.Array], Outputs]
"""``(params, batch, key) -> Outputs``, in training mode."""

Gradient = Callable[
    [chex.ArrayTree, chex.ArrayTree, Batch, jax.Array],
    tuple[chex.ArrayTree, chex.ArrayTree, Mapping[str, jax.Array]],
]
"""``(params, memory, batch, key) -> (gradient of params, memory, {metric: []})``, "loss" first."""


class Prepared(NamedTuple):
    """What preliminary runs of a method hand over to the actual run.

    Attributes:
        params: {submodule: parameters [seeds, ...]} to start from instead of fresh ones.
        memory: [seeds, ...] in place of the result of ``Method.init``, or None.
    """

    params: Mapping[str, chex.ArrayTree] = {}
    memory: chex.ArrayTree | None = None


class Trained(Protocol):
    """What a preliminary run returns; ``mmjax.training.fit.Fit`` is one."""

    @property
    def recipe(self) -> Any:
        """The recipe that was trained."""
        ...

    @property
    def params(self) -> Any:
        """The best parameters on validation, [seeds, ...]."""
        ...

    @property
    def start(self) -> Any:
        """The fresh parameters of the recipe's seeds, [seeds, ...]."""
        ...

    @property
    def predict(self) -> Callable[[chex.ArrayTree, Batch], np.ndarray]:
        """``(params, rows) -> predictions [seeds, rows, out_dim]``."""
        ...

    @property
    def view(self) -> Callable[[chex.ArrayTree, Batch], Any]:
        """``(params, rows) -> View``, see ``mmjax.training.predict``."""
        ...


class FitLoop(Protocol):
    """Trains a ``Recipe`` on a ``Task``; both are types of packages that build on this one."""

    def __call__(self, recipe: Any, task: Any) -> Trained: ...


class Method(Protocol):
    """A training method: how it differs from joint training.

    Subclasses override only what differs from joint training with the given optimiser.

    Attributes:
        counts_steps: whether its memory counts gradient calls as steps, in which case a batch
            cannot be split into micro-batches.
        removable: components that an ablation can remove.
        tried: {field: values that a search tries}, those of the paper where it names some.
    """

    counts_steps: ClassVar[bool] = False
    removable: ClassVar[Removable] = {}
    tried: ClassVar[Tried] = {}

    def num_runs(self, num_modalities: int) -> int:
        """Number of preliminary runs, each as long as the actual run."""
        return 0

    def prepare(self, fit: FitLoop, recipe: Any, task: Any) -> Prepared:
        """Makes the preliminary runs; ``fit(recipe, task)`` is one.

        Args:
            fit: runs a variant of the recipe.
            recipe: the recipe that uses this method.
            task: the data; the test split must not be used.
        """
        return Prepared()

    def init(self, forward: Forward, params: chex.ArrayTree, rows: Batch) -> chex.ArrayTree:
        """The memory before the first step; only the shapes of the rows matter."""
        return ()

    def transform(self, tx: optax.GradientTransformation) -> optax.GradientTransformation:
        """The optimiser to use in place of ``tx``."""
        return tx

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """Builds the gradient function from the model and the objective."""
        ...
