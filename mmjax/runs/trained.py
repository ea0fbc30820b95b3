"""What can be done with a trained run: load it, score it, predict and embed with it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import chex
import jax
import numpy as np

from mmjax.comparison.arm import Arm, resize_arm
from mmjax.comparison.cell_search import choose_cells
from mmjax.comparison.scores import Row, score_rows
from mmjax.data.coerce import check_mapping, drop_unnamed
from mmjax.data.coerce_inputs import as_input, as_numbers, shape_like
from mmjax.data.targets import UNLABELLED, Kind, answers, find_score
from mmjax.data.task import Task
from mmjax.data.validate import check_input
from mmjax.errors import DataError, UsageError, look_up
from mmjax.runs.columns import read_table
from mmjax.runs.folder import check_new_file
from mmjax.runs.from_settings import make_arms, make_task
from mmjax.runs.run_file import RunFile, read_run_file
from mmjax.storage.files import write_csv, write_npz
from mmjax.storage.manifest import check_listed
from mmjax.training import checkpoint
from mmjax.training.predict import Evaluate, make_evaluate
from mmjax.training.step import outline_params
from mmjax.types import Batch

Arrays = Mapping[str, np.ndarray]

_SOME = 64  # rows that show whether an input is tokens


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A trained strategy, read back from its folder.

    Attributes:
        arm: the strategy, its recipe and its task.
        params: the best parameters of every seed, [seeds, ...].
        best_seed: the seed that did best on validation.
    """

    arm: Arm
    params: chex.ArrayTree
    best_seed: int

    def __repr__(self) -> str:
        seeds = ", ".join(map(str, self.arm.recipe.seeds))
        return f"TrainedRun({self.arm.strategy!r} on {self.arm.task}, seeds {seeds})"

    @cached_property
    def evaluate(self) -> Evaluate:
        """The model itself: predictions and embeddings of every seed, as ``make_evaluate`` says."""
        return make_evaluate(self.arm.recipe.model)

    @cached_property
    def best(self) -> "TrainedRun":
        """The same run with its best seed alone."""
        index = self.arm.recipe.seeds.index(self.best_seed)
        params = jax.tree.map(lambda x: x[index : index + 1], self.params)
        recipe = replace(self.arm.recipe, seeds=(self.best_seed,))
        return TrainedRun(replace(self.arm, recipe=recipe), params, self.best_seed)

    def predict(self, inputs: Arrays, present: Arrays | None = None) -> np.ndarray:
        """Probabilities of classes or labels, or numbers: [rows, out_dim], the mean over the seeds.

        Numbers are in the units that ``Task.from_arrays`` was given.

        Args:
            inputs: {modality: [rows, ...]} of every modality of ``arm.task``, in the shapes of its
                rows or those that ``Task.from_arrays`` made them of, such as token ids; and bytes
                where those are. Others, which it does not use, are passed over.
            present: {modality: [rows] bool}; a modality left out is present everywhere.

        Raises:
            UsageError: a modality is missing, or ``present`` has one that is not in ``inputs``.
            DataError: an array has the wrong shape or dtype, or is not finite.
        """
        task = self.arm.task
        prediction = self.evaluate.predict(self.params, self._rows(inputs, present))
        said = answers(prediction, task.kind).mean(axis=0)
        return said if task.scale is None else task.scale.restore(said)

    def embed(self, inputs: Arrays, present: Arrays | None = None) -> dict[str, np.ndarray]:
        """What the best seed makes of rows: {modality and "fused": [rows, features]}.

        A modality is the mean of its tokens; "fused" is what the fusion's readout sees, or the
        prediction where there is no joint representation. Spaces of other seeds are other spaces.

        Args:
            inputs: as for ``predict``.
            present: as for ``predict``.

        Raises:
            UsageError: as ``predict``.
            DataError: as ``predict``.
        """
        view = self.best.evaluate.view(self.best.params, self._rows(inputs, present))
        return {name: values[0] for name, values in view.embeddings.items()}

    def _rows(self, inputs: Arrays, present: Arrays | None) -> Batch:
        """The rows as a model sees them, checked."""
        known, present = self.arm.task.train.inputs, {} if present is None else present
        check_mapping("inputs", inputs)
        check_mapping("present", present)
        for name in present:
            look_up("modality of present", name, inputs)
        for name in known:
            if name not in inputs:
                fix = "Where it is absent, give zeros, and present={...} that is false there."
                got = f"only {', '.join(inputs) or 'none'}"
                raise UsageError("inputs", expected=f"modality {name!r} too", got=got, fix=fix)
        rows = {name: self._read(name, inputs[name]) for name in known}
        size = max(map(len, rows.values()))
        everywhere = np.ones(size, bool)
        here = {name: np.asarray(present.get(name, everywhere)) for name in known}
        for name, like in known.items():
            where = f"input {name!r}"
            check_input(where, rows[name], here[name], (size, *like.shape[1:]))
            if rows[name].dtype != like.dtype:  # bytes are scaled, and floats are not
                got = str(rows[name].dtype)
                raise DataError(where, expected=f"{like.dtype}, as in training", got=got)
        return Batch(rows, here, np.full(size, UNLABELLED))

    def _read(self, name: str, given: Any) -> np.ndarray:
        """An input as the task has it, read as ``Task.from_arrays`` reads it."""
        train = self.arm.task.train
        some = np.flatnonzero(train.present[name])[:_SOME]
        given = drop_unnamed(f"input {name!r}", given)
        return as_input(name, shape_like(name, as_numbers(name, given), train.inputs[name][some]))


