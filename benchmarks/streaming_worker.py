"""One side of benchmarks/streaming.py in a process of its own: loads a task and trains on it.

    python benchmarks/streaming_worker.py SIDE FOLDER

It trains for an epoch, prints a line, and does so again for each line on its input: a JSON object
with ``seconds`` of the epoch and ``load_seconds`` of the task.
"""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from mmjax_side import make_model

from mmjax.data.task import Task
from mmjax.tasks.arrays import arrays
from mmjax.tasks.tfds import tfds
from mmjax.training.fit import fit
from mmjax.training.program import compile_recipe
from mmjax.training.recipe import Recipe

BATCH = 128


def load(side: str, folder: Path) -> Task:
    """The task of a side: ``device`` has it in memory and on the device; the others stream it."""
    if side == "array_record":
        return tfds(folder, rows="disk")
    task = arrays(folder)
    if side == "arrays":
        return task
    in_memory = lambda split: {name: np.array(values) for name, values in split.inputs.items()}
    return replace(task, **{k: replace(v, inputs=in_memory(v)) for k, v in task.splits.items()})


def main() -> None:
    side, folder = sys.argv[1], Path(sys.argv[2])
    os.environ["MMJAX_FEED"] = "device" if side == "device" else "stream"
    start = time.perf_counter()
    task = load(side, folder)
    load_seconds = time.perf_counter() - start
    steps = task.train.size // BATCH
    recipe = Recipe(make_model("conv"), batch_size=BATCH, steps=steps, seeds=(0,))
    program = compile_recipe(recipe, task)
    fit(recipe, task, program=program)
    print(json.dumps({"load_seconds": load_seconds}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        fit(recipe, task, program=program)
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "load_seconds": load_seconds}), flush=True)


if __name__ == "__main__":
    main()
