"""Dynamically learned modality gap: how much to match modalities, and how much to fit labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import optax

from mmjax.errors import UsageError
from mmjax.objectives.contrastive import mismatch
from mmjax.types import Batch, Forward, Gradient, Method, Objective, Removable, Tokens, Tried

_LEAST, _MOST = 0.05, 0.95  # the bounds of alpha in the authors' code


@dataclass(frozen=True)
class LFM(Method):
    r"""Mixes the loss with a contrastive one that needs no labels; the share of each is learned.

    The loss is :math:`(1 - \alpha) \text{loss} + \alpha C`, with :math:`C` the InfoNCE between the
    modalities of a row, as in the objective ``info_nce``: fitting labels drives modalities apart
    that differ in how hard it is for them, matching them does not. :math:`\alpha` is the upper
    level of an optimisation on two levels, and follows the gradient of the loss after a step: with
    :math:`g` and :math:`c` the gradients of ``loss`` and :math:`C` in the step before, whose update
    was :math:`-\text{lr} ((1 - \alpha) g + \alpha c)`, and :math:`h` that of the loss now, on new
    rows, :math:`d \text{loss} / d \alpha = -\text{lr}\, h \cdot (c - g)`, thus :math:`\alpha \gets
    \alpha + \text{rate} \cos(h, c - g)`, from 0.05 to 0.95. With one modality this is joint
    training.

    The cosine makes the rate independent of the optimiser and of the scales of both losses. Later
    training rows stand in for the validation rows of a published reimplementation. Where tokens
    differ in width, narrower ones are filled up with zeros; all of the paper's are equally wide.

    Reference: Yang et al., Facilitating Multimodal Classification via Dynamically Learning Modality
    Gap (NeurIPS 2024).

    Attributes:
        start: first :math:`\alpha`; where the paper's heuristic alternative
            :math:`1 - \exp(-1 / t)` starts.
        rate: the step size of :math:`\alpha`; 0 keeps it.
        temperature: of the contrastive loss.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.methods.lfm import cosine
        >>> loss, ahead = {"a": jnp.array([1.0, 0.0])}, {"a": jnp.array([1.0, 1.0])}
        >>> round(cosine(loss, ahead).item(), 2)  # matching helped to lower the loss
        0.71
    """

    counts_steps: ClassVar[bool] = True
    removable: ClassVar[Removable] = {"learned_share": {"rate": 0.0}}
    tried: ClassVar[Tried] = {"start": (0.3, 0.63, 0.9), "rate": (0.001, 0.01)}
    start: float = 0.63
    rate: float = 0.01
    temperature: float = 0.07

    def __post_init__(self) -> None:
        if not _LEAST <= self.start <= _MOST:
            expected = f"a share from {_LEAST} to {_MOST}"
            raise UsageError("start", expected=expected, got=str(self.start))

    def init(self, forward: Forward, params: chex.ArrayTree, rows: Batch) -> chex.ArrayTree:
        r""":math:`\alpha`, and by how much :math:`c` differed from :math:`g` in the step before."""
        ahead = jax.tree.map(jnp.zeros_like, params)
        return {"alpha": jnp.float32(self.start), "ahead": ahead}

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of the mixture; "loss" is the objective alone."""

        def losses(params, batch, key):
            outputs = forward(params, batch, key)
            value, metrics = objective(outputs, batch)
            single = len(outputs.tokens) < 2
            contrast = value if single else mismatch(_widen(outputs.tokens), self.temperature)
            return (value, contrast), metrics

        def gradient(params, memory, batch, key):
            of = lambda params: losses(params, batch, key)
            (value, contrast), pull_back, metrics = jax.vjp(of, params, has_aux=True)
            one, zero = jnp.ones_like(value), jnp.zeros_like(value)
            (fit,), (match,) = pull_back((one, zero)), pull_back((zero, one))
            alpha = memory["alpha"] + self.rate * cosine(fit, memory["ahead"])
            alpha = jnp.clip(alpha, _LEAST, _MOST)
            grads = jax.tree.map(lambda f, m: (1 - alpha) * f + alpha * m, fit, match)
            memory = {"alpha": alpha, "ahead": jax.tree.map(jnp.subtract, match, fit)}
            return grads, memory, {"loss": value, **metrics, "contrast": contrast, "alpha": alpha}

        return gradient


def _widen(tokens: Mapping[str, Tokens]) -> dict[str, Tokens]:
    widest = max(each.values.shape[-1] for each in tokens.values())
    fill = lambda x: jnp.pad(x, ((0, 0), (0, 0), (0, widest - x.shape[-1])))
    return {name: each._replace(values=fill(each.values)) for name, each in tokens.items()}


def cosine(a: chex.ArrayTree, b: chex.ArrayTree) -> jax.Array:
    """The cosine of two trees, taken as vectors; zero if either is zero: []."""
    lengths = optax.tree.norm(a) * optax.tree.norm(b)
    return optax.tree.vdot(a, b) / jnp.maximum(lengths, 1e-12)