def load_run(folder: str | Path, data: str | None = None) -> TrainedRun:
    """Reads what ``train_in`` wrote.

    Args:
        folder: the run folder.
        data: where the task's files are now; None for where they were.

    Raises:
        DataError: a file of the folder is missing or does not fit; or the data are not those that
            it was trained on, which are part of it: the model scales inputs by them.
    """
    folder = Path(folder)
    run = read_run_file(folder)
    check_listed(folder, ".json", ".jsonl")
    if len(run.strategies) != 1:
        raise DataError(
            folder,
            expected="a folder of `mmjax train`",
            got=f"a comparison of {len(run.strategies)} strategies, which keeps no parameters",
        )
    run = run._replace(settings=replace(run.settings, data=data)) if data else run
    arm = make_found_arm(run, make_task(run.settings))
    params = checkpoint.restore(folder / "checkpoint", shape_params(arm)).tree
    path, rows = folder / "rows.jsonl", read_table(folder, "rows")
    best = _find_best_seed(path, rows, arm)
    _check_data(path, rows, arm.task)
    return TrainedRun(arm, params, best)


def make_found_arm(run: RunFile, task: Task) -> Arm:
    """The arm of a run of one strategy, as its searches have left it."""
    (arm,) = make_arms(run.settings, task, run.strategies)
    if run.cells:
        arm = replace(arm, recipe=choose_cells(arm.recipe, run.cells))
    return resize_arm(arm, width=run.tuned_width)


def shape_params(arm: Arm) -> chex.ArrayTree:
    """Shapes and dtypes of the parameters of all seeds, [seeds, ...]."""
    one = outline_params(arm.recipe.model, arm.task.valid.batch())
    lanes = len(arm.recipe.seeds)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((lanes, *x.shape), x.dtype), one)


def best_seed(rows: Sequence[Row]) -> int:
    """The seed with the highest score on validation; among equals, with the least loss."""
    loss = lambda row: math.inf if row["nll"] is None else row["nll"]  # JSON has no infinity
    valid = [row for row in rows if row.get("split") == "valid"]
    return max(valid, key=lambda row: (row[find_score(row)], -loss(row)))["seed"]


def _find_best_seed(path: Path, rows: Sequence[Row], arm: Arm) -> int:
    try:
        best = best_seed(rows)
        arm.recipe.seeds.index(best)
    except (KeyError, TypeError, ValueError) as error:
        got = f"{type(error).__name__}: {error}"
        raise DataError(path, expected="a row on validation for each seed", got=got) from error
    return best


def _check_data(path: Path, rows: Sequence[Row], task: Task) -> None:
    """Raises DataError where rows of a run are not about a task as it is now."""
    was, now = {str(row.get("data")) for row in rows}, task.digest()
    if was != {now}:
        expected = f"the data that it was trained on, {' and '.join(sorted(was))}"
        fix = "Rows of other data are for TrainedRun.predict, in Python."
        raise DataError(path, expected=expected, got=f"{task.name} with {now}", fix=fix)


def evaluate_run(folder: Path, data: str | None, hidden: Sequence[str]) -> list[Row]:
    """Scores a trained run on validation and test, with some modalities hidden."""
    run = load_run(folder, data)
    return score_rows(run.arm, run.evaluate.predict, run.params, hidden)


def predict_run(folder: Path, data: str | None, split: str, layout: str, out: Path) -> int:
    """Writes a CSV with a line per row of a split and returns their number.

    A row's probabilities are the mean over the seeds. The layout ``probabilities`` has the columns
    row_id, label, p0, p1, ...; ``competition`` has row_id and label; the first is the row's number
    in the split, or its name where the task has ``meta["id"]``. Of several labels, label has
    those that are likelier than not, with spaces between them. Numbers have columns of their own in
    both layouts: row_id, y0, y1, ... Text is written as ``write_csv`` has it.
    """
    check_new_file(out)
    run = load_run(folder, data)
    rows = run.arm.task.splits[split]
    mean = run.predict(rows.inputs, rows.present)
    kind, names = run.arm.task.kind, run.arm.task.names or range(mean.shape[1])
    numbers = [f"{'y' if kind == 'numbers' else 'p'}{index}" for index in range(mean.shape[1])]
    shown = numbers if kind == "numbers" or layout == "probabilities" else []
    head = ["row_id", *(["label"] if kind != "numbers" else []), *shown]
    lines = (
        [row, *_label(p, kind, names), *(f"{x:.6g}" for x in p[: len(shown)])]
        for row, p in zip(rows.meta.get("id", range(len(mean))), mean, strict=True)
    )
    write_csv(out, [head, *lines])
    return len(mean)


def _label(p: np.ndarray, kind: Kind, names: Sequence[Any]) -> list[Any]:
    """The column label of a row, if there is one."""
    if kind == "numbers":
        return []
    if kind == "classes":
        return [names[int(p.argmax())]]
    return [" ".join(str(names[index]) for index in np.flatnonzero(p > 0.5).tolist())]


def embed_run(folder: Path, data: str | None, split: str, out: Path) -> dict[str, tuple[int, ...]]:
    """Writes an .npz of what ``TrainedRun.embed`` says of a split's rows; returns the shapes."""
    check_new_file(out)
    run = load_run(folder, data)
    rows = run.arm.task.splits[split]
    embeddings = run.embed(rows.inputs, rows.present)
    write_npz(out, embeddings)
    return {name: values.shape for name, values in embeddings.items()}
