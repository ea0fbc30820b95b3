"""Builds tasks and arms from settings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mmjax.comparison.arm import Arm, StrategyLike, make_arm, match_arm, resize_arm
from mmjax.comparison.frozen import FrozenEncoders, read_in_units
from mmjax.comparison.variants import Choices, variants
from mmjax.data.folds import fold_task
from mmjax.data.missing import lose
from mmjax.data.targets import Kind
from mmjax.data.task import Task
from mmjax.errors import UsageError, look_up
from mmjax.metrics import with_metric
from mmjax.registry import CORE, FUSIONS, parse_pairs, parse_strategy
from mmjax.runs.settings import Settings, parse_augment, parse_shares
from mmjax.tasks import load_task
from mmjax.training.augment import AugmentationLike, make_augmentations
from mmjax.training.class_weights import make_class_weights
from mmjax.training.mesh import check_mesh
from mmjax.training.optimiser import Adam, OptimiserLike, make_optimiser
from mmjax.training.recipe import suits


def make_task(settings: Settings) -> Task:
    """Loads the task, and removes modalities from training rows as ``settings.missing`` says."""
    task = load_task(settings.task, settings.data, parse_pairs("options", settings.options))
    missing = parse_shares("missing", settings.missing)
    if not settings.folds:
        return with_metric(lose(task, missing), settings.metric)
    own = read_in_units(parse_pairs("encoders", settings.encoders))
    task = fold_task(task, settings.folds, settings.repeats, in_units=own, missing=missing)
    return with_metric(task, settings.metric)


def make_arms(
    settings: Settings,
    task: Task,
    strategies: Sequence[StrategyLike],
    choices: Choices | None = None,
    augment: Mapping[str, AugmentationLike | Sequence[AugmentationLike]] | None = None,
    optimizer: OptimiserLike | None = None,
) -> list[Arm]:
    """Builds the arms of each strategy on the loaded task.

    Args:
        settings: what all arms share.
        task: the data.
        strategies: names, or fusions of your own.
        choices: encoders, objectives and methods; by default, those in the settings.
        augment: augmentations of each modality; by default, those in the settings.
        optimizer: in place of Adam.

    Raises:
        UnknownNameError: a name is not registered.
        UsageError: a number is out of range.
    """
    if settings.mesh is not None:
        check_mesh(settings.mesh, seed=settings.seeds, data=settings.batch_size)
    if choices is None:
        encoders = parse_pairs("encoders", settings.encoders)
        choices = Choices(encoders, settings.objective, settings.method)
    if augment is None:
        augment = parse_augment(settings.augment)
    adam = Adam(settings.learning_rate, settings.weight_decay)
    recipe: dict[str, Any] = {
        "absent": settings.absent,
        "tx": adam if optimizer is None else make_optimiser(optimizer, settings.steps),
        "augment": make_augmentations(task, augment),
        "mixup": settings.mixup,
        "sampling": settings.sampling,
        "dropout": settings.dropout,
        "batch_size": settings.batch_size,
        "accumulate": settings.accumulate,
        "dtype": settings.dtype,
        "remat": settings.remat,
        "mesh": settings.mesh,
        "steps": settings.steps,
        "seeds": tuple(range(settings.seeds)),
    }
    resize = partial(resize_arm, width=settings.width, num_layers=settings.num_layers)
    frozen = FrozenEncoders()

    def build(task: Task, strategy: StrategyLike, **given: Any) -> Arm:
        weights = make_class_weights(task, settings.class_weights)
        own = {"frozen": frozen, "class_weights": weights, **given, **recipe}
        arm = replace(resize(make_arm(task, strategy, **own)), trials=settings.tune)
        for setting, names in _SEARCHED.items():
            if getattr(settings, setting) and (both := {*names} & {*arm.changes}):
                problem = f"{arm.strategy} states its {min(both)}, which {setting} would change"
                raise UsageError(setting, problem, fix="Leave out one of them.")
        return arm if settings.match_params is None else match_arm(arm, settings.match_params)

    def build_folds(strategy: StrategyLike, **given: Any) -> Arm:
        whole = build(task, strategy, **given)
        parts = [replace(build(fold.task, strategy, **given), fold=fold) for fold in task.folds]
        return replace(whole, parts=tuple(parts))

    return [
        build_folds(strategy, choices=names, **given)
        for strategy in strategies
        for names, given in variants(choices, task, strategy)
    ]


_SEARCHED = {
    "tune": ("learning_rate", "weight_decay", "width", "fusion.width"),
    "match_params": ("width", "fusion.width"),
}


def parse_fusions(text: str, kind: Kind) -> tuple[str, ...]:
    """Parses comma-separated names; ``core`` and ``all`` stand for those that suit a target.

    A name may be ``FUSION@A+B``, which uses modalities A and B only, or ``FUSION:focal``, with
    another objective, method or encoder; see ``parse_strategy``.

    Raises:
        UnknownNameError: there is no such fusion.
        UsageError: a name is repeated.

    Example:
        >>> from mmjax.runs.from_settings import parse_fusions
        >>> parse_fusions("gmu, sum@audio+image", "classes")
        ('gmu', 'sum@audio+image')
        >>> parse_fusions("core,gmu:focal", "numbers")[-2:]
        ('late_mean', 'gmu:focal')
    """
    names: list[str] = []
    for name in (name.strip() for name in text.split(",")):
        if name in ("core", "all"):
            group = CORE if name == "core" else FUSIONS.usable()
            names += [member for member in group if suits(FUSIONS[member], kind)]
        else:
            names.append(name)
    asked = [parse_strategy(name) for name in names]
    for one in asked:
        look_up("fusion", one.member, FUSIONS)
    if len({(one.member, *map(frozenset, one[1:])) for one in asked}) < len(names):
        raise UsageError("fusions", expected="each name once", got=repr(text))
    return tuple(names)
