"""Modalities that are missing: from training rows, and when a trained model is used."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain

import chex
import numpy as np

from mmjax.arms import Arm
from mmjax.coalitions import subsets
from mmjax.errors import UsageError, look_up
from mmjax.evaluate import Predict
from mmjax.scoring import Row, score_rows
from mmjax.task import Split, Task


def availability_rows(arm: Arm, predict: Predict, params: chex.ArrayTree) -> list[Row]:
    """Scores on test with every subset of modalities hidden but the empty one.

    With all of them hidden they are the scores of what the model says knowing nothing.

    Args:
        arm: the strategy and its task.
        predict: ``(params, rows) -> predictions [seeds, rows, out_dim]``.
        params: [seeds, ...].
    """
    hidings = [hidden for hidden in subsets(arm.task.modalities) if hidden]
    scored = (score_rows(arm, predict, params, hidden, splits=("test",)) for hidden in hidings)
    return list(chain.from_iterable(scored))


def lose(task: Task, shares: Mapping[str, float], seed: int = 0) -> Task:
    """The task with modalities missing from some of its training rows, completely at random.

    Each row loses each modality independently, and a row that would lose all keeps all. Validation
    and test stay as they are.

    Args:
        task: the data.
        shares: {modality: probability that a training row lacks it}.
        seed: of the draw.

    Raises:
        UnknownNameError: the task has no such modality.
        UsageError: a share is no probability.
    """
    for name, share in shares.items():
        look_up("missing", name, task.shapes)
        if not 0 <= share <= 1:
            raise UsageError("missing", expected="shares from 0 to 1", got=f"{name}={share}")
    return replace(task, train=_lose_rows(task.train, shares, np.random.default_rng(seed)))


def _lose_rows(split: Split, shares: Mapping[str, float], rng: np.random.Generator) -> Split:
    # A draw for every modality, so that the share of one changes nothing for the others.
    kept = {
        name: split.present[name] & (rng.random(split.size) >= shares.get(name, 0.0))
        for name in sorted(split.present)
    }
    emptied = ~np.any(list(kept.values()), axis=0)
    present = {n: here | (emptied & split.present[n]) for n, here in kept.items()}
    return replace(split, present=present)
