"""What `mmjax compare` does, for Python: one call, and a result that shows itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmjax.analysis.answers import Answers, make_answers
from mmjax.analysis.study import Study
from mmjax.analysis.summary import Summary, majority_warnings, summarise
from mmjax.analysis.verdicts import Verdict, judge
from mmjax.comparison.arm import Arm, all_strategies
from mmjax.comparison.loop import compare_arms
from mmjax.comparison.scores import Row, history_rows, labels
from mmjax.data.task import Task
from mmjax.errors import FailedArmsError, UsageError, import_extra, look_up
from mmjax.report.console import PlainConsole
from mmjax.report.progress import ComparisonProgress
from mmjax.report.tables import plain_table
from mmjax.runs.from_settings import make_arms, parse_fusions
from mmjax.runs.settings import Settings
from mmjax.runs.trained import TrainedRun, best_seed
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
        study: all rows, predictions and learning curves.
        trained: {strategy: TrainedRun}, each of which predicts and embeds new rows.
    """

    study: Study
    trained: Mapping[str, TrainedRun]

    @property
    def failed(self) -> Mapping[str, str]:
        """{strategy: why}, of those that could not be trained; the others are not touched."""
        return self.study.failed

    @property
    def rows(self) -> list[Row]:
        """Flat rows of scores: one for each strategy, seed and split."""
        return self.study.rows

    @cached_property
    def summaries(self) -> list[Summary]:
        """A line of numbers for each strategy, the best on the scored split first."""
        return summarise(self.rows)

    @cached_property
    def verdict(self) -> Verdict:
        """Whether fusion pays; ``str(result.verdict)`` says it in words."""
        return judge(self._answers)

    @cached_property
    def _answers(self) -> Answers | None:
        return make_answers(self.study)

    @property
    def best(self) -> TrainedRun:
        """The strategy with the best score on validation, trained."""
        return self.trained[max(self.trained, key=self.study.on_validation)]

    def __str__(self) -> str:
        failures = [f"{name} failed: {why}" for name, why in self.failed.items()]
        told = [*majority_warnings(self.summaries), str(self.verdict), *failures]
        return "\n".join([plain_table(self.summaries), "", *told])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from mmjax.report.notebook import result_html

        return result_html(self.study, self._answers, self.verdict)

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
        numbers = frame.set_index(axes).select_dtypes("number")
        return numbers.to_xarray()

    def plot(self) -> "Figure":
        """What each strategy adds to the best modality alone, or the scores where none is judged.

        A matplotlib Figure: ``result.plot().savefig("gains.png")``.
        """
        from mmjax.report.sections import main_drawing

        return main_drawing(self.study, self._answers, self.verdict).figure

    def save_report(self, path: str | Path) -> None:
        """Writes the report page, which needs nothing but itself."""
        from mmjax.report.page import write_page

        write_page([self.study], Path(path))


def compare(
    task: Task,
    fusions: str | Sequence[FusionLike] = "core",
    *,
    subsets: bool = False,
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
        quiet: print nothing while it trains.
        **settings: as for the command `mmjax compare`: seeds, steps, batch_size, learning_rate,
            objective, method, encoders={"audio": "gru"} and the others of ``Settings``.

    Raises:
        UnknownNameError: there is no such fusion, objective, method or setting.
        UsageError: a setting has a value that cannot work, a fusion is not for such targets, gives
            something else or is none, or two have one name.
        FailedArmsError: not one strategy could be trained.
    """
    if not isinstance(task, Task):
        fix = "Task.from_arrays makes one."
        raise UsageError("task", expected="a Task", got=type(task).__name__, fix=fix)
    named = [fusions] if isinstance(fusions, str) else [f for f in fusions if isinstance(f, str)]
    own = [] if isinstance(fusions, str) else [f for f in fusions if not isinstance(f, str)]
    names = parse_fusions(",".join(named), task.kind) if named else ()
    strategies: list[FusionLike] = [*all_strategies(task, names, subsets=subsets), *own]
    arms = make_arms(_make_settings(task, settings), task, strategies)
    if len({arm.strategy for arm in arms}) < len(arms):
        got = ", ".join(arm.strategy for arm in arms)
        raise UsageError("fusions", expected="each name once", got=got)
    trained, failed, history = {}, {}, []
    console = PlainConsole(stderr=True, quiet=quiet)
    console.print(_tell_encoders(arms))
    with ComparisonProgress(arms, console) as progress:

        def on_arm(arm, fitted, scored):
            trained[arm.strategy] = TrainedRun(arm, fitted.params, best_seed(scored.rows))
            history.extend(history_rows(arm, fitted))
            progress.on_arm(arm, scored.rows)

        def on_error(arm, error):
            failed[arm.strategy] = f"{type(error).__name__}: {error}".splitlines()[0]
            progress.on_error(arm, failed[arm.strategy])

        done = compare_arms(arms, on_arm=on_arm, on_error=on_error, progress=progress.on_steps)
    if not trained:
        raise FailedArmsError("; ".join(f"{name}: {why}" for name, why in failed.items()))
    study = Study(
        task=task.name,
        folders=(),
        rows=done.rows,
        history=history,
        tables={},
        predictions=done.predictions,
        labels=labels(task),
        commands=(),
        pictures={},
        failed=failed,
    )
    return Result(study, trained)


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
