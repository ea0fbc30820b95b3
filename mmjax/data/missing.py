"""Drops modalities from training rows."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mmjax.data.task import Split, Task
from mmjax.errors import UsageError, look_up


def lose(task: Task, shares: Mapping[str, float], seed: int = 0) -> Task:
    """The task with modalities missing completely at random from some training rows.

    Each row loses each modality independently; a row that would lose all of them keeps all.
    Validation and test rows are unchanged.

    Args:
        task: the data.
        shares: {modality: probability that a training row lacks it}.
        seed: of the draw.

    Raises:
        UnknownNameError: the task has no such modality.
        UsageError: a share is not a probability.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> task = lose(synthetic(size=1000), {"a": 0.5})
        >>> bool(0.4 < task.train.present["a"].mean() < 0.6)
        True
        >>> bool(task.test.present["a"].all())
        True
    """
    for name, share in shares.items():
        look_up("missing", name, task.shapes)
        if not 0 <= share <= 1:
            expected = "probabilities from 0 to 1"
            raise UsageError("missing", expected=expected, got=f"{name}={share}")
    if not any(shares.values()):
        return task
    return replace(task, train=_lose_rows(task.train, shares, np.random.default_rng(seed)))


def _lose_rows(split: Split, shares: Mapping[str, float], rng: np.random.Generator) -> Split:
    # Draw for every modality, so that the share of one does not affect the others.
    kept = {
        name: split.present[name] & (rng.random(split.size) >= shares.get(name, 0.0))
        for name in sorted(split.present)
    }
    emptied = ~np.any(list(kept.values()), axis=0)
    present = {n: here | (emptied & split.present[n]) for n, here in kept.items()}
    return replace(split, present=present)
