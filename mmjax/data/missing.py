"""Modalities that are missing from training rows."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mmjax.data.task import Split, Task
from mmjax.errors import UsageError, look_up


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
