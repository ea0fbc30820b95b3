"""All measurements of a trained arm that need its parameters."""

from collections.abc import Callable, Collection

import chex
import numpy as np

from mmjax.analysis.availability import availability_rows
from mmjax.analysis.corruptions import make_sweep
from mmjax.analysis.cost import cost_row
from mmjax.analysis.representation import representation_rows, sample
from mmjax.analysis.robustness import behind_encoders, robustness_rows
from mmjax.comparison.arm import Arm
from mmjax.comparison.loop import Examine
from mmjax.comparison.outcomes import Embedded, Examination
from mmjax.comparison.scores import Row, add_facts, identify
from mmjax.data.task import Task
from mmjax.registry import EXAMINATIONS, FULL
from mmjax.training.fit import Fit, Progress
from mmjax.training.predict import Chunks, View
from mmjax.types import Batch

MAX_CORRUPTED = 512
"""Rows of the scored split that are corrupted, unless all are asked for."""
MAX_ROWS = 500
"""Rows of the training and of the scored split whose embeddings and weights are examined."""


def make_examine(
    task: Task, parts: Collection[str] = EXAMINATIONS, progress: Progress = lambda steps: None
) -> Examine:
    """Makes ``(arm, its training, idle) -> Examination`` for the arms of one task.

    Whatever does not depend on an arm, such as corrupted rows, is computed once. Of an arm with
    folds, the first is examined, and all with modalities hidden.

    Args:
        task: the data, with all modalities.
        parts: the measurements to take, from ``parse_examine``.
        progress: called with 0 before each prediction; an exception in it ends the examination.
    """
    scored = "test" if task.test.labelled else "valid"
    max_rows = task.splits[scored].size if FULL in parts else MAX_CORRUPTED
    sweep = make_sweep(task, max_rows=max_rows) if "corruptions" in parts else None
    behind = behind_encoders(sweep) if sweep else None

    def examine(arm: Arm, trained: Fit, idle: Callable[[], object]) -> Examination:
        if arm.fold and (arm.fold.repeat, arm.fold.index) != (0, 0):
            return later(arm, trained)
        params = trained.params
        tables: dict[str, list[Row]] = {}

        def predict(params: chex.ArrayTree, rows: Batch | Chunks) -> np.ndarray:
            progress(0)
            return trained.predict(params, rows)

        scores = availability_rows(arm, predict, params) if "missing" in parts else []
        if behind:
            tables["robustness"] = robustness_rows(arm, predict, params, behind(arm.task))
        embedded = None
        if {"embeddings", "weights"} & set(parts):
            rows = sample(arm.task.splits[scored], MAX_ROWS)
            seen = trained.view(params, rows.batch())
            if "weights" in parts:
                tables["weights"] = _weight_rows(arm, seen, scored)
            if "embeddings" in parts:
                embedded = Embedded(seen.embeddings, rows.target)
                tables["representation"] = _representation(arm, trained, embedded)
        if "cost" in parts:
            idle()  # wait until the machine is free
            tables["cost"] = [cost_row(arm, trained)]
        return Examination(add_facts(scores, arm, trained), tables, embedded)

    def later(arm: Arm, trained: Fit) -> Examination:
        """What is measured in every fold."""
        if "missing" not in parts:
            return Examination()
        progress(0)
        rows = availability_rows(arm, trained.predict, trained.params)
        return Examination(add_facts(rows, arm, trained))

    return examine


def _representation(arm: Arm, trained: Fit, embedded: Embedded) -> list[Row]:
    """Rows on how embeddings cluster by class; none without classes or with too few rows."""
    train = sample(arm.task.splits["train"], MAX_ROWS)
    if arm.task.kind != "classes" or not _tell_classes(train.target, embedded.target):
        return []
    known = Embedded(trained.view(trained.params, train.batch()).embeddings, train.target)
    # Clustering is slow and differs little between seeds, so only the first is used.
    rows = representation_rows(known, embedded, arm.recipe.seeds[:1])
    return [{**identify(arm), **row} for row in rows]


def _tell_classes(train: np.ndarray, scored: np.ndarray) -> bool:
    """Whether a probe and clusters are defined: a user's split may be tiny."""
    return len(np.unique(train)) > 1 and 1 < len(np.unique(scored)) < len(scored)


def _weight_rows(arm: Arm, seen: View, split: str) -> list[Row]:
    """Mean weight of each modality, and the share of rows on which it exceeds 0.95."""
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
