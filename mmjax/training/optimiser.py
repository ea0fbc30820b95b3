"""The optimiser, whose hyperparameters may differ between the seeds of a program."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import jax
import numpy as np
import optax

from mmjax.errors import UsageError
from mmjax.methods.mechanics import scale_encoders

T = TypeVar("T")

_LARGE = 2**14  # entries of an array that takes longer to copy, over a training, than to compile

_SMALLEST, _LARGEST = (float(x) for x in (np.finfo(np.float32).tiny, np.finfo(np.float32).max))


@dataclass(frozen=True)
class Adam:
    """AdamW on clipped gradients, with a linear warm-up and a cosine decay to zero.

    Learning rate and weight decay are one number, or one per seed.

    Reference: Kingma and Ba, Adam (arXiv:1412.6980); Loshchilov and Hutter, SGDR
    (arXiv:1608.03983) and Decoupled Weight Decay Regularization (arXiv:1711.05101).

    Attributes:
        learning_rate: peak, at the end of the warm-up.
        weight_decay: decoupled, multiplied by the learning rate; with 0 this is Adam.
        warmup: fraction of the steps over which the learning rate rises from zero.
        clip: largest global norm of the gradient.

    Example:
        >>> tx, params = Adam(warmup=0.5).build(steps=10), {"kernel": np.zeros(2, np.float32)}
        >>> updates, _ = tx.update({"kernel": np.ones(2, np.float32)}, tx.init(params), params)
        >>> bool((updates["kernel"] == 0).all())  # the warm-up starts at zero
        True
    """

    learning_rate: float | tuple[float, ...] = 3e-3
    weight_decay: float | tuple[float, ...] = 0.0
    warmup: float = 0.1
    clip: float = 1.0

    def __post_init__(self) -> None:
        if not all(_SMALLEST <= rate <= _LARGEST for rate in per_seed(self.learning_rate)):
            expected, got = "a positive float32 number", str(self.learning_rate)
            raise UsageError("learning_rate", expected=expected, got=got)
        if not all(0 <= decay <= _LARGEST for decay in per_seed(self.weight_decay)):
            expected, got = "a non-negative float32 number", str(self.weight_decay)
            raise UsageError("weight_decay", expected=expected, got=got)
        if not 0 <= self.warmup <= 1:
            expected = "a fraction of the steps, from 0 to 1"
            raise UsageError("warmup", expected=expected, got=str(self.warmup))
        if not self.clip > 0:
            raise UsageError("clip", expected="a positive number", got=str(self.clip))

    @property
    def numbers(self) -> tuple[float | tuple[float, ...], ...]:
        """The hyperparameters that may differ by seed."""
        return self.learning_rate, self.weight_decay

    @property
    def alike(self) -> "Adam":
        """With 1 for each hyperparameter of a seed: optimisers that are alike make one program."""
        ones = [(1.0,) * len(x) if isinstance(x, tuple) else x for x in self.numbers]
        return replace(self, learning_rate=ones[0], weight_decay=ones[1])

    def build(
        self, steps: int, own: Sequence[float | jax.Array] = ()
    ) -> optax.GradientTransformation:
        """The optimiser for a run of ``steps`` steps, and of a seed with its ``own`` numbers.

        Seeds differ only in their initial state: one optimiser updates all of them.
        """
        warmup_steps = min(math.ceil(self.warmup * steps), steps - 1)

        def adamw(rate, decay):
            rise = optax.linear_schedule(0.0, rate, warmup_steps)
            fall = optax.cosine_decay_schedule(rate, steps - warmup_steps)
            schedule = optax.join_schedules([rise, fall], [warmup_steps])
            return optax.adamw(schedule, weight_decay=decay)

        numbers: Sequence[Any] = [per_seed(number)[0] for number in self.numbers]
        if any(isinstance(number, tuple) for number in self.numbers):
            adamw = optax.inject_hyperparams(adamw)  # one program, whatever their values
            numbers = own or numbers
        return optax.chain(optax.clip_by_global_norm(self.clip), adamw(*numbers))


@dataclass(frozen=True)
class Optax:
    """An Optax optimiser of your own, used as it is: its gradients are not clipped.

    Attributes:
        tx: the optimiser.
    """

    tx: optax.GradientTransformation

    @property
    def numbers(self) -> tuple[()]:
        """None of its hyperparameters differs by seed."""
        return ()

    @property
    def alike(self) -> "Optax":
        """Itself."""
        return self

    def build(
        self, steps: int, own: Sequence[float | jax.Array] = ()
    ) -> optax.GradientTransformation:
        """The optimiser, the same for all seeds."""
        return self.tx


OptimiserLike: TypeAlias = (
    optax.GradientTransformation | Callable[[int], optax.GradientTransformation]
)
"""An Optax optimiser, or a function that makes one for a number of steps."""


def make_optimiser(optimiser: OptimiserLike, steps: int) -> Optax:
    """An optimiser of your own for a run of ``steps`` steps.

    Raises:
        UsageError: it is none.

    Example:
        >>> make = lambda steps: optax.sgd(optax.cosine_decay_schedule(0.1, steps))
        >>> isinstance(make_optimiser(make, steps=100), Optax)
        True
    """
    if callable(optimiser) and "learning_rate" in [*inspect.signature(optimiser).parameters][:1]:
        fix = "Call it: it would take the number of steps for its learning rate."
        expected = "an Optax optimiser, such as optax.adamw(1e-3)"
        raise UsageError("optimizer", expected=expected, got=f"{optimiser!r:.80}", fix=fix)
    made = optimiser(steps) if callable(optimiser) else optimiser
    if not isinstance(made, optax.GradientTransformation):
        expected = "an Optax optimiser, such as optax.adamw(1e-3), or a function of the steps"
        got = f"{made!r:.80} from {optimiser!r:.80}" if callable(optimiser) else f"{made!r:.80}"
        raise UsageError("optimizer", expected=expected, got=got)
    return Optax(made)


def as_vector(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same optimiser, on one vector if the parameters are many small arrays.

    It must treat all entries alike. A few operations on each of many arrays take longer to compile
    than a few on one vector, which has to be copied together instead: large arrays are left alone.
    """
    joined = optax.flatten(tx)

    def suited(arrays):
        sizes = [leaf.size for leaf in jax.tree.leaves(arrays)]
        return joined if sum(sizes) < _LARGE * len(sizes) else tx

    return optax.GradientTransformation(
        lambda params: suited(params).init(params),
        lambda grads, state, params: suited(grads).update(grads, state, params),
    )


def slow_down(
    tx: optax.GradientTransformation, factors: Mapping[str, float]
) -> optax.GradientTransformation:
    """The same optimiser with the learning rate of each modality's encoder times its factor.

    The updates are scaled, weight decay included, and not the gradients, whose scale Adam undoes.
    """

    def update(grads, state, params=None):
        updates, state = tx.update(grads, state, params)
        return scale_encoders(updates, factors), state

    return optax.GradientTransformation(tx.init, update)


def per_seed(value: T | tuple[T, ...]) -> tuple[T, ...]:
    """The values to cycle through over the seeds: one for all, or one per seed.

    Example:
        >>> per_seed(0.1), per_seed((0.1, 0.2))
        ((0.1,), (0.1, 0.2))
    """
    return value if isinstance(value, tuple) else (value,)
