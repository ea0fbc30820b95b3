"""A program that uses the public names, for the type checker: what it infers is written down."""

from collections.abc import Mapping
from typing import assert_type

import flax.linen as nn
import jax
import numpy as np
from matplotlib.figure import Figure

import mmjax
from mmjax.data.targets import Kind
from mmjax.fusion import FUSIONS
from mmjax.types import Tokens


class Mean(nn.Module):
    """A fusion of one's own."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], *, train: bool) -> jax.Array:
        """Fuses {name: [batch, length, features]} into [batch, out_dim]."""
        return nn.Dense(self.out_dim)(sum(t.values.mean(axis=1) for t in tokens.values()))


def use(image: np.ndarray, audio: np.ndarray, target: np.ndarray) -> None:
    """Every public name once."""
    task = mmjax.Task.from_arrays({"image": image, "audio": audio}, target, name="mine")
    assert_type(task, mmjax.Task)
    mmjax.Task.from_arrays({"a": audio}, target, kind="numbers", kinds={"a": "sequence"})
    assert_type(task.train, mmjax.Split)
    assert_type(task.kind, Kind)
    assert_type(mmjax.load_task("digits", options={"seed": "1"}), mmjax.Task)
    mmjax.check_fusion(Mean(out_dim=3))
    fusions = ["concat", Mean, FUSIONS["gmu"](out_dim=task.out_dim, width=8)]
    result = mmjax.compare(task, fusions, seeds=2, steps=10, quiet=True)
    assert_type(result, mmjax.Result)
    assert_type(result.plot(), Figure)
    assert_type(result.best, mmjax.TrainedRun)
    assert_type(result.verdict.headline, str)
    run = mmjax.load_run("runs/gmu")
    assert_type(run, mmjax.TrainedRun)
    assert_type(run.predict({"image": image, "audio": audio}), np.ndarray)
    assert_type(run.embed({"image": image, "audio": audio}), dict[str, np.ndarray])
