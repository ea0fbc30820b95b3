"""Trains a small model on meshes, in one process or as one of several.

    python tests/mesh_worker.py FOLDER MESH... [--distributed HOST:PORT,COUNT,INDEX] [--keep]

MESH is such as data=2,seed=2, or ``one`` for one device. Into FOLDER/MESH.json go the learning
curves, the scores, the number of calls, and on how many devices the parameters lay. With --keep,
FOLDER/steps holds checkpoints, from which training goes on; with --stop it ends after two calls.
With --varied, rows are augmented, mixed, weighted and balanced.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import tyro
from small import make_task

import mmjax.training.fit
from mmjax.augmentations import Noise, SpecAugment
from mmjax.comparison.arm import Arm
from mmjax.comparison.scores import score
from mmjax.errors import Interrupted
from mmjax.layers import platform
from mmjax.training.checkpoint import Checkpoints
from mmjax.training.fit import fit
from mmjax.training.mesh import join_processes
from mmjax.training.recipe import Recipe, make_model

VARIED = {
    "augment": {"sequence": (SpecAugment(),), "vector": (Noise(),)},
    "mixup": 0.5,
    "class_weights": (1.0, 2.0, 0.5),
    "sampling": "balanced",
}


@dataclass(frozen=True)
class Worker:
    """What the command line sets."""

    folder: tyro.conf.Positional[Path]
    meshes: tyro.conf.Positional[tuple[str, ...]]
    distributed: str | None = None
    stop: bool = False
    keep: bool = False
    varied: bool = False


def main(worker: Worker) -> None:
    """Trains on each mesh, and writes what came of it."""
    if worker.distributed:
        join_processes(worker.distributed)
    # An epoch of six in two calls or more.
    mmjax.training.fit._FIRST_CALL, mmjax.training.fit._CALL_SECONDS = 4, 1e-9
    platform._EFFORTS = dict.fromkeys(platform._EFFORTS, platform._EFFORTS["least"])
    task = make_task().only("vector", "sequence")
    model = make_model(task, "gmu", {"sequence": "mlp"})
    for name in worker.meshes:
        mesh = None if name == "one" else name
        varied = VARIED if worker.varied else {}
        recipe = Recipe(model, batch_size=16, steps=9, seeds=(0, 1), mesh=mesh, **varied)
        train(worker, name, Arm("gmu", recipe, task))


def train(worker: Worker, name: str, arm: Arm) -> None:
    """Trains, and writes the results unless it is stopped."""
    calls = iter(range(1000))

    def progress(steps):
        if next(calls) == 1 and worker.stop:
            raise Interrupted(15)

    kept = Checkpoints(worker.folder / "steps", {}, every=0.0) if worker.keep else None
    try:
        trained = fit(arm.recipe, arm.task, checkpoints=kept, progress=progress)
    except Interrupted:
        return
    params = [x for x in jax.tree.leaves(trained.params) if isinstance(x, jax.Array)]
    scores = [row["nll"] for row in score(arm, trained).rows]
    if jax.process_index() == 0:
        lists = lambda epoch: {key: np.asarray(value).tolist() for key, value in epoch.items()}
        content = {
            "history": [lists(epoch) for epoch in trained.history],
            "scores": scores,
            "devices": max((len(x.devices()) for x in params), default=0),
            "calls": next(calls),
        }
        (worker.folder / f"{name}.json").write_text(json.dumps(content))


if __name__ == "__main__":
    main(tyro.cli(Worker))
