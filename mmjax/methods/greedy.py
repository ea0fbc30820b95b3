"""Balanced learning for greedy models: extra steps on the modality that is underused."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp

from mmjax.methods.mechanics import loss_where, mean_of_others, outline, take_turns
from mmjax.types import Batch, Forward, Gradient, Method, Objective, Tried

_LEAST = 1e-12


@dataclass(frozen=True)
class Greedy(Method):
    r"""Trains jointly, interrupted by steps on a single modality whenever it is underused.

    :math:`s_m = \log_{10} (\sum_t \text{speed of the parameters around } m / \sum_t \text{speed of
    those of } m)` with :math:`\text{speed} = |\text{gradient}|^2 / |\text{parameters}|^2`: where it
    is high, the model learns faster from the other modalities than from :math:`m`. When the highest
    :math:`s_m` exceeds the mean of the others by more than ``threshold``, in the next ``window``
    steps only that modality is present; then speeds accumulate again. With one modality this is
    joint training.

    The paper defines this for two identical encoders joined by MMTM blocks, with a threshold of
    0.01. Here, for any fusion, the parameters of :math:`m` are its encoder and those in the fusion
    that carry its name, and the parameters around it are the rest of the fusion. On ``mmtm`` that
    follows the paper only roughly, as its streams are in the fusion: among 60 models at random
    initial parameters, the paper's speeds picked the same modality for 48. Where the paper replaces
    the input from the other modality by its average, here the others are absent. Rows without the
    modality do not count in such a step, and its loss is the cross-entropy.

    Reference: Wu et al., Characterizing and Overcoming the Greedy Nature of Learning in Multi-modal
    Deep Neural Networks (arXiv:2202.05306).

    Attributes:
        threshold: excess of :math:`s` above which steps are rebalanced.
        window: number of rebalancing steps in a row.
        warmup: number of steps before the first rebalancing.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.methods.greedy import speeds
        >>> params = {"fusion": {"readout": jnp.ones(2)}}
        >>> params |= {"encoders_audio": jnp.ones(2), "encoders_image": jnp.ones(2)}
        >>> grads = {**params, "encoders_audio": jnp.full(2, 3.0)}
        >>> around, own = speeds(grads, params, ["audio", "image"])
        >>> own.tolist()  # audio learns faster, so image is underused
        [9.0, 1.0]
    """

    counts_steps: ClassVar[bool] = True
    tried: ClassVar[Tried] = {"threshold": (0.01, 0.1, 0.5)}
    threshold: float = 0.1
    window: int = 5
    warmup: int = 20

    def init(self, forward: Forward, params: chex.ArrayTree, rows: Batch) -> chex.ArrayTree:
        """Accumulated speeds [modality], step, remaining rebalancing steps and their modality."""
        zeros = jnp.zeros(len(outline(forward, params, rows).tokens))
        counters = {name: jnp.int32(0) for name in ("step", "left", "turn")}
        return {"around": zeros, "own": zeros, **counters}

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of the objective, or of the loss of one modality."""

        def loss(params, memory, names, batch, key):
            joint = memory["left"] == 0
            turn = lambda index: joint | (memory["turn"] == index)
            batch, here = take_turns(batch, names, turn)
            outputs = forward(params, batch, key)
            value, metrics = objective(outputs, batch)
            value = jnp.where(joint, value, loss_where(here, outputs.prediction, batch))
            return value, {**metrics, "joint": joint.astype(value.dtype)}

        def gradient(params, memory, batch, key):
            names = sorted(outline(forward, params, batch).tokens)
            of = lambda params: loss(params, memory, names, batch, key)
            (value, metrics), grads = jax.value_and_grad(of, has_aux=True)(params)
            memory = self._watch(memory, *speeds(grads, params, names))
            return grads, memory, {"loss": value, **metrics}

        return gradient

    def _watch(self, memory, around, own):
        joint, step = memory["left"] == 0, memory["step"] + 1
        around = memory["around"] + joint * around
        own = memory["own"] + joint * own
        slow = jnp.log10((around + _LEAST) / (own + _LEAST))
        others, comparable = mean_of_others(slow, jnp.ones(slow.shape, bool))
        lead = jnp.where(comparable, slow - others, 0)
        biased = joint & (lead.max() > self.threshold) & (step >= self.warmup)
        left = jnp.where(biased, self.window, jnp.maximum(memory["left"] - 1, 0))
        turn = jnp.where(biased, lead.argmax(), memory["turn"]).astype(jnp.int32)
        return {"around": around, "own": own, "step": step, "left": left, "turn": turn}


def speeds(
    grads: chex.ArrayTree, params: chex.ArrayTree, names: Sequence[str]
) -> tuple[jax.Array, jax.Array]:
    """Squared gradient norm over squared parameter norm, around and of each: [modality] each."""
    each = [_shares(name, names, grads, params) for name in names]
    around, own = zip(*each, strict=True)
    return jnp.stack(around), jnp.stack(own)


def _shares(name, names, grads, params):
    around: list[tuple[jax.Array, jax.Array]] = []
    own: list[tuple[jax.Array, jax.Array]] = []
    # Longest first: a name may contain another, shorter one.
    any_name = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    paths = jax.tree.leaves_with_path({"fusion": params["fusion"]})
    gradients = jax.tree.leaves(grads["fusion"])
    for (keys, leaf), grad in zip(paths, gradients, strict=True):
        path = jax.tree_util.keystr(keys, simple=True, separator="/")
        carries = name in re.findall(rf"(?<![^/_])(?:{any_name})(?![^/_])", path)
        (own if carries else around).append((grad, leaf))
    encoder = [jax.tree.leaves(tree.get(f"encoders_{name}", {})) for tree in (grads, params)]
    own += zip(*encoder, strict=True)
    return _speed(around), _speed(own)


def _speed(pairs: Iterable[tuple[jax.Array, jax.Array]]) -> jax.Array:
    grads, params = zip(*pairs, strict=True) if pairs else ((), ())
    square = lambda leaves: sum((jnp.square(x).sum() for x in leaves), jnp.float32(0))
    return square(grads) / jnp.maximum(square(params), _LEAST)
