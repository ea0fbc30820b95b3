"""One member of each table, in a package of its own; pyproject.toml makes mmjax find them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import make_moons

from mmjax.data.task import Split, Task
from mmjax.fusion.building_blocks import project, read_out
from mmjax.layers import all_valid, as_sequence
from mmjax.types import Batch, Method, Outputs, Tokens


class SquaredSumFusion(nn.Module):
    """Squares the sum of the modalities' projections, so that they multiply pairwise.

    Reference: Livni et al., On the Computational Efficiency of Training Neural Networks
    (arXiv:1410.1141).

    Attributes:
        out_dim: size of the output.
        width: size of the space in which modalities are added.
        dropout: probability of zeroing a unit in training.
    """

    level: ClassVar[str] = "feature"
    out_dim: int
    width: int = 64
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> Outputs:
        """Fuses ``{name: [batch, length, features]}`` into ``[batch, out_dim]``."""
        return read_out(self, jnp.square(project(tokens, self.width).sum(axis=1)), train=train)


class Moments(nn.Module):
    """Mean and standard deviation over a sequence, as one token.

    Reference: Snyder et al., X-Vectors (ICASSP 2018), statistics pooling.

    Attributes:
        features: size of the token.
    """

    features: int = 16

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Tokens:
        """Maps [batch, ...] to one token [batch, 1, features]."""
        x = as_sequence(x)
        deviation = jnp.sqrt(x.var(axis=1) + 1e-6)
        moments = jnp.concatenate([x.mean(axis=1), deviation], axis=-1)
        return all_valid(nn.Dense(self.features)(moments)[:, None])


def hinge(outputs: Outputs, batch: Batch) -> tuple[jax.Array, Mapping[str, jax.Array]]:
    """Multi-class hinge loss.

    Reference: Crammer and Singer, On the Algorithmic Implementation of Multiclass Kernel-based
    Vector Machines (JMLR 2001).
    """
    loss = optax.losses.multiclass_hinge_loss(outputs.prediction, batch.target).mean()
    accuracy = (outputs.prediction.argmax(axis=-1) == batch.target).mean()
    return loss + sum(outputs.aux.values()), {"accuracy": accuracy}


@dataclass(frozen=True)
class GradientNoise(Method):
    """Joint training with normal noise on every gradient.

    Reference: Neelakantan et al., Adding Gradient Noise Improves Learning (arXiv:1511.06807).

    Attributes:
        scale: standard deviation of the noise.
    """

    scale: float = 0.01

    def gradient(self, forward, objective):
        """The gradient of the objective, plus noise."""

        def loss(params, batch, key):
            return objective(forward(params, batch, key), batch)

        def gradient(params, memory, batch, key):
            (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(params, batch, key)
            noise = optax.tree.random_like(jax.random.fold_in(key, 1), grads, jax.random.normal)
            grads = jax.tree.map(lambda g, n: g + self.scale * n, grads, noise)
            return grads, memory, {"loss": value, **metrics}

        return gradient


@dataclass(frozen=True)
class Gain:
    """Multiplies each row by a random factor.

    Reference: Um et al., Data Augmentation of Wearable Sensor Data (arXiv:1706.00527), scaling.

    Attributes:
        deviation: standard deviation of the factors about 1.
    """

    deviation: float = 0.1

    def __call__(self, key, x):
        """Scales the rows of [batch, ...]."""
        draw = jax.random.normal(key, (len(x), *[1] * (x.ndim - 1)))
        return x * (1 + self.deviation * draw)


def moons(data=None, *, size: int = 300) -> Task:
    """Two half circles; the horizontal and the vertical coordinate are one modality each.

    Reference: Pedregosa et al., Scikit-learn (JMLR 2011), make_moons.
    """
    splits = {}
    for seed, role in enumerate(("train", "valid", "test")):
        points, target = make_moons(size, noise=0.1, random_state=seed)
        points = points.astype(np.float32)
        inputs = {"horizontal": points[:, :1], "vertical": points[:, 1:]}
        splits[role] = Split(inputs, target, group=np.arange(size))
    return Task("moons", out_dim=2, **splits)
