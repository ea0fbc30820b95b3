"""Trained runs: loading, scoring, prediction and embeddings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import chex
import jax
import numpy as np

from mmjax.comparison.arm import Arm, resize_arm
from mmjax.comparison.cell_search import choose_cells
from mmjax.comparison.frozen import encode_rows, source_of
from mmjax.comparison.scores import Row, score_rows
from mmjax.data.codings import as_rows
from mmjax.data.coerce import check_mapping, drop_unnamed
from mmjax.data.coerce_inputs import as_input, as_numbers, shape_like
from mmjax.data.ragged import lengthen
from mmjax.data.targets import UNLABELLED, Kind, answers
from mmjax.data.task import Task
from mmjax.data.validate import check_input
from mmjax.errors import DataError, UsageError, look_up
from mmjax.metrics import goodness
from mmjax.runs.columns import read_table
from mmjax.runs.folder import check_new_file
from mmjax.runs.from_settings import make_arms, make_task
from mmjax.runs.run_file import RunFile, read_run_file
from mmjax.storage.files import whole_file, write_csv, write_npz
from mmjax.storage.manifest import check_listed
from mmjax.training import checkpoint
from mmjax.training.predict import Evaluate, make_evaluate
from mmjax.training.step import outline_params
from mmjax.types import Batch

Arrays = Mapping[str, np.ndarray]
Inputs = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A trained strategy; ``load_run`` has an example.

    Attributes:
        arm: the strategy, its recipe and its task.
        params: the best parameters of every seed, [seeds, ...].
        best_seed: the best seed on validation.
    """

    arm: Arm
    params: chex.ArrayTree
    best_seed: int

    def __getstate__(self) -> dict[str, Any]:
        """The fields, for pickle; compiled functions are made again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __repr__(self) -> str:
        seeds = ", ".join(map(str, self.arm.recipe.seeds))
        return f"TrainedRun({self.arm.strategy!r} on {self.arm.task}, seeds {seeds})"

    @cached_property
    def evaluate(self) -> Evaluate:
        """The compiled model: predictions and embeddings of every seed; see ``make_evaluate``."""
        return make_evaluate(self.arm.recipe.model)

    @cached_property
    def best(self) -> "TrainedRun":
        """The same run with its best seed only."""
        index = self.arm.recipe.seeds.index(self.best_seed)
        params = jax.tree.map(lambda x: x[index : index + 1], self.params)
        recipe = replace(self.arm.recipe, seeds=(self.best_seed,))
        return TrainedRun(replace(self.arm, recipe=recipe), params, self.best_seed)

    def predict(self, inputs: Inputs, present: Arrays | None = None) -> np.ndarray:
        """Predicts probabilities of classes or labels, or numbers, averaged over the seeds.

        Args:
            inputs: {modality: [rows, ...]} of every modality of ``arm.task``, in the shape of its
                rows or as ``Task.from_arrays`` accepts them, such as strings for text; uint8
                where the task has uint8. Where rows of the task differ in length, these may, too.
                None stands for a modality that no row has. Other modalities are ignored.
            present: {modality: [rows] bool}; by default a modality is present in every row.

        Returns:
            [rows, out_dim]; numbers are in the units given to ``Task.from_arrays``.

        Raises:
            UsageError: a modality is missing, or ``present`` has one that is not in ``inputs``.
            DataError: an array has the wrong shape or dtype, or is not finite.
        """
        task = self.arm.task
        prediction = self.evaluate.predict(self.params, self._rows(inputs, present))
        said = answers(prediction, task.kind).mean(axis=0)
        return said if task.scale is None else task.scale.restore(said)

    def embed(self, inputs: Inputs, present: Arrays | None = None) -> dict[str, np.ndarray]:
        """Embeds rows with the best seed; seeds do not share an embedding space.

        Args:
            inputs: as in ``predict``.
            present: as in ``predict``.

        Returns:
            {modality: [rows, features]}, the mean of its tokens; and "fused", the input of the
            fusion's readout, or the prediction if there is no joint representation.

        Raises:
            UsageError: as in ``predict``.
            DataError: as in ``predict``.
        """
        view = self.best.evaluate.view(self.best.params, self._rows(inputs, present))
        return {name: values[0] for name, values in view.embeddings.items()}

    def save_program(self, path: str | Path) -> None:
        """Writes the best seed as a StableHLO program, which needs JAX, but not mmjax, to run.

        Args:
            path: such as ``model.stablehlo``; an existing file is replaced.

        Raises:
            UsageError: the extra ``export`` is not installed.
            OSError: the file cannot be written.
        """
        from mmjax.runs.export.stablehlo import export_program

        content = export_program(self)
        with whole_file(Path(path)) as file:
            file.write(content)

    def _rows(self, inputs: Inputs, present: Arrays | None) -> Batch:
        """A checked batch of the rows."""
        task, present = source_of(self.arm.task), {} if present is None else present
        known = task.train.inputs
        check_mapping("inputs", inputs)
        check_mapping("present", present)
        for name in present:
            look_up("modality of present", name, inputs)
        for name in known:
            if name not in inputs:
                problem = f"modality {name!r} is missing; got {', '.join(inputs) or 'none'}"
                fix = f"If no row has it, pass {name!r}: None."
                raise UsageError("inputs", problem, fix=fix)
        given = {name: inputs[name] for name in known if inputs[name] is not None}
        if not given:
            raise UsageError("inputs", expected="at least one modality", got="None of each")
        rows = {name: self._read(name, values, present.get(name)) for name, values in given.items()}
        sizes = {name: len(values) for name, values in rows.items()}
        if len(set(sizes.values())) > 1:
            got = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise DataError("inputs", expected="as many rows of each modality", got=got)
        size = sizes.popitem()[1]
        everywhere = np.ones(size, bool)
        here = {name: np.asarray(present.get(name, everywhere)) for name in rows}
        for name in known.keys() - given:
            rows[name] = np.zeros((size, *known[name].shape[1:]), known[name].dtype)
            here[name] = ~everywhere
        for name, like in known.items():
            where = f"input {name!r}"
            shape, padded = (size, *like.shape[1:]), name in task.padded
            coding = task.codings.get(name)
            check_input(where, rows[name], here[name], shape, padded=padded, coding=coding)
            if rows[name].dtype != like.dtype:  # the model scales uint8, but not floats
                got = str(rows[name].dtype)
                raise DataError(where, expected=f"{like.dtype}, as in training", got=got)
        return encode_rows(self.arm.task, Batch(rows, here, np.full(size, UNLABELLED)))

    def _read(self, name: str, given: Any, present: Any) -> np.ndarray:
        """Converts an input as ``Task.from_arrays`` does."""
        task, where = source_of(self.arm.task), f"input {name!r}"
        shape, given = task.shapes[name], drop_unnamed(where, given)
        if name in task.codings:
            fits = present is not None and np.shape(present) == (len(as_rows(name, given)),)
            here = np.asarray(present, bool) if fits else None  # else it is rejected later
            return task.codings[name].encode(name, given, here)
        values = as_numbers(name, given, len(shape), shape[:2] if len(shape) == 3 else None)
        if name in task.padded and values.ndim > 1:
            values = values[..., None] if values.ndim == len(shape) else values
            values = lengthen(where, values, shape[0])
        return as_input(name, shape_like(name, values, shape))


def load_run(folder: str | Path, data: str | None = None) -> TrainedRun:
    """Loads the run folder of ``mmjax train`` or ``train_in``.

    It loads the task, too: the model scales inputs by statistics of the training rows.

    Args:
        folder: the run folder.
        data: where the task's files are now, if they have moved.

    Raises:
        DataError: a file of the folder is missing or malformed, or the data have changed since
            training.

    Example:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from rich.console import Console
        >>> import mmjax
        >>> from mmjax.runs.settings import Settings
        >>> from mmjax.runs.train import train_in
        >>> settings = Settings("synthetic", options=("size=60",), steps=2, seeds=1)
        >>> _ = train_in(Path("run"), settings, "sum", Console(quiet=True))  # or `mmjax train`
        >>> run = mmjax.load_run("run")
        >>> inputs = run.arm.task.test.inputs  # {modality: [rows, ...]}; your own rows, too
        >>> run.predict(inputs).shape, run.embed(inputs)["fused"].shape
        ((12, 2), (12, 64))
        >>> run.predict(inputs, present={"a": np.zeros(12, bool)}).shape  # without modality a
        (12, 2)
    """
    folder = Path(folder)
    run = read_run_file(folder)
    check_listed(folder, ".json", ".jsonl")
    if len(run.strategies) != 1:
        raise DataError(
            folder,
            expected="a run folder of `mmjax train`",
            got=f"a comparison of {len(run.strategies)} strategies, which saves no parameters",
            fix="Train one of them: `mmjax train STRATEGY`.",
        )
    if run.settings.folds:
        problem = "it was trained in folds, each of which has a model of its own"
        raise DataError(folder, problem, fix="Train without folds.")
    run = run._replace(settings=replace(run.settings, data=data)) if data else run
    arm = make_found_arm(run, make_task(run.settings))
    params = checkpoint.restore(folder / "checkpoint", shape_params(arm)).tree
    path, rows = folder / "rows.jsonl", read_table(folder, "rows")
    best = _find_best_seed(path, rows, arm)
    _check_data(path, rows, arm.task)
    return TrainedRun(arm, params, best)


def make_found_arm(run: RunFile, task: Task) -> Arm:
    """The arm of a run of one strategy, with the results of its searches."""
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
    """The seed with the best score on validation; ties are broken by the lowest loss."""
    loss = lambda row: math.inf if row["nll"] is None else row["nll"]  # JSON has no infinity
    valid = [row for row in rows if row.get("split") == "valid"]
    return max(valid, key=lambda row: (goodness(row), -loss(row)))["seed"]


def _find_best_seed(path: Path, rows: Sequence[Row], arm: Arm) -> int:
    try:
        best = best_seed(rows)
        arm.recipe.seeds.index(best)
    except (KeyError, TypeError, ValueError) as error:
        got = f"{type(error).__name__}: {error}"
        raise DataError(path, expected="a validation row for each seed", got=got) from error
    return best


def _check_data(path: Path, rows: Sequence[Row], task: Task) -> None:
    """Raises DataError if the task is not the one that a run was trained on."""
    was, now = {str(row.get("data")) for row in rows}, task.digest()
    if was != {now}:
        expected = f"the training data, sha256 {' and '.join(sorted(was))}"
        fix = "To predict other rows, use TrainedRun.predict in Python."
        raise DataError(path, expected=expected, got=f"{task.name} with {now}", fix=fix)


def evaluate_run(folder: Path, data: str | None, hidden: Sequence[str]) -> list[Row]:
    """Scores a trained run on validation and test, with some modalities hidden."""
    run = load_run(folder, data)
    return score_rows(run.arm, run.evaluate.predict, run.params, hidden)


def predict_run(folder: Path, data: str | None, split: str, layout: str, out: Path) -> int:
    """Writes predictions for a split as CSV, averaged over the seeds, and returns the row count.

    The layout ``probabilities`` has the columns row_id, label, and p_NAME of each class or label,
    or p0, p1, ... where they have no names; ``competition`` has row_id and label. Tasks that
    predict numbers have row_id, y0, y1, ... in both. row_id is ``meta["id"]`` if the task has it,
    or the row's number in the split. A multi-label ``label`` lists the labels with probability
    above 0.5, separated by spaces. Text is escaped as in ``write_csv``.
    """
    check_new_file(out)
    run = load_run(folder, data)
    rows = source_of(run.arm.task).splits[split]
    mean = run.predict(rows.inputs, rows.present)
    kind, names = run.arm.task.kind, run.arm.task.names or range(mean.shape[1])
    if kind == "numbers":
        numbers = [f"y{index}" for index in range(mean.shape[1])]
    else:
        numbers = [f"p_{name}" if run.arm.task.names else f"p{name}" for name in names]
    shown = numbers if kind == "numbers" or layout == "probabilities" else []
    head = ["row_id", *(["label"] if kind != "numbers" else []), *shown]
    lines = (
        [row, *_label(p, kind, names), *(f"{x:.6g}" for x in p[: len(shown)])]
        for row, p in zip(rows.meta.get("id", range(len(mean))), mean, strict=True)
    )
    write_csv(out, [head, *lines])
    return len(mean)


def _label(p: np.ndarray, kind: Kind, names: Sequence[Any]) -> list[Any]:
    """The ``label`` cell of a row; none for numbers."""
    if kind == "numbers":
        return []
    if kind == "classes":
        return [names[int(p.argmax())]]
    return [" ".join(str(names[index]) for index in np.flatnonzero(p > 0.5).tolist())]


def embed_run(folder: Path, data: str | None, split: str, out: Path) -> dict[str, tuple[int, ...]]:
    """Writes the embeddings of a split to an .npz file, and returns their shapes."""
    if out.suffix != ".npz":
        raise UsageError("out", expected="a file name that ends in .npz", got=str(out))
    check_new_file(out)
    run = load_run(folder, data)
    rows = source_of(run.arm.task).splits[split]
    embeddings = run.embed(rows.inputs, rows.present)
    write_npz(out, embeddings)
    return {name: values.shape for name, values in embeddings.items()}
