"""What can be done with a trained run: load it, score it, predict with it."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

import chex
import jax
from scipy.special import softmax

from mmjax import checkpoint
from mmjax.arms import Arm
from mmjax.errors import DataError
from mmjax.evaluate import Predict, make_evaluate
from mmjax.files import write_text
from mmjax.run_file import read_run_file
from mmjax.runs import make_arms, make_task
from mmjax.runs.folder import check_new_file
from mmjax.scoring import Row, score_rows
from mmjax.search import choose_cells
from mmjax.train import init_params


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A trained strategy, read back from its folder.

    Attributes:
        arm: the strategy, its recipe and its task.
        params: the best parameters of every seed, [seeds, ...].
        predict: ``(params, rows) -> predictions [seeds, rows, out_dim]``.
    """

    arm: Arm
    params: chex.ArrayTree
    predict: Predict


def load_run(folder: Path, data: str | None = None) -> TrainedRun:
    """Reads what ``train_in`` wrote.

    Args:
        folder: the run folder.
        data: where the task's files are now; None for where they were.

    Raises:
        DataError: a file of the folder is missing or does not fit.
    """
    settings, strategies, cells = read_run_file(folder)
    if len(strategies) != 1:
        raise DataError(
            folder,
            expected="a folder of `mmjax train`",
            got=f"a comparison of {len(strategies)} strategies, which keeps no parameters",
        )
    settings = replace(settings, data=data) if data else settings
    (arm,) = make_arms(settings, make_task(settings), strategies)
    if cells:
        arm = replace(arm, recipe=choose_cells(arm.recipe, cells))
    one = jax.eval_shape(lambda: init_params(arm.recipe.model, arm.task.valid.batch(), 0))
    lanes = len(arm.recipe.seeds)
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct((lanes, *x.shape), x.dtype), one)
    params = checkpoint.restore(folder / "checkpoint", like).tree
    return TrainedRun(arm, params, make_evaluate(arm.recipe.model).predict)


def evaluate_run(folder: Path, data: str | None, hidden: Sequence[str]) -> list[Row]:
    """Scores a trained run on validation and test, with some modalities hidden."""
    run = load_run(folder, data)
    return score_rows(run.arm, run.predict, run.params, hidden)


def predict_run(folder: Path, data: str | None, split: str, layout: str, out: Path) -> int:
    """Writes a CSV with a line per row of a split and returns their number.

    A row's probabilities are the mean over the seeds. The layout ``probabilities`` has the columns
    row_id, label, p0, p1, ...; ``competition`` has row_id and label.
    """
    check_new_file(out)
    run = load_run(folder, data)
    rows = run.arm.task.splits[split].batch()
    mean = softmax(run.predict(run.params, rows), axis=-1).mean(axis=0)
    names = [f"p{index}" for index in range(mean.shape[1])] if layout == "probabilities" else []
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(["row_id", "label", *names])
    for row, p in enumerate(mean):
        writer.writerow([row, p.argmax(), *(f"{x:.6g}" for x in p[: len(names)])])
    write_text(out, text.getvalue())
    return len(mean)
