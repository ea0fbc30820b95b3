"""The workloads in mmjax, made of its own encoders, fusions, training and evaluation."""

from pathlib import Path

import jax
import numpy as np
from workloads import (
    CLASSES,
    CLIP,
    COMPARISONS,
    LEARNING_RATE,
    WARMUP,
    Arrays,
    Case,
    Comparison,
    Work,
    make_small,
    make_splits,
)

import mmjax
from mmjax.data.task import Split, Task
from mmjax.encoders import CNN, CNN1D, Patches, Transformer
from mmjax.fusion import FUSIONS
from mmjax.layers import as_float
from mmjax.model import MultimodalModel
from mmjax.training.fit import fit
from mmjax.training.optimiser import Adam
from mmjax.training.predict import make_evaluate
from mmjax.training.program import compile_recipe
from mmjax.training.recipe import Recipe
from mmjax.types import Prepared


def make_model(name: str) -> MultimodalModel:
    """The model of a case."""
    if name == "conv":
        image = CNN(features=(32, 64), num_tokens=1, width=128)
        audio = CNN1D(features=(64, 128), num_tokens=1, width=128)
        return MultimodalModel({"audio": audio, "image": image}, FUSIONS["concat"](CLASSES, 128))
    fusion, width = name.split("-")
    encoders = {
        "audio": Transformer(int(width), num_layers=0),
        "image": Patches(4, int(width), num_layers=0),
    }
    return MultimodalModel(encoders, FUSIONS[fusion](CLASSES, int(width)))


def make_task(case: Case) -> Task:
    """The rows of a case; nothing is tested on."""
    train, valid = (_split(arrays) for arrays in make_splits(case))
    return Task("random", train, valid, valid, CLASSES)


def _split(arrays: Arrays) -> Split:
    inputs = {"audio": arrays.audio, "image": arrays.image}
    return Split(inputs, arrays.target, np.arange(len(arrays.target)))


def make_recipe(case: Case) -> Recipe:
    """One epoch."""
    tx = Adam(LEARNING_RATE, warmup=WARMUP, clip=CLIP)
    seeds = tuple(range(case.seeds))
    model = make_model(case.model)
    size = {"batch_size": case.batch_size, "steps": case.steps}
    return Recipe(model, tx=tx, seeds=seeds, dtype=case.dtype, **size)


def make_compared(comparison: Comparison) -> Task:
    """The data of a comparison."""
    if comparison.task != "small":
        return mmjax.load_task(comparison.task)
    return Task.from_arrays(*make_small(), name="small", kind="classes")


def save_compared(comparison: Comparison, path: Path) -> None:
    """Saves the rows of a comparison, standardised as models see them, for PyTorch to load."""
    task = make_compared(comparison)
    arrays = {"classes": np.array(task.out_dim)}
    for part in ("train", "valid"):
        split = task.splits[part]
        arrays[f"target_{part}"] = split.target.astype(np.int64)
        for name, values in split.inputs.items():
            scale, x = task.input_scales.get(name), np.asarray(as_float(values))
            arrays[f"{part}_{name}"] = scale.standardise(x) if scale else x
    np.savez(path, **arrays)


def compare(comparison: Comparison) -> None:
    """A comparison from Python, with all that it examines by default."""
    task, (_, fusions, seeds, steps, size) = make_compared(comparison), comparison
    mmjax.compare(task, fusions, seeds=seeds, steps=steps, batch_size=size, quiet=True)


def make_work(case: Case) -> Work:
    """The work of a case, compiled unless it is a comparison."""
    if case.work == "compare":
        return lambda times: [compare(COMPARISONS[case.model]) for _ in range(times)]
    task, recipe = make_task(case), make_recipe(case)
    if case.work == "first":
        return lambda times: [fit(recipe, task) for _ in range(times)]
    program = compile_recipe(recipe, task)
    lanes = program.init(recipe, Prepared())
    if case.work == "predict":
        predict = make_evaluate(recipe.model, case.batch_size).predict
        rows = task.valid.batch()
        return lambda times: [predict(lanes.best, rows) for _ in range(times)]
    train, same = jax.device_put(task.train.batch()), np.zeros(case.seeds, bool)

    def train_steps(times: int) -> None:
        nonlocal lanes
        lanes, *_ = program.advance((lanes, same, program.zeros), train, 0, times)
        jax.block_until_ready(lanes)

    return train_steps
