"""What does a comparison of ten fusions cost behind a frozen encoder?

    python benchmarks/frozen_encoders.py

An encoder that costs about 100 MFLOP a row, a small vision transformer with random weights, reads
pictures; a vector is beside them. Measured, in processor time of this process, are the encoder's
pass over all rows, ten fusions on its features as an array, and ten fusions behind the encoder:
with an empty cache, and with the features in it. Programs are compiled before. Expected: behind the
encoder, less than 1.5 times the sum of the first two; with a full cache, about the second.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import mmjax
from mmjax.comparison.frozen import FrozenEncoders
from mmjax.data.task import Task
from mmjax.encoders import pretrained
from mmjax.registry import CORE

WIDTH, LAYERS, PATCH, SIDE = 256, 4, 8, 32


@dataclass(frozen=True)
class Study:
    """What the command line sets.

    Attributes:
        rows: rows of the task.
        seeds: number of seeds.
        steps: train steps of each fusion.
    """

    rows: int = 6000
    seeds: int = 1
    steps: int = 100


def main(study: Study) -> None:
    """Measures, and prints what each part took."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        task, encoder = make_task(study.rows), pretrained(vision_transformer, make_params())
        image = jnp.ones((1, SIDE, SIDE, 1))
        program = jax.jit(vision_transformer).lower(make_params(), image)
        print(f"{program.cost_analysis()['flops'] / 1e6:.0f} MFLOP a row, {study.rows} rows")
        encode, (encoded, _) = measure(lambda: FrozenEncoders()(task, {"image": encoder}))
        ready = make_ready(encoded)

        def compare(task: Task, image: Any, steps: int) -> mmjax.Result:
            options = {"seeds": study.seeds, "steps": steps, "examine": "scores", "quiet": True}
            return mmjax.compare(task, list(CORE), encoders={"image": image}, **options)

        compare(ready, "raw", 8)
        compare(task, encoder, 8)
        heads, _ = measure(lambda: compare(ready, "raw", study.steps))
        shutil.rmtree(Path(cache, "mmjax", "arrays"))
        cold, _ = measure(lambda: compare(task, encoder, study.steps))
        warm, _ = measure(lambda: compare(task, encoder, study.steps))
    print(f"the encoder's pass {encode:.1f} s, ten fusions on its features {heads:.1f} s")
    print(f"behind the encoder {cold:.1f} s, {cold / (encode + heads):.2f} of the sum of both")
    print(f"with the features in the cache {warm:.1f} s")


def measure(run: Callable[[], Any]) -> tuple[float, Any]:
    """The processor seconds of a call, and its result."""
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def make_params() -> dict[str, Any]:
    """Random weights of ``vision_transformer``."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: (rng.normal(size=shape) / shape[0] ** 0.5).astype(np.float32)
    layer = lambda: {
        "qkv": draw(WIDTH, 3 * WIDTH),
        "out": draw(WIDTH, WIDTH),
        "up": draw(WIDTH, 4 * WIDTH),
        "down": draw(4 * WIDTH, WIDTH),
    }
    return {"embed": draw(PATCH * PATCH, WIDTH), "layers": [layer() for _ in range(LAYERS)]}


def vision_transformer(params: dict[str, Any], images: jax.Array) -> jax.Array:
    """Features [batch, WIDTH] of images [batch, height, width, 1]."""
    batch, height, width, _ = images.shape
    x = images.reshape(batch, height // PATCH, PATCH, width // PATCH, PATCH).swapaxes(2, 3)
    x = x.reshape(batch, -1, PATCH * PATCH) @ params["embed"]
    norm = lambda x: (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1e-5)
    for layer in params["layers"]:
        q, k, v = jnp.split(norm(x) @ layer["qkv"], 3, axis=-1)
        x = x + jax.nn.softmax(q @ k.swapaxes(1, 2) / WIDTH**0.5) @ v @ layer["out"]
        x = x + jax.nn.gelu(norm(x) @ layer["up"]) @ layer["down"]
    return norm(x).mean(axis=1)


def make_task(rows: int) -> Task:
    """Pictures and vectors that know something of one of three classes."""
    rng, target = np.random.default_rng(0), np.arange(rows) % 3
    image = rng.integers(0, 120, (rows, SIDE, SIDE, 1)) + 40 * target[:, None, None, None]
    vector = rng.normal(size=(rows, 10)) + 0.5 * target[:, None]
    inputs = {"image": image.astype(np.uint8), "vector": vector}
    return Task.from_arrays(inputs, target, kind="classes")


def make_ready(task: Task) -> Task:
    """A task that has the features as vectors."""

    def flatten(split: mmjax.Split) -> mmjax.Split:
        features = np.asarray(split.inputs["image"]).reshape(split.size, -1)
        return replace(split, inputs={**split.inputs, "image": features}, raw={})

    train, valid, test = map(flatten, (task.train, task.valid, task.test))
    return Task("ready", train, valid, test, out_dim=task.out_dim, standardise=True)


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
