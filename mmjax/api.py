"""Comparisons and ablations from Python."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmjax.analysis.study import make_study
from mmjax.comparison.ablation import Ablation
from mmjax.comparison.arm import Arm, StrategyLike, all_strategies
from mmjax.comparison.factors import MethodLike, ObjectiveLike
from mmjax.comparison.frozen import read_in_units
from mmjax.comparison.outcomes import ArmFailure, ArmResult
from mmjax.comparison.variants import Choices, as_list
from mmjax.data.folds import fold_task
from mmjax.data.task import Task
from mmjax.errors import FailedArmsError, UsageError, look_up
from mmjax.metrics import MetricLike, make_metric, with_metric
from mmjax.registry import AUGMENTATIONS, ENCODERS, METHODS, OBJECTIVES
from mmjax.report.console import PlainConsole
from mmjax.runs.arms import run_arms, run_arms_in
from mmjax.runs.bases import as_base
from mmjax.runs.compare import compare_arms_in
from mmjax.runs.from_settings import make_arms, parse_fusions
from mmjax.runs.plan import Asked, plan_ablation
from mmjax.runs.result import Result
from mmjax.runs.run_file import RunFile
from mmjax.runs.settings import Settings, parse_examine
from mmjax.runs.trained import TrainedRun, best_seed
from mmjax.storage.compile_cache import cached_programs
from mmjax.training.augment import AugmentationLike
from mmjax.training.class_weights import name_class_weights
from mmjax.training.optimiser import OptimiserLike
from mmjax.training.recipe import EncoderLike, FusionLike, Recipe, name_member


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
    if not isinstance(fusions, str | Sequence):
        expected = "a name, or a list of names, fusion classes and modules"
        raise UsageError("fusions", expected=expected, got=f"{fusions!r:.80}")
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
