"""Builds tasks and arms from settings."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mmjax.comparison.arm import Arm, make_arm, match_arm, resize_arm
from mmjax.data.missing import lose
from mmjax.data.targets import Kind
from mmjax.data.task import Task
from mmjax.errors import UsageError, look_up
from mmjax.registry import CORE, FUSIONS, METHODS, OBJECTIVES, parse_pairs
from mmjax.runs.settings import Settings, parse_shares
from mmjax.tasks import load_task
from mmjax.training.mesh import check_mesh
from mmjax.training.optimiser import Adam
from mmjax.training.recipe import FusionLike, suits


def make_task(settings: Settings) -> Task:
    """Loads the task, and removes modalities from training rows as ``settings.missing`` says."""
    task = load_task(settings.task, settings.data, parse_pairs("options", settings.options))
    return lose(task, parse_shares("missing", settings.missing))


def make_arms(settings: Settings, task: Task, strategies: Sequence[FusionLike]) -> list[Arm]:
    """Builds an arm for each strategy on the loaded task.

    Raises:
        UnknownNameError: a name is not registered.
        UsageError: a number is out of range.
    """
    if settings.mesh is not None:
        check_mesh(settings.mesh, seed=settings.seeds, data=settings.batch_size)
    encoders = parse_pairs("encoders", settings.encoders)
    for name in encoders:
        look_up("modality of an encoder", name, task.shapes)
    recipe: dict[str, Any] = {
        "encoders": encoders,
        "absent": settings.absent,
        "objective": look_up("objective", settings.objective, OBJECTIVES),
        "method": look_up("method", settings.method, METHODS)(),
        "tx": Adam(settings.learning_rate, settings.weight_decay),
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
    made = [resize(make_arm(task, strategy, **recipe)) for strategy in strategies]
    arms = [replace(arm, trials=settings.tune) for arm in made]
    if settings.match_params is None:
        return arms
    return [match_arm(arm, settings.match_params) for arm in arms]


def parse_fusions(text: str, kind: Kind) -> tuple[str, ...]:
    """Parses comma-separated names, or ``core`` or ``all``: those that suit a kind of target.

    A name may be ``FUSION@A+B``, which uses modalities A and B only.

    Raises:
        UnknownNameError: there is no such fusion.
        UsageError: a name is repeated.

    Example:
        >>> from mmjax.runs.from_settings import parse_fusions
        >>> parse_fusions("gmu, sum@audio+image", "classes")
        ('gmu', 'sum@audio+image')
        >>> "concat" in parse_fusions("core", "numbers")
        True
    """
    if text in ("core", "all"):
        names = CORE if text == "core" else FUSIONS.usable()
        return tuple(name for name in names if suits(FUSIONS[name], kind))
    names = tuple(name.strip() for name in text.split(","))
    seen = set()
    for name in names:
        fusion, _, chosen = name.partition("@")
        look_up("fusion", fusion, FUSIONS)
        seen.add((fusion, frozenset(chosen.split("+"))))
    if len(seen) < len(names):
        raise UsageError("fusions", expected="each name once", got=repr(text))
    return names
