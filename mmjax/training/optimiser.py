"""The optimiser, whose numbers may differ between the seeds of a program."""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import optax

from mmjax.errors import UsageError

T = TypeVar("T")

_SMALLEST, _LARGEST = (float(x) for x in (np.finfo(np.float32).tiny, np.finfo(np.float32).max))


@dataclass(frozen=True)
class Adam:
    """AdamW on clipped gradients, with a linear warm-up and a cosine decay to zero.

    Learning rate and weight decay are one number, or one for each seed in turn.

    Reference: Kingma and Ba, Adam (arXiv:1412.6980); Loshchilov and Hutter, SGDR
    (arXiv:1608.03983) and Decoupled Weight Decay Regularization (arXiv:1711.05101).

    Attributes:
        learning_rate: at the end of the warm-up.
        weight_decay: in units of the learning rate; with 0 it is Adam.
        warmup: fraction of the steps over which the rate rises from zero.
        clip: largest global norm of a gradient.
    """

    learning_rate: float | tuple[float, ...] = 3e-3
    weight_decay: float | tuple[float, ...] = 0.0
    warmup: float = 0.1
    clip: float = 1.0

    def __post_init__(self) -> None:
        if not all(_SMALLEST <= rate <= _LARGEST for rate in per_seed(self.learning_rate)):
            expected, got = "a positive number that float32 holds", str(self.learning_rate)
            raise UsageError("learning_rate", expected=expected, got=got)
        if not all(0 <= decay <= _LARGEST for decay in per_seed(self.weight_decay)):
            expected, got = "no negative number, but one that float32 holds", str(self.weight_decay)
            raise UsageError("weight_decay", expected=expected, got=got)

    def build(self, steps: int, lane: int = 0) -> optax.GradientTransformation:
        """The optimiser for a run of so many steps; ``lane`` is the place among the seeds.

        Lanes differ in their initial state alone: one optimiser updates all of them.
        """
        warmup_steps = min(math.ceil(self.warmup * steps), steps - 1)

        def adamw(rate, decay):
            rise = optax.linear_schedule(0.0, rate, warmup_steps)
            fall = optax.cosine_decay_schedule(rate, steps - warmup_steps)
            schedule = optax.join_schedules([rise, fall], [warmup_steps])
            return optax.adamw(schedule, weight_decay=decay)

        rates, decays = per_seed(self.learning_rate), per_seed(self.weight_decay)
        if isinstance(self.learning_rate, tuple) or isinstance(self.weight_decay, tuple):
            adamw = optax.inject_hyperparams(adamw)  # one program, whatever the numbers
        optimiser = adamw(rates[lane % len(rates)], decays[lane % len(decays)])
        return optax.chain(optax.clip_by_global_norm(self.clip), optimiser)


def per_seed(value: T | tuple[T, ...]) -> tuple[T, ...]:
    """A number for all seeds, or one for each in turn, as those that take turns."""
    return value if isinstance(value, tuple) else (value,)
