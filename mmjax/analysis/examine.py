"""Everything that is measured of a trained arm while its parameters are at hand."""

from collections.abc import Callable
from typing import NamedTuple

import chex
import numpy as np

from mmjax.analysis.availability import availability_rows
from mmjax.analysis.corruptions import make_sweep
from mmjax.analysis.representation import Embedded, representation_rows, sample
from mmjax.analysis.robustness import robustness_rows
from mmjax.comparison.arm import Arm
from mmjax.comparison.scores import Row, add_facts, identify
from mmjax.data.task import Task
from mmjax.training.fit import Fit, Progress
from mmjax.training.predict import View
from mmjax.types import Batch

MAX_ROWS = 500
"""Rows of training and of the scored split whose embeddings and weights are looked at."""


class Examination(NamedTuple):
    """What is known of an arm beyond its scores; rows are flat.

    Attributes:
        scores: on test with every subset of modalities hidden.
        robustness: scores with one modality corrupted.
        representation: how embeddings cluster by class, and what a linear probe reads from them;
            none where targets are no classes, or the rows too few to tell.
        weights: how much each modality counts, for strategies that weigh them.
        embedded: every embedding of some rows of the scored split, the same for all arms.
    """

    scores: list[Row]
    robustness: list[Row]
    representation: list[Row]
    weights: list[Row]
    embedded: Embedded


def make_examine(
    task: Task, progress: Progress = lambda steps: None
) -> Callable[[Arm, Fit], Examination]:
    """Makes ``(arm, its training) -> Examination`` for the arms of one task.

    What does not depend on an arm, such as corrupted rows, is made once for all.

    Args:
        task: the data.
        progress: called with 0 before each prediction; what it raises ends the assessment.
    """
    sweep = make_sweep(task)
    scored = sweep.split

    def examine(arm: Arm, trained: Fit) -> Examination:
        params = trained.params

        def predict(params: chex.ArrayTree, rows: Batch) -> np.ndarray:
            progress(0)
            return trained.predict(params, rows)

        names, seeds = identify(arm), arm.recipe.seeds
        train, rows = (sample(arm.task.splits[split], MAX_ROWS) for split in ("train", scored))
        learnt, seen = (trained.view(params, split.batch()) for split in (train, rows))
        known = Embedded(learnt.embeddings, train.target)
        embedded = Embedded(seen.embeddings, rows.target)
        return Examination(
            scores=add_facts(availability_rows(arm, predict, params), arm, trained),
            robustness=robustness_rows(arm, predict, params, sweep),
            # Clustering is slow, and seeds differ little in it: the first stands for all.
            representation=[
                {**names, **row} for row in representation_rows(known, embedded, seeds[:1])
            ]
            if task.kind == "classes" and _tell_classes(train.target, rows.target)
            else [],
            weights=_weight_rows(arm, seen, scored),
            embedded=embedded,
        )

    return examine


def _tell_classes(train: np.ndarray, scored: np.ndarray) -> bool:
    """Whether a probe can learn, and clusters can match: a split of one's own may be tiny."""
    return len(np.unique(train)) > 1 and 1 < len(np.unique(scored)) < len(scored)


def _weight_rows(arm: Arm, seen: View, split: str) -> list[Row]:
    """Mean weight of each modality, and the share of rows that all but ignore the others."""
    if seen.weights is None:
        return []
    return [
        {
            **identify(arm),
            "seed": seed,
            "split": split,
            "modality": name,
            "weight": float(of_seed[:, index].mean()),
            "alone": float((of_seed[:, index] > 0.95).mean()),
        }
        for seed, of_seed in zip(arm.recipe.seeds, seen.weights, strict=True)
        for index, name in enumerate(arm.task.modalities)
    ]
