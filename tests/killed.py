"""Kills a training process at random moments, goes on with it, and compares the bytes.

    python tests/killed.py FOLDER [--forget]

trains, from the last checkpoint in the folder if there is one, and writes all that came of it to
``result.npz``. With --forget what is taken over loses the optimiser's state: a resumption that is
wrong, which the comparison must notice.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
from small import make_task

from mmjax.training.checkpoint import Checkpoints
from mmjax.training.fit import _Run, fit
from mmjax.training.recipe import Recipe, make_model

STEPS, BATCH = 120, 16
_PATIENCE = 120.0  # seconds for a process to begin


def train(folder: Path) -> None:
    """Trains two seeds with dropout; a checkpoint after every few steps."""
    task = make_task().only("vector", "sequence")
    model = make_model(task, "concat", {"sequence": "mlp"})
    recipe = Recipe(model, batch_size=BATCH, steps=STEPS, seeds=(0, 1), patience=STEPS)
    checkpoints = Checkpoints(folder / "steps", {"recipe": repr(recipe)}, every=0.0)
    trained = fit(recipe, task, checkpoints=checkpoints)
    arrays = contents((trained.params, trained.state, trained.history))
    np.savez(folder / "result.npz", **arrays)


def contents(tree) -> dict[str, np.ndarray]:
    """All arrays of a tree by their names, keys as integers."""

    def bits(x):
        if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.random.key_data(x)
        return np.asarray(x)

    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): bits(x) for path, x in leaves}


def start(folder: Path, *options: str) -> subprocess.Popen:
    """A process that trains."""
    folder.mkdir(exist_ok=True)
    programs = {  # compiled by the first process of all
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, __file__, str(folder), *options]
    return subprocess.Popen(command, env={**os.environ, **programs})


def kill_one(folder: Path, rng: np.random.Generator, *options: str) -> int:
    """Kills a process at a random moment after its first checkpoint, then lets another finish.

    Returns:
        the step of the last checkpoint that the killed one has left.
    """
    process = start(folder)
    deadline = time.monotonic() + _PATIENCE
    while not any((folder / "steps").glob("[0-9]*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 1.5))
    process.kill()
    process.wait()
    reached = max((int(path.name) for path in (folder / "steps").glob("[0-9]*")), default=0)
    assert start(folder, *options).wait() == 0
    return reached


def differing(one: Path, other: Path) -> list[str]:
    """Names of the arrays of two results that are not equal bit by bit."""
    a, b = np.load(one / "result.npz"), np.load(other / "result.npz")
    assert a.files == b.files
    same = lambda x, y: x.dtype == y.dtype and x.tobytes() == y.tobytes()
    return [name for name in a.files if not same(a[name], b[name])]


def _forget_the_optimiser():
    resume = _Run.resume

    def forgetful(self, *args):
        resume(self, *args)
        state = self.lanes.state
        fresh = jax.tree.map(np.zeros_like, state.opt_state)
        self.lanes = self.lanes._replace(state=state._replace(opt_state=fresh))

    _Run.resume = forgetful


if __name__ == "__main__":
    if "--forget" in sys.argv:
        _forget_the_optimiser()
    train(Path(sys.argv[1]))
