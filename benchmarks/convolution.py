"""Is mmjax's convolution still faster than flax's inside a scanned epoch?

The gradient of XLA's own convolution is tens of times slower on CPU inside ``lax.scan`` than
outside. This trains the same two-stage image network with ``mmjax.layers.convolution.Conv`` and
``max_pool``, and with ``flax.linen.Conv`` and ``max_pool``, from the same parameters, and compares
the time of a scanned epoch, in pairs.

    python benchmarks/convolution.py --out runs/convolution.jsonl

About two minutes on two CPU cores. The last line is the median ratio; below 1 the guard has failed.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from mmjax.comparison.scores import versions
from mmjax.layers.convolution import Conv, max_pool


@dataclass(frozen=True)
class Benchmark:
    """What the command line sets.

    Attributes:
        out: file that a JSON row is appended to.
        batch_size: images per step.
        steps: steps in the scanned epoch.
        rounds: pairs of epochs; the median counts.
        features: output features of the two stages.
    """

    out: Path | None = None
    batch_size: int = 64
    steps: int = 8
    rounds: int = 5
    features: tuple[int, ...] = (16, 32)


class Network(nn.Module):
    """Two stages of 3 x 3 convolution, pooling and ReLU, then a dense layer."""

    conv: Callable[..., nn.Module]
    pool: Callable[[jax.Array], jax.Array]
    features: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [batch, height, width, channels] to [batch, 10]."""
        for index, features in enumerate(self.features):
            x = nn.relu(self.pool(self.conv(features, (3, 3), name=f"conv_{index}")(x)))
        return nn.Dense(10)(x.reshape(len(x), -1))


def make_epoch(network: nn.Module, tx: optax.GradientTransformation) -> Callable:
    """Makes the compiled ``(params, images, labels) -> (params, losses)`` over [steps, batch]."""

    def loss(params, images, labels):
        logits = network.apply(params, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def step(carry, batch):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params, *batch)
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), value

    @jax.jit
    def epoch(params, images, labels):
        (params, _), losses = jax.lax.scan(step, (params, tx.init(params)), (images, labels))
        return params, losses

    return epoch


def main(benchmark: Benchmark) -> dict:
    """Times both, checks that they agree, and returns the row."""
    rng = np.random.default_rng(0)
    shape = (benchmark.steps, benchmark.batch_size)
    images = jnp.asarray(rng.normal(size=(*shape, 28, 28, 1)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 10, shape))
    flax_pool = lambda x: nn.max_pool(x, (2, 2), strides=(2, 2))
    ours = Network(Conv, lambda x: max_pool(x, (2, 2)), benchmark.features)
    theirs = Network(nn.Conv, flax_pool, benchmark.features)
    params = ours.init(jax.random.key(0), images[0])
    epochs = {"mmjax": make_epoch(ours, optax.adam(1e-3))}
    epochs["flax"] = make_epoch(theirs, optax.adam(1e-3))

    losses = {name: epoch(params, images, labels)[1] for name, epoch in epochs.items()}
    np.testing.assert_allclose(losses["mmjax"], losses["flax"], rtol=1e-3)

    seconds = {name: [] for name in epochs}
    for _ in range(benchmark.rounds):
        for name, epoch in epochs.items():
            start = time.perf_counter()
            jax.block_until_ready(epoch(params, images, labels))
            seconds[name].append(time.perf_counter() - start)
    samples = benchmark.steps * benchmark.batch_size
    ratios = [b / a for a, b in zip(seconds["mmjax"], seconds["flax"], strict=True)]
    row = {
        **{k: v for k, v in asdict(benchmark).items() if k != "out"},
        **{f"{name}_samples_per_s": round(samples / median(s)) for name, s in seconds.items()},
        "ratio": round(median(ratios), 2),
        "ratio_min": round(min(ratios), 2),
        "ratio_max": round(max(ratios), 2),
        "versions": versions(),
        "device": jax.devices()[0].device_kind,
    }
    print(json.dumps(row, indent=1))
    print(f"mmjax is {row['ratio']} times as fast as flax (median of {benchmark.rounds} pairs)")
    if benchmark.out:
        with benchmark.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    return row


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
