"""Learning curves and scores of a run, for TensorBoard or Weights & Biases.

Both are written when the run ends, from its history.jsonl and rows.jsonl.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax

from mmjax.comparison.scores import Row
from mmjax.errors import import_extra, look_up
from mmjax.runs.columns import read_table

_COSTS = ("flops", "seconds")


class Curves(NamedTuple):
    """Learning curves and scores of one seed of a strategy.

    Attributes:
        name: STRATEGY/seedNUMBER.
        steps: {step: {metric: value}} where the loss was noted or validation done.
        scores: {"SPLIT/metric": value} of the best parameters.
        best_step: the step of the best parameters.
        facts: {name: text} such as the task, recipe and versions.
    """

    name: str
    steps: Mapping[int, Mapping[str, float]]
    scores: Mapping[str, float]
    best_step: int
    facts: Mapping[str, str]


@contextmanager
def tracked(folder: Path, tracker: str | None) -> Iterator[None]:
    """Context manager that writes the results in a run folder to a tracker, even if the run fails.

    Output of the same tracker from before a run was resumed is replaced.

    Args:
        folder: the run folder; the tracker writes to a subfolder with its name.
        tracker: ``tensorboard``; ``wandb``, offline (`wandb sync` uploads it); or None.

    Raises:
        UnknownNameError: there is no such tracker.
        UsageError: the tracker is not installed; the run has not started.
    """
    if tracker is None:
        yield
        return
    write = look_up("track", tracker, _TRACKERS)()
    try:
        yield
    finally:
        if jax.process_index() == 0 and (folder / "history.jsonl").exists():
            shutil.rmtree(folder / tracker, ignore_errors=True)
            for curves in read_curves(folder):
                write(folder / tracker, curves)


def read_curves(folder: Path) -> list[Curves]:
    """The curves of every strategy and seed in a run folder, in the order of its rows."""
    epochs: dict[Any, dict[int, dict[str, float]]] = defaultdict(dict)
    for row in read_table(folder, "history"):
        epochs[row["strategy"], row["seed"]][row["step"]] = _numbers(row)
    scored = defaultdict(list)
    for row in read_table(folder, "rows"):
        if not row["hidden"]:
            scored[row["strategy"], row["seed"]].append(row)
    return [
        Curves(
            name=f"{strategy}/seed{seed}",
            steps=epochs[strategy, seed],
            scores={f"{row['split']}/{k}": v for row in rows for k, v in _numbers(row).items()},
            best_step=rows[0]["best_step"],
            facts={k: v for k, v in rows[0].items() if isinstance(v, str)},
        )
        for (strategy, seed), rows in scored.items()
    ]


def _numbers(row: Row) -> dict[str, float]:
    """The metrics in a row: its floats, except costs."""
    return {k: v for k, v in row.items() if isinstance(v, float) and k not in _COSTS}


def _tensorboard() -> Callable[[Path, Curves], None]:
    package = import_extra("track", "tensorboardX", "track")

    def write(folder: Path, curves: Curves) -> None:
        with package.SummaryWriter(str(folder / curves.name)) as writer:
            for step, metrics in curves.steps.items():
                for name, value in metrics.items():
                    writer.add_scalar(name, value, step)
            for name, value in curves.scores.items():
                writer.add_scalar(name, value, curves.best_step)
            for name, text in curves.facts.items():
                writer.add_text(name, text)

    return write


def _wandb() -> Callable[[Path, Curves], None]:
    os.environ["WANDB_ERROR_REPORTING"] = "false"  # sent even when offline
    package = import_extra("track", "wandb", "wandb")
    quiet = {"console": "off", "silent": True, "disable_git": True, "x_disable_stats": True}

    def write(folder: Path, curves: Curves) -> None:
        with package.init(
            project="mmjax",
            name=curves.name,
            group=curves.facts["task"],
            config=dict(curves.facts),
            dir=folder.parent,  # wandb creates its folder in it
            mode="offline",
            reinit="create_new",
            settings=package.Settings(**quiet),
        ) as run:
            for step, metrics in curves.steps.items():
                run.log(dict(metrics), step=step)
            run.summary.update(curves.scores)

    return write


_TRACKERS = {"tensorboard": _tensorboard, "wandb": _wandb}
