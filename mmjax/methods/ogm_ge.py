"""On-the-fly gradient modulation: the encoder that is ahead learns more slowly."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import optax

from mmjax.methods.mechanics import (
    discrepancy_ratios,
    map_encoders,
    modality_logits,
    objective_gradient,
    scale_encoders,
)
from mmjax.types import Forward, Gradient, Method, Objective, Removable, Tried


@dataclass(frozen=True)
class OGMGE(Method):
    r"""Shrinks the gradient of the encoder that is ahead, and adds noise to those of all encoders.

    :math:`\rho_m = s_m / \text{mean}_{j \ne m} s_j`, with :math:`s_m` the mean probability of the
    target under the logits of modality :math:`m`; :math:`k_m = 1 - \tanh(\alpha \rho_m)` where
    :math:`\rho_m > 1`, otherwise 1. The gradient :math:`g` of encoder :math:`m` becomes
    :math:`k_m g + \text{noise}`, with Gaussian noise of the standard deviation of :math:`g`, array
    by array, in steps in which any :math:`k` is below 1: with exactly balanced modalities, or only
    one, this is joint training. The paper has two modalities; with more, the ratio is to the mean
    of the others. Logits are a fusion's branches, or its predictions from one modality alone.

    Both encoders get noise as in the authors' code; ``noise_all=False`` leaves it to those that are
    slowed, where it makes up for what the factor takes away. Their code scales and perturbs the
    kernels of two-dimensional convolutions only, nothing else of an encoder; here it is all of its
    arrays, since many encoders have no such kernel.

    The paper uses SGD. Adam cancels a constant factor, but not one that changes.

    Reference: Peng et al., Balanced Multimodal Learning via On-the-fly Gradient Modulation
    (arXiv:2203.15332).

    Attributes:
        alpha: how strongly the ratio slows down an encoder.
        noise: standard deviation of the noise relative to that of the gradient; 0 is OGM without
            GE.
        noise_all: whether all encoders get noise, or those only that are slowed.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.methods.mechanics import discrepancy_ratios
        >>> from mmjax.types import Batch
        >>> logits = {"audio": jnp.array([[2.0, 0.0]]), "image": jnp.array([[0.0, 0.0]])}
        >>> batch = Batch({}, dict.fromkeys(logits, jnp.array([True])), target=jnp.array([0]))
        >>> ratios = discrepancy_ratios(logits, batch)
        >>> {name: round(ratio.item(), 2) for name, ratio in ratios.items()}  # audio slows down
        {'audio': 1.76, 'image': 0.57}
    """

    removable: ClassVar[Removable] = {"noise": {"noise": 0.0}}
    tried: ClassVar[Tried] = {"alpha": (0.1, 0.3, 0.5, 0.8)}
    alpha: float = 0.3
    noise: float = 1.0
    noise_all: bool = True

    def gradient(self, forward: Forward, objective: Objective) -> Gradient:
        """The gradient of the objective, modulated; metrics include the factor of each modality."""
        joint = objective_gradient(forward, objective)

        def gradient(params, memory, batch, key):
            grads, metrics, outputs = joint(params, batch, key)
            logits = modality_logits(forward, params, batch, key, outputs)
            ratios = discrepancy_ratios(logits, batch)
            slow = lambda ratio: jnp.where(ratio > 1, 1 - jnp.tanh(self.alpha * ratio), 1.0)
            factors = {name: slow(ratio) for name, ratio in ratios.items()}
            # Dropout keeps its key, so that with balanced modalities this equals joint training.
            grads = self._add_noise(grads, factors, jax.random.fold_in(key, 0))
            metrics |= {f"factor_{name}": factor for name, factor in factors.items()}
            return grads, memory, metrics

        return gradient

    def _add_noise(
        self, grads: chex.ArrayTree, factors: Mapping[str, jax.Array], key: jax.Array
    ) -> chex.ArrayTree:
        draws = optax.tree.random_like(key, grads, jax.random.normal)
        noisy = {name: factor < 1 for name, factor in factors.items()}
        if self.noise_all:
            noisy = dict.fromkeys(noisy, jnp.stack(list(noisy.values())).any())

        def add(name, scaled, grad, draw):
            size = self.noise * noisy[name]
            return jax.tree.map(lambda s, g, d: s + size * g.std() * d, scaled, grad, draw)

        return map_encoders(add, scale_encoders(grads, factors), grads, draws)
