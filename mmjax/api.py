"""What `mmjax compare` does, for Python: one call, and a result that shows itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmjax.analysis.assessment import Assessment
from mmjax.analysis.study import Study, make_study
from mmjax.analysis.summary import Summary, majority_warnings
from mmjax.analysis.verdicts import Verdict
from mmjax.comparison.arm import Arm, all_strategies
from mmjax.comparison.outcomes import ArmFailure, ArmResult, Embedded, parse_examine
from mmjax.comparison.scores import Row
from mmjax.data.task import Task
from mmjax.errors import FailedArmsError, UsageError, import_extra, look_up
from mmjax.report.console import PlainConsole
from mmjax.report.tables import plain_table
from mmjax.runs.arms import run_arms, run_arms_in
from mmjax.runs.compare import compare_arms_in, conclude
from mmjax.runs.damage import end_changes
from mmjax.runs.folder import open_folder, put_study, remove_what_is_done_with
from mmjax.runs.from_settings import make_arms, parse_fusions
from mmjax.runs.run_file import RunFile, read_run_file
from mmjax.runs.settings import Settings
from mmjax.runs.studies import read_studies
from mmjax.runs.trained import TrainedRun, best_seed
from mmjax.storage.files import locked
from mmjax.training.recipe import FusionLike

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Result:
    """What came of a comparison: its rows, its verdict, its trained models.

    It prints as a table and a verdict, and shows them as HTML in a notebook.

    Attributes:
        run: what was asked for.
        study: all rows, predictions and learning curves.
        trained: {strategy: TrainedRun} of those that this process has trained, each of which
            predicts and embeds new rows.
        task: the data; None where the result was loaded.
        embedded: {strategy: embeddings of some rows}, where they were asked for.
    """

    run: RunFile
    study: Study
    trained: Mapping[str, TrainedRun] = field(default_factory=dict)
    task: Task | None = None
    embedded: Mapping[str, Embedded] = field(default_factory=dict)

    @property
    def failed(self) -> Mapping[str, str]:
        """{strategy: why}, of those that could not be trained; the others are not touched."""
        return self.study.failed

    @property
    def rows(self) -> list[Row]:
        """Flat rows of scores: one for each strategy, seed, split and set of hidden modalities."""
        return self.study.rows

    @property
    def summaries(self) -> list[Summary]:
        """A line of numbers for each strategy, the best on the scored split first."""
        return self._assessment.summaries

    @property
    def verdict(self) -> Verdict:
        """Whether fusion pays; ``str(result.verdict)`` says it in words."""
        return self._assessment.verdict

    @cached_property
    def _assessment(self) -> Assessment:
        return Assessment(self.study)

    @property
    def best(self) -> TrainedRun:
        """The strategy with the best score on validation, trained.

        Raises:
            UsageError: it was trained by another process; folders of comparisons keep no
                parameters.
        """
        name = max(self.study.strategies, key=self.study.on_validation)
        if name not in self.trained:
            raise UsageError(
                "best",
                expected=f"a result whose {name} was trained by this process",
                got="one that was loaded",
                fix="Compare again, or train it with `mmjax train` and load that with load_run.",
            )
        return self.trained[name]

    def __str__(self) -> str:
        failures = [f"{name} failed: {why}" for name, why in self.failed.items()]
        told = [*majority_warnings(self.summaries), str(self.verdict), *failures]
        return "\n".join([plain_table(self.summaries), "", *told])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from mmjax.report.notebook import result_html

        return result_html(self._assessment)

    def to_pandas(self) -> "pd.DataFrame":
        """``rows`` as a DataFrame.

        Raises:
            UsageError: pandas is not installed.
        """
        return import_extra("to_pandas", "pandas", "frames").DataFrame(self.rows)

    def to_xarray(self) -> "xr.Dataset":
        """Scores and costs over strategy, seed and split, of what is a number in ``rows``.

        Raises:
            UsageError: xarray is not installed.
        """
        import_extra("to_xarray", "xarray", "frames")
        frame = self.to_pandas()
        axes = ["strategy", "seed", "split"]
        shown = frame[frame["hidden"] == ""]
        return shown.set_index(axes).select_dtypes("number").to_xarray()

    def to_latex(self) -> str:
        r"""A table for a paper, verdict in its caption; needs ``\usepackage{booktabs}``."""
        from mmjax.report.latex import table_of

        return table_of(self._assessment, "comparison")

    def plot(self) -> "Figure":
        """What each strategy adds to the best modality alone, or the scores where none is judged.

        A matplotlib Figure: ``result.plot().savefig("gains.png")``.
        """
        from mmjax.report.sections import main_drawing

        return main_drawing(self._assessment).figure

    def save_report(self, path: str | Path) -> None:
        """Writes the report page, which needs nothing but itself."""
        from mmjax.report.figures.pictures import draw_pictures
        from mmjax.report.page import write_page

        if self.task and not self.study.pictures:
            drawn = draw_pictures(self.task, self._assessment, self.embedded)
            self.study.pictures.update(drawn)
        write_page([self._assessment], Path(path))

    def save(self, folder: str | Path) -> None:
        """Writes a folder as `mmjax compare` does: rows, predictions, figures and the report.

        ``load_result`` reads it, and so do `mmjax report` and `mmjax verify`. Parameters are not in
        it: `mmjax export` writes those of a trained run.

        Args:
            folder: a new one, or an empty one.

        Raises:
            UsageError: the folder has files.
            OSError: it cannot be written.
        """
        out = Path(folder)
        with locked(out):
            open_folder(out, self.run, resume=False)
            put_study(out, self.study, self.embedded)
            conclude(out, self.task, self.embedded)
            end_changes(out, {}, PlainConsole(quiet=True))
            remove_what_is_done_with(out)


def compare(
    task: Task,
    fusions: str | Sequence[FusionLike] = "core",
    *,
    subsets: bool = False,
    examine: str | Sequence[str] = "all",
    out: str | Path | None = None,
    resume: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Result:
    """Trains fusion strategies and every unimodal baseline on a task, and compares them.

    Parameters are chosen on validation, and the test split is only reported on.

    Args:
        task: the data.
        fusions: names of fusions, "core", ten of most kinds, or "all"; Flax modules, of
            the zoo with other hyperparameters or your own; classes of them that need only
            ``out_dim``.
        subsets: each named fusion on every subset of two modalities or more, too.
        examine: what to measure beyond scores: "all", "scores" for nothing, or some of "missing"
            and "corruptions" (of modalities), "embeddings", "weights" (of modalities) and "cost".
        out: a new folder that is filled while the comparison runs, as `mmjax compare` does; by
            default everything stays in memory.
        resume: go on with the comparison in the folder ``out``; arms that are done stay.
        quiet: print nothing while it trains.
        **settings: as for the command `mmjax compare`: seeds, steps, batch_size, learning_rate,
            objective, method, encoders={"audio": "gru"} and the others of ``Settings``.

    Raises:
        UnknownNameError: there is no such fusion, objective, method, examination or setting.
        UsageError: a setting has a value that cannot work, a fusion is not for such targets, gives
            something else or is none, two have one name, or the folder is not usable.
        FailedArmsError: not one strategy could be trained.

    Example:
        >>> import mmjax
        >>> task = mmjax.load_task("synthetic", options={"size": "60"})
        >>> options = {"examine": "scores", "quiet": True}
        >>> result = mmjax.compare(task, ["sum"], seeds=2, steps=4, **options)
        >>> sorted(result.trained)
        ['a_only', 'b_only', 'sum']
        >>> result.best.predict(task.test.inputs).shape == (task.test.size, task.out_dim)
        True
    """
    if not isinstance(task, Task):
        fix = "Task.from_arrays makes one."
        raise UsageError("task", expected="a Task", got=type(task).__name__, fix=fix)
    if resume and out is None:
        raise UsageError("resume", expected="out, the folder of a comparison", got="none")
    arms = _make_arms(task, fusions, subsets, chosen := _make_settings(task, settings))
    run = RunFile(chosen, [arm.strategy for arm in arms], parse_examine(examine))
    console = PlainConsole(stderr=True, quiet=quiet)
    console.print(_tell_encoders(arms))
    outcomes: list[ArmResult | ArmFailure] = []
    if out is None:
        sink = outcomes.append
        failed = run_arms(task, arms, console, sink=sink, examine=run.examine)
        if len(failed) == len(arms):
            raise FailedArmsError("; ".join(f"{name}: {why}" for name, why in failed.items()))
        study = make_study(task, _results(outcomes), failed)
    else:
        into = partial(run_arms_in, also=outcomes.append)
        study = compare_arms_in(Path(out), run, task, arms, console, into, resume=resume)
    results = {result.arm.strategy: result for result in _results(outcomes)}
    trained = {
        name: TrainedRun(one.arm, one.trained.params, best_seed(one.rows))
        for name, one in results.items()
    }
    embedded = {name: one.embedded for name, one in results.items() if one.embedded}
    return Result(run, study, trained, task, embedded)


def load_result(folder: str | Path) -> Result:
    """Reads what ``Result.save``, ``compare(out=...)`` or `mmjax compare` wrote.

    Args:
        folder: of one comparison.

    Raises:
        DataError: a file is missing, damaged, or is not what its name promises.

    Example:
        >>> import mmjax
        >>> task = mmjax.load_task("synthetic", options={"size": "60"})
        >>> options = {"examine": "scores", "quiet": True}
        >>> result = mmjax.compare(task, ["sum"], seeds=2, steps=4, **options)
        >>> result.save("comparison")
        >>> mmjax.load_result("comparison").rows == result.rows
        True
    """
    run = read_run_file(Path(folder))
    (study,) = read_studies([Path(folder)])
    return Result(run, study)


def _results(outcomes: Sequence[ArmResult | ArmFailure]) -> list[ArmResult]:
    return [outcome for outcome in outcomes if isinstance(outcome, ArmResult)]


def _make_arms(
    task: Task, fusions: str | Sequence[FusionLike], subsets: bool, settings: Settings
) -> list[Arm]:
    named = [fusions] if isinstance(fusions, str) else [f for f in fusions if isinstance(f, str)]
    own = [] if isinstance(fusions, str) else [f for f in fusions if not isinstance(f, str)]
    names = parse_fusions(",".join(named), task.kind) if named else ()
    strategies: list[FusionLike] = [*all_strategies(task, names, subsets=subsets), *own]
    arms = make_arms(settings, task, strategies)
    if len({arm.strategy for arm in arms}) < len(arms):
        got = ", ".join(arm.strategy for arm in arms)
        raise UsageError("fusions", expected="each name once", got=got)
    return arms


def _tell_encoders(arms: Sequence[Arm]) -> str:
    """By which encoder each modality is read, and as what: the baselines say."""
    told = []
    for arm in arms:
        if len(arm.task.modalities) == 1:
            ((name, encoder),) = arm.recipe.model.encoders.items()
            shape = arm.task.shapes[name]
            sizes = [f"{axis} {n}" for axis, n in zip(_AXES[len(shape)], shape, strict=True)]
            told.append(f"{name} {type(encoder).__name__} ({', '.join(sizes)})")
    return f"encoders: {', '.join(told)}"


_AXES = {1: ("features",), 2: ("length", "features"), 3: ("height", "width", "channels")}


_OF_TASK = ("task", "data", "options", "missing")


def _make_settings(task: Task, given: Mapping[str, Any]) -> Settings:
    """Settings as Python has them: mappings where the command line has NAME=VALUE."""
    known = [field.name for field in fields(Settings) if field.name not in _OF_TASK]
    for name in given:
        look_up("setting", name, dict.fromkeys(known))

    def plain(value):
        if isinstance(value, Mapping):
            return tuple(f"{name}={part}" for name, part in value.items())
        return value.item() if isinstance(value, np.generic) else value

    values: dict[str, Any] = {name: plain(value) for name, value in given.items()}
    return Settings(task=task.name, **values)
