"""Cross-validation: a task whose every row is tested, by models that have not seen it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import jax
import numpy as np

from mmjax.data.missing import lose
from mmjax.data.scale import Scale, find_scale
from mmjax.data.splits import deal_folds
from mmjax.data.task import Fold, RawSignal, Split, Task
from mmjax.errors import UsageError


def fold_task(
    task: Task,
    folds: int,
    repeats: int = 1,
    seed: int = 0,
    in_units: Collection[str] = (),
    missing: Mapping[str, float] = {},
) -> Task:
    """Deals the labelled rows of a task into folds, stratified by class and by whole groups.

    In each fold, a fifth of the other rows is for validation. Floats are standardised here, with
    statistics of the training rows of the fold, so that folds with as many training rows share one
    compiled program; all do unless groups are of different size. Text and tables stay coded as they
    are, by the words and categories of the task's own training rows.

    Args:
        task: the data; its own splits are pooled.
        folds: number of parts, each tested once in every repeat.
        repeats: number of times that rows are dealt anew.
        seed: of the dealing.
        in_units: modalities that are not standardised here, as their encoders read their own units.
        missing: {modality: probability that a training row lacks it}, as in ``lose``.

    Returns:
        a task with ``folds``, whose test rows are all rows, and whose training and validation rows
        are those of the first fold.

    Raises:
        UnknownNameError: ``missing`` names a modality that the task lacks.
        UsageError: a number is out of range, or there are fewer groups than folds.
        DataError: the training rows of a fold lack a class.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> task = fold_task(synthetic(size=60), folds=5, repeats=2)
        >>> len(task.folds), task.test.size
        (10, 60)
        >>> task.folds[0].task
        Task('synthetic/xor': a (12,), b (12,) -> 2 classes; rows: 38 train, 10 valid, 12 test)
    """
    pool = _pool([split for split in task.splits.values() if split.labelled])
    pool = replace(pool, target=task.restore(pool.target))
    groups = len(np.unique(pool.group))
    for name, value, (low, high) in (("folds", folds, (2, groups)), ("repeats", repeats, (1, 100))):
        if not low <= value <= high:
            many = f"{high}, the number of groups of rows" if name == "folds" else f"{high}"
            raise UsageError(name, expected=f"from {low} to {many}", got=str(value))
    strata = pool.target if task.kind == "classes" else np.zeros(pool.size, int)
    dealt = [_deal(pool.group, strata, folds, seed + repeat) for repeat in range(repeats)]
    single = groups == pool.size
    size = min(len(train) for parts in dealt for train, _, _ in parts) if single else pool.size
    made = [
        _make_fold(task, pool, (repeat, index), train[:size], [*valid, *train[size:]], test)
        for repeat, parts in enumerate(dealt)
        for index, (train, valid, test) in enumerate(parts)
    ]
    # Before standardisation, which must not see what is hidden.
    lost = [fold._replace(task=lose(fold.task, missing)) for fold in made]
    made = [fold._replace(task=_standardised(fold.task, in_units)) for fold in lost]
    first = made[0].task
    return replace(first, test=_with_target(pool, first.scale), folds=tuple(made))


def _deal(
    group: np.ndarray, strata: np.ndarray, folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The training, validation and test rows of each fold."""
    fold = deal_folds(group, strata, folds, seed)
    parts = []
    for index in range(folds):
        rest = np.flatnonzero(fold != index)
        fifths = min(5, len(np.unique(group[rest])))
        held = deal_folds(group[rest], strata[rest], fifths, seed) == 0
        parts.append((rest[~held], rest[held], np.flatnonzero(fold == index)))
    return parts


def _make_fold(
    task: Task,
    pool: Split,
    place: tuple[int, int],
    train: np.ndarray,
    valid: Sequence[int],
    test: np.ndarray,
) -> Fold:
    rows = {"train": train, "valid": np.array(sorted(valid)), "test": test}
    scale = find_scale(pool.target[train]) if task.kind == "numbers" else None
    parts = [_with_target(pool.take(index), scale) for index in rows.values()]
    made = replace(task, train=parts[0], valid=parts[1], test=parts[2], scale=scale)
    return Fold(*place, rows, made)


def _standardised(task: Task, in_units: Collection[str]) -> Task:
    """The task with its floats standardised, rather than by models, which then are all alike."""
    scales = {
        name: scale
        for name, scale in task.input_scales.items()
        if task.train.inputs[name].dtype == np.float32 and name not in in_units
    }
    train, valid, test = (_standardise(split, scales) for split in task.splits.values())
    return replace(task, train=train, valid=valid, test=test, standardised=tuple(scales))


def _with_target(split: Split, scale: Scale | None) -> Split:
    return split if scale is None else replace(split, target=scale.standardise(split.target))


def _standardise(split: Split, scales: dict[str, Scale]) -> Split:
    inputs, raw = dict(split.inputs), dict(split.raw)
    for name, scale in scales.items():
        inputs[name] = scale.standardise(inputs[name])
        if name in raw:
            raw[name] = raw[name]._replace(to_input=_then(raw[name], scale))
    return replace(split, inputs=inputs, raw=raw)


def _then(raw: RawSignal, scale: Scale) -> Callable[[jax.Array], jax.Array]:
    mean, deviation = (np.float32(part) for part in scale)
    return lambda values: (raw.to_input(values) - mean) / deviation


def _pool(splits: Sequence[Split]) -> Split:
    """The rows of all splits, one after another; whatever is on disk is read."""
    join = lambda part: {
        name: np.concatenate([np.asarray(part(split)[name][:]) for split in splits])
        for name in part(splits[0])
    }
    sizes = np.cumsum([0, *(len(np.unique(split.group)) for split in splits)])
    groups = [
        np.unique(split.group, return_inverse=True)[1] + start
        for split, start in zip(splits, sizes, strict=False)
    ]
    return Split(
        inputs=join(lambda split: split.inputs),
        target=np.concatenate([split.target for split in splits]),
        group=np.concatenate(groups),
        present=join(lambda split: split.present),
        meta=join(lambda split: split.meta),
        raw={name: _pool_raw([split.raw[name] for split in splits]) for name in splits[0].raw},
    )


def _pool_raw(signals: Sequence[RawSignal]) -> RawSignal:
    starts = np.cumsum([0, *(len(one.values) for one in signals)])
    index = [one.index + start for one, start in zip(signals, starts, strict=False)]
    values = np.concatenate([one.values for one in signals])
    return RawSignal(values, np.concatenate(index), signals[0].to_input)
