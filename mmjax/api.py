"""Comparisons from Python: ``compare`` and the ``Result`` that it returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mmjax.analysis.assessment import Assessment
from mmjax.analysis.study import Study, make_study
from mmjax.analysis.summary import Summary, majority_warnings
from mmjax.analysis.verdicts import Verdict
from mmjax.comparison.ablation import Ablation
from mmjax.comparison.arm import Arm, StrategyLike, all_strategies
from mmjax.comparison.factors import MethodLike, ObjectiveLike
from mmjax.comparison.frozen import read_in_units
from mmjax.comparison.outcomes import ArmFailure, ArmResult, Embedded
from mmjax.comparison.scores import Row
from mmjax.comparison.variants import Choices, as_list
from mmjax.data.folds import fold_task
from mmjax.data.task import Task
from mmjax.errors import FailedArmsError, UsageError, import_extra, look_up
from mmjax.metrics import MetricLike, make_metric, with_metric
from mmjax.registry import AUGMENTATIONS, ENCODERS, METHODS, OBJECTIVES
from mmjax.report.console import PlainConsole
from mmjax.report.frames import save_rows, tidy_rows
from mmjax.report.score_table import table_for
from mmjax.report.tables import plain_table
from mmjax.runs.arms import run_arms, run_arms_in
from mmjax.runs.bases import as_base
from mmjax.runs.compare import compare_arms_in, conclude
from mmjax.runs.damage import end_changes
from mmjax.runs.folder import check_new_folder, put_study
from mmjax.runs.from_settings import make_arms, parse_fusions
from mmjax.runs.plan import Asked, plan_ablation
from mmjax.runs.run_file import RunFile, read_run_file, write_run_file
from mmjax.runs.settings import Settings, parse_examine
from mmjax.runs.studies import read_studies
from mmjax.runs.trained import TrainedRun, best_seed
from mmjax.storage.compile_cache import cached_programs
from mmjax.storage.locks import locked
from mmjax.training.augment import AugmentationLike
from mmjax.training.class_weights import name_class_weights
from mmjax.training.optimiser import OptimiserLike
from mmjax.training.recipe import EncoderLike, FusionLike, Recipe, name_member

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Result:
    """The result of a comparison: its rows, its verdict, its trained models.

    Prints as a table with a verdict, and displays as HTML in a notebook.

    Attributes:
        run: the settings of the comparison.
        study: all rows, predictions and learning curves.
        trained: {strategy: TrainedRun} of the strategies trained by this process; a TrainedRun
            predicts and embeds new rows.
        task: the data; None for a result that was loaded.
        embedded: {strategy: embeddings of some rows}, if they were examined.
    """

    run: RunFile
    study: Study
    trained: Mapping[str, TrainedRun] = field(default_factory=dict)
    task: Task | None = None
    embedded: Mapping[str, Embedded] = field(default_factory=dict)

    @property
    def failed(self) -> Mapping[str, str]:
        """{strategy: error} of the strategies that could not be trained."""
        return self.study.failed

    @property
    def rows(self) -> list[Row]:
        """Flat rows of scores: one per strategy, seed, split and set of hidden modalities."""
        return self.study.rows

    @property
    def summaries(self) -> list[Summary]:
        """One summary per strategy, best score on the reported split first."""
        return self._assessment.summaries

    @property
    def verdict(self) -> Verdict:
        """Whether fusion pays; ``str(result.verdict)`` puts it in words."""
        return self._assessment.verdict

    @cached_property
    def _assessment(self) -> Assessment:
        return Assessment(self.study)

    @property
    def best(self) -> TrainedRun:
        """The trained strategy with the best score on validation, which ``pickle`` can keep.

        Raises:
            UsageError: it was read from a folder or trained by another process, and its parameters
                were not kept.
        """
        name = max(self.study.strategies, key=self.study.on_validation)
        if name not in self.trained:
            raise UsageError(
                "best",
                f"{name} was not trained here or only in folds, and comparisons save no parameters",
                fix="Compare without folds, or train it with `mmjax train` and load that folder "
                "with load_run.",
            )
        return self.trained[name]

    def __str__(self) -> str:
        failures = [f"{name} failed: {why}" for name, why in self.failed.items()]
        told = [*majority_warnings(self.summaries), str(self.verdict), *failures]
        return "\n".join([plain_table(table_for(self._assessment)), "", *told])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from mmjax.report.notebook import result_html

        return result_html(self._assessment)

    def to_pandas(self) -> "pd.DataFrame":
        """``rows`` as a pandas DataFrame, with a column for each factor of an ablation.

        Raises:
            UsageError: pandas is not installed.
        """
        return import_extra("to_pandas", "pandas", "frames").DataFrame(tidy_rows([self.study]))

    def save_rows(self, path: str | Path) -> None:
        """Writes the columns of ``to_pandas`` to a file .csv or .parquet.

        Raises:
            UsageError: the file has another suffix, or pyarrow, which writes Parquet, is missing.
            OSError: the file cannot be written.
        """
        save_rows([self.study], Path(path))

    def to_xarray(self) -> "xr.Dataset":
        """The numeric columns of ``rows``, by strategy, seed and split, with no modality hidden.

        Results of folds are also by repeat and fold.

        Raises:
            UsageError: xarray is not installed.
        """
        import_extra("to_xarray", "xarray", "frames")
        frame = self.to_pandas()
        axes = ["strategy", "seed", "split", *(n for n in ("repeat", "fold") if n in frame)]
        shown = frame[frame["hidden"] == ""]
        return shown.set_index(axes).select_dtypes("number").to_xarray()

    def to_latex(self) -> str:
        r"""A table for a paper, verdict in its caption; needs ``\usepackage{booktabs}``."""
        from mmjax.report.paper import table_of

        return table_of(self._assessment, "comparison")

    def save_paper(self, folder: str | Path, venue: str | None = None) -> None:
        """Writes ``to_latex`` and every figure as PDF to a folder.

        Args:
            folder: created if necessary; files of the same names are replaced.
            venue: "neurips", "icml", "acl", "ieee" or "cvpr", whose sizes and font figures get.

        Raises:
            UnknownNameError: there is no such venue.
            OSError: a file cannot be written.
        """
        from mmjax.report.paper import write_paper

        write_paper([self._assessment], Path(folder), venue)

    def plot(self) -> "Figure":
        """The gain of each strategy over the baseline of the verdict, as a Matplotlib figure.

        Without a verdict, the scores. ``result.plot().savefig("gains.png")`` saves it.
        """
        from mmjax.report.drawings import main_drawing

        return main_drawing(self._assessment).figure

    def save_report(self, path: str | Path) -> None:
        """Writes the report as one self-contained HTML file."""
        from mmjax.report.page import write_page

        self._draw_pictures()
        write_page([self._assessment], Path(path))

    def save(self, folder: str | Path) -> None:
        """Writes a folder like that of `mmjax compare`: rows, predictions, figures, report.

        ``load_result``, `mmjax report` and `mmjax verify` read it. Parameters are not saved.

        Args:
            folder: a new or empty folder.

        Raises:
            UsageError: the folder contains files.
            OSError: the folder cannot be written.
        """
        out = Path(folder)
        with locked(out):
            check_new_folder(out)
            write_run_file(out, self.run)
            self._draw_pictures()
            put_study(out, self.study)
            conclude(out)
            end_changes(out, {}, PlainConsole(quiet=True))

    def _draw_pictures(self) -> None:
        """Draws those that need the data, once; a study from a folder has them already."""
        from mmjax.report.figures.pictures import draw_pictures

        if self.task and not self.study.pictures:
            drawn = draw_pictures(self.task, self._assessment, self.embedded)
            self.study.pictures.update(drawn)


def compare(
    task: Task,
    fusions: str | Sequence[FusionLike] = "core",
    *,
    encoders: Mapping[str, EncoderLike | Sequence[EncoderLike]] = {},
    objective: ObjectiveLike | Sequence[ObjectiveLike] | None = None,
    method: MethodLike | Sequence[MethodLike] = "joint",
    augment: Mapping[str, AugmentationLike | Sequence[AugmentationLike]] = {},
    class_weights: str | Mapping[Any, float] | Sequence[float] | None = None,
    metric: MetricLike | None = None,
    optimizer: OptimiserLike | None = None,
    subsets: bool = False,
    examine: str | Sequence[str] = "all",
    out: str | Path | None = None,
    resume: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Result:
    """Trains fusion strategies and all unimodal baselines on a task, and compares them.

    Parameters are selected on validation; the test split is used for reporting only. Compiled
    programs and features of frozen encoders are kept in the user's cache folder for later
    comparisons; with JAX_ENABLE_COMPILATION_CACHE=false in the environment nothing is kept.

    Whatever has a name in a table of the zoo may also be an object of your own. For encoders,
    objective and method, a list compares alternatives side by side; a strategy's name ends with
    what is not the default, as in ``concat:ogm_ge+image=patches``.

    Args:
        task: the data.
        fusions: "core" (ten fusions that cover most kinds), "all", or a list of names of fusions,
            Flax modules, and module classes that need only ``out_dim``.
        encoders: {modality: encoder}: a name, a Flax module, a class that needs no arguments, or
            what ``mmjax.encoders.pretrained`` makes; by default the shape of an input decides.
        objective: a name, or a function ``(outputs, batch) -> (loss, {metric: value})``; by default
            that of the fusion's paper where it has one of its own, otherwise ``cross_entropy``.
        method: the name of a training method, or an instance.
        augment: {modality: augmentations of its training inputs}, applied in this order: names,
            instances such as ``AUGMENTATIONS["crop"](padding=2)``, and functions ``(key, x [batch,
            ...]) -> x``, which see inputs as encoders do.
        class_weights: weights of classes in the loss: "balanced", inversely proportional to their
            training rows; {class: weight}, 1 for classes that are not named; or [classes].
        metric: what models are selected by and compared in: a name, or a function ``(probabilities
            or numbers, target) -> float``, where higher is better; by default accuracy, and R2 for
            numbers.
        optimizer: an Optax optimiser in place of Adam, used as it is, or a function that makes one
            for a number of steps.
        subsets: also train each named fusion on every proper subset of at least two modalities.
        examine: what to measure beyond scores: "all"; "full", with corruptions of every row rather
            than of 512; "scores" for nothing; or a list of "missing" (modalities hidden at test),
            "corruptions", "embeddings", "weights" (of modalities) and "cost".
        out: new folder to fill while the comparison runs, like that of `mmjax compare`; by default
            everything stays in memory.
        resume: continue the comparison in the folder ``out``; completed arms are not repeated.
        quiet: print nothing during training.
        **settings: settings of `mmjax compare`: seeds, steps, batch_size, learning_rate, mixup,
            sampling and the other fields of ``Settings``.

    Returns:
        the result. Strategies that failed are listed in ``Result.failed``.

    Raises:
        UnknownNameError: there is no such fusion, objective, method, augmentation, class, metric,
            examination or setting.
        UsageError: a setting is invalid; a fusion or the metric does not support this kind of
            target; a fusion returns the wrong shape, or shares its name with another; an encoder
            cannot read its modality; an augmentation changes shape or dtype; classes are weighed
            where there are none, or where the objective ignores their weights; or the folder cannot
            be used.
        DataError: the features of a frozen encoder are not finite.
        FailedArmsError: all strategies failed.

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
    setup = _set_up(
        task,
        Choices(encoders, objective, method),
        settings,
        augment=augment,
        class_weights=class_weights,
        metric=metric,
        optimizer=optimizer,
    )
    arms = setup.make(_find_strategies(task, fusions, subsets))
    return setup.run(arms, examine, out=out, resume=resume, quiet=quiet)


