"""Tasks with fewer training rows."""

from dataclasses import replace

import numpy as np

from mmjax.data.splits import make_rng
from mmjax.data.task import Task
from mmjax.errors import UsageError


def take_share(task: Task, share: float, seed: int = 0) -> Task:
    """The task with a share of its training rows: whole groups, stratified by class.

    A smaller share is part of every larger one, so that a learning curve adds rows and replaces
    none. Validation and test rows are unchanged.

    Args:
        task: the data.
        share: above 0 and at most 1.
        seed: of the order in which groups are taken.

    Raises:
        UsageError: the share is out of range.
        DataError: a class would have no training row.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> task = synthetic(size=1000)
        >>> task.train.size, take_share(task, 0.25).train.size
        (600, 150)
    """
    if not 0 < share <= 1:
        raise UsageError("train", expected="a share above 0 and at most 1", got=str(share))
    if share == 1:
        return task
    train = task.train
    _, first, index, size = np.unique(
        train.group, return_index=True, return_inverse=True, return_counts=True
    )
    strata = train.target[first] if task.kind == "classes" else np.zeros(len(size), int)
    order = _interleave(strata, make_rng(seed))
    taken = np.searchsorted(np.cumsum(size[order]), share * train.size - 0.5) + 1
    rows = np.isin(index, order[:taken])
    return replace(task, train=train.take(np.flatnonzero(rows)))


def _interleave(strata: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An order of groups, every beginning of which has each stratum in proportion."""
    shuffled = rng.permutation(len(strata))
    place = np.empty(len(strata))
    for stratum in np.unique(strata):
        own = shuffled[strata[shuffled] == stratum]
        place[own] = (np.arange(len(own)) + rng.random()) / len(own)
    return np.argsort(place, kind="stable")
