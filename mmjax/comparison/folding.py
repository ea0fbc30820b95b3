"""Arms that are trained once for each fold of their task, and what comes of them."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mmjax.comparison.arm import Arm
from mmjax.comparison.outcomes import ArmFailure, ArmResult
from mmjax.data.task import Fold, Task

_MOST_SEEDS = 10_000  # of a comparison


def join_folds(
    arms: Sequence[Arm], outcomes: Iterator[ArmResult | ArmFailure]
) -> Iterator[ArmResult | ArmFailure]:
    """Yields one outcome per arm, where those of its parts come one after another.

    An arm fails if one of its parts does.
    """
    for arm in arms:
        if not arm.parts:
            yield next(outcomes)
            continue
        own = [next(outcomes) for _ in arm.parts]
        failed = [outcome for outcome in own if isinstance(outcome, ArmFailure)]
        done = [outcome for outcome in own if isinstance(outcome, ArmResult)]
        yield ArmFailure(arm, failed[0].error) if failed else _join(arm, done)


def _join(arm: Arm, parts: Sequence[ArmResult]) -> ArmResult:
    seconds = round(sum(part.rows[0]["seconds"] for part in parts), 3)
    facts = {"seconds": seconds, "data": arm.task.digest()}
    return ArmResult(
        arm,
        parts[0].trained,
        [{**row, **facts} for part in parts for row in part.rows],
        _join_predictions(arm.task, [part.predictions for part in parts]),
        parts[0].tables,
        parts[0].embedded,
        [row for part in parts for row in part.history],
    )


def _join_predictions(
    task: Task, predictions: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The predictions of all rows, by as many models per row as there are seeds and repeats."""
    own_seeds = predictions[0]["seeds"]
    seeds, repeats = len(own_seeds), 1 + task.folds[-1].repeat
    # A model has the same number beside any number of others, in comparisons of several folders.
    numbers = _MOST_SEEDS * np.arange(repeats)[:, None] + own_seeds
    joined = {"seeds": numbers.reshape(-1)}
    for name in ("test", "contributions"):
        if name not in predictions[0]:
            continue
        like = predictions[0][name]
        shape = repeats * seeds, task.test.size, *like.shape[2:]
        joined[name] = np.empty(shape, like.dtype)
        for fold, own in zip(task.folds, predictions, strict=True):
            lanes = np.arange(fold.repeat * seeds, (fold.repeat + 1) * seeds)
            values = own[name] if name == "contributions" else _rescale(task, fold, own[name])
            joined[name][np.ix_(lanes, fold.rows["test"])] = values
    return joined


def _rescale(task: Task, fold: Fold, prediction: np.ndarray) -> np.ndarray:
    """Predictions of a fold in the units of the whole task."""
    if task.scale is None or fold.task.scale is None:
        return prediction
    return task.scale.standardise(fold.task.scale.restore(prediction))