def ablate(
    task: Task,
    base: StrategyLike | Recipe | TrainedRun | Path,
    vary: Mapping[str, Any] = {},
    drop: str | Sequence[str] = (),
    *,
    design: str | None = None,
    runs: int | None = None,
    learning_rates: Sequence[float] = (),
    budget: str | None = None,
    encoders: Mapping[str, EncoderLike] = {},
    objective: ObjectiveLike | None = None,
    method: MethodLike = "joint",
    augment: Mapping[str, AugmentationLike | Sequence[AugmentationLike]] = {},
    class_weights: str | Mapping[Any, float] | Sequence[float] | None = None,
    metric: MetricLike | None = None,
    optimizer: OptimiserLike | None = None,
    examine: str | Sequence[str] = "scores",
    out: str | Path | None = None,
    resume: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Result:
    """Trains variants of a strategy, and tests what each change to it does.

    Every variant is compared with the base, paired by seed and by row, and corrected for the number
    of variants. A grid and a fractional design also give the effect of each factor over all values
    of the others, and a grid gives interactions.

    Args:
        task: the data.
        base: a fusion, as in ``compare``; the name of a strategy; a ``Recipe``; or a finished run,
            as ``load_run`` returns it, or the ``Path`` of its folder. Of a comparison, the best
            fusion on validation is taken.
        vary: {factor: its values, or {name: value}}. Factors are the fields of the recipe and of
            the fusion, such as ``learning_rate`` and ``width``; ``encoders.M``,
            ``encoders.M.width`` and ``augment.M`` of modality M; ``method``, ``method.alpha``,
            ``objective``, ``optimizer``, ``fusion``; and ``modalities``, ``train`` (share of
            training rows) and ``missing.M``. ``modalities="subsets"`` stands for all subsets.
        drop: components that variants lack: those that members declare as ``removable``, such as
            ``positions``; ``dropout``; modalities; ``modalities`` for each of them, and
            ``components`` for all that are declared.
        design: ``one-at-a-time`` (the base, and one change at a time), ``grid`` (all combinations),
            ``leave-one-out`` (all changes but one, against all of them) or ``fractional`` (few
            combinations that suffice for main effects).
        runs: number of variants of a fractional design.
        learning_rates: at which every variant is trained; that which is best on validation counts.
            By default that of the base, and where variants differ in size also a third and three
            times it, so that no size is favoured by a rate that was tuned for another.
        budget: wall time such as ``10min``: a few steps of the base are timed, and the most
            informative design that fits is taken.
        encoders: as in ``compare``, one per modality.
        objective: that of the base.
        method: that of the base.
        augment: as in ``compare``.
        class_weights: as in ``compare``.
        metric: as in ``compare``.
        optimizer: as in ``compare``.
        examine: as in ``compare``.
        out: as in ``compare``.
        resume: as in ``compare``.
        quiet: print nothing during training.
        **settings: as in ``compare``.

    Returns:
        the result, whose ``verdict`` says what matters, by how much, and what could not be seen.

    Raises:
        UnknownNameError: there is no such factor, component, design, member or setting.
        UsageError: as in ``compare``; or a value cannot be read, a factor is varied and tuned, or
            no design fits the budget.
        DataError: the features of a frozen encoder are not finite.
        FailedArmsError: all variants failed.

    Example:
        >>> import mmjax
        >>> task = mmjax.load_task("synthetic", options={"size": "60"})
        >>> result = mmjax.ablate(
        ...     task, "gmu", {"dropout": [0.0, 0.3]}, seeds=2, steps=4, quiet=True
        ... )
        >>> sorted(result.trained)
        ['gmu', 'gmu:dropout=0', 'gmu:dropout=0.3']
    """
    strategy, own = as_base(base, task.modalities if isinstance(task, Task) else ())
    given: dict[str, Any] = {
        "encoders": encoders,
        "objective": objective,
        "method": method,
        "augment": augment,
        "class_weights": class_weights,
        "metric": metric,
        "optimizer": optimizer,
    }
    usual = {"encoders": {}, "method": "joint", "augment": {}}
    for name in given.keys() & own.keys():
        if repr(given[name]) != repr(usual.get(name)):
            problem = f"the base has {name} of its own"
            raise UsageError(name, problem, fix="Vary it, or name a fusion as the base.")
    given |= own
    choices = Choices(*(given.pop(name) for name in Choices._fields))
    known = {name: given.pop(name) for name in ("augment", "class_weights", "metric", "optimizer")}
    setup = _set_up(task, choices, {**given, **settings}, **known)
    dropped = drop.split(",") if isinstance(drop, str) else drop
    asked = Asked(vary, dropped, design, runs, learning_rates, budget)
    console = PlainConsole(stderr=True, quiet=quiet)
    ablation, arms = plan_ablation(setup.task, strategy, asked, setup.make, console)
    return setup.run(arms, examine, out=out, resume=resume, quiet=quiet, ablation=ablation)


class _Setup(NamedTuple):
    """What the arms of a comparison share."""

    task: Task
    settings: Settings
    choices: Choices
    augment: Mapping[str, AugmentationLike | Sequence[AugmentationLike]]
    optimizer: OptimiserLike | None

    def make(self, strategies: Sequence[StrategyLike]) -> list[Arm]:
        """Their arms, each with a name of its own."""
        beside = self.choices, self.augment, self.optimizer
        arms = make_arms(self.settings, self.task, strategies, *beside)
        if len({arm.strategy for arm in arms}) < len(arms):
            got = ", ".join(arm.strategy for arm in arms)
            raise UsageError("fusions", expected="each name once", got=got)
        return arms

    def run(
        self,
        arms: Sequence[Arm],
        examine: str | Sequence[str],
        *,
        out: str | Path | None,
        resume: bool,
        quiet: bool,
        ablation: Ablation | None = None,
    ) -> Result:
        """Trains arms in memory or in a folder."""
        if resume and out is None:
            fix = "Name it by out=..."
            raise UsageError("resume", "there is no folder to resume from", fix=fix)
        names = [arm.strategy for arm in arms]
        run = RunFile(self.settings, names, parse_examine(examine), ablation=ablation)
        console = PlainConsole(stderr=True, quiet=quiet)
        console.print(_tell_encoders(arms))
        outcomes: list[ArmResult | ArmFailure] = []
        task, sink = self.task, outcomes.append
        with cached_programs(console.print):
            if out is None:
                failed = run_arms(task, arms, console, sink=sink, examine=run.examine)
                if len(failed) == len(arms):
                    reasons = (f"{name}: {why}" for name, why in failed.items())
                    raise FailedArmsError("; ".join(reasons))
                study = make_study(task, _results(outcomes), failed, ablation)
            else:
                into = partial(run_arms_in, also=sink)
                study = compare_arms_in(Path(out), run, task, arms, console, into, resume=resume)
        results = {result.arm.strategy: result for result in _results(outcomes)}
        trained = {
            name: TrainedRun(one.arm, one.trained.params, best_seed(one.rows))
            for name, one in results.items()
            if not one.arm.parts  # each fold has a model of its own
        }
        embedded = {name: one.embedded for name, one in results.items() if one.embedded}
        return Result(run, study, trained, task, embedded)


def _set_up(
    task: Task,
    choices: Choices,
    settings: Mapping[str, Any],
    *,
    augment: Mapping[str, AugmentationLike | Sequence[AugmentationLike]],
    class_weights: str | Mapping[Any, float] | Sequence[float] | None,
    metric: MetricLike | None,
    optimizer: OptimiserLike | None,
) -> _Setup:
    if not isinstance(task, Task):
        fix = "Task.from_arrays builds one from arrays."
        raise UsageError("task", expected="a Task", got=type(task).__name__, fix=fix)
    settings = {
        **settings,
        "metric": None if metric is None else make_metric(metric, task.kind).name,
        "augment": _name_augmentations(augment),
        "class_weights": name_class_weights(task, class_weights),
    }
    chosen = _make_settings(task, settings, choices, optimizer)
    if chosen.folds:
        own = read_in_units(choices.encoders)
        task = fold_task(task, chosen.folds, chosen.repeats, in_units=own)
    return _Setup(with_metric(task, metric), chosen, choices, augment, optimizer)


def load_result(folder: str | Path) -> Result:
    """Reads a comparison written by ``Result.save``, ``compare(out=...)`` or `mmjax compare`.

    Args:
        folder: folder of the comparison.

    Returns:
        the result, without trained models, which a comparison does not keep.

    Raises:
        DataError: a file is missing, corrupted or malformed.

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


def _name_augmentations(augment: Mapping[str, Any]) -> tuple[str, ...]:
    """The setting ``augment``, in which objects have names."""
    if not isinstance(augment, Mapping):
        raise UsageError("augment", expected="{modality: augmentations}", got=f"{augment!r:.80}")
    names = lambda given: "+".join(name_member(one, AUGMENTATIONS) for one in as_list(given))
    return tuple(f"{modality}={names(given)}" for modality, given in augment.items())


def _results(outcomes: Sequence[ArmResult | ArmFailure]) -> list[ArmResult]:
    return [outcome for outcome in outcomes if isinstance(outcome, ArmResult)]


def _find_strategies(
    task: Task, fusions: str | Sequence[FusionLike], subsets: bool
) -> list[FusionLike]:
    named = [fusions] if isinstance(fusions, str) else [f for f in fusions if isinstance(f, str)]
    own = [] if isinstance(fusions, str) else [f for f in fusions if not isinstance(f, str)]
    names = parse_fusions(",".join(named), task.kind) if named else ()
    return [*all_strategies(task, names, subsets=subsets), *own]


def _tell_encoders(arms: Sequence[Arm]) -> str:
    """A line that names the encoder of each modality, and the axes of its input."""
    told = []
    for arm in arms:
        if len(arm.task.modalities) == 1:
            ((name, encoder),) = arm.recipe.model.encoders.items()
            shape, coding = arm.task.shapes[name], arm.task.codings.get(name)
            axes = _AXES[len(shape)] if coding is None else (coding.axis,)
            sizes = [f"{axis} {n}" for axis, n in zip(axes, shape, strict=True)]
            told.append(f"{name} {type(encoder).__name__} ({', '.join(sizes)})")
    return f"encoders: {', '.join(told)}"


_AXES = {
    1: ("features",),
    2: ("length", "features"),
    3: ("height", "width", "channels"),
    4: ("time or depth", "height", "width", "channels"),
}


_OF_TASK = ("task", "data", "options", "missing")
_OF_ADAM = ("learning_rate", "weight_decay", "tune")


def _make_settings(
    task: Task, given: Mapping[str, Any], choices: Choices, optimizer: object
) -> Settings:
    """Settings from Python values, in which objects have names."""
    if not isinstance(choices.encoders, Mapping):
        got = f"{choices.encoders!r:.80}"
        raise UsageError("encoders", expected="{modality: encoder}", got=got)
    known = [field.name for field in fields(Settings) if field.name not in _OF_TASK]
    for name in given:
        look_up("setting", name, dict.fromkeys(known))
    if optimizer is not None and (both := [name for name in _OF_ADAM if given.get(name)]):
        problem = f"optimizer and {both[0]} are mutually exclusive"
        raise UsageError("optimizer", problem, fix="Give it a learning rate of its own.")
    plain = lambda value: value.item() if isinstance(value, np.generic) else value
    values: dict[str, Any] = {name: plain(value) for name, value in given.items()}
    names = lambda value, table: ",".join(name_member(v, table) for v in as_list(value))
    return Settings(
        task=task.name,
        encoders=tuple(f"{m}={names(e, ENCODERS)}" for m, e in choices.encoders.items()),
        objective=None if choices.objective is None else names(choices.objective, OBJECTIVES),
        method=names(choices.method, METHODS),
        **values,
    )
