"""Checks the names that a command was given, before anything is loaded."""

from collections.abc import Iterable
from pathlib import Path

from mmjax.errors import look_up
from mmjax.registry import (
    ABSENCES,
    AUGMENTATIONS,
    DTYPES,
    ENCODERS,
    FUSIONS,
    METHODS,
    METRICS,
    OBJECTIVES,
    SAMPLINGS,
    TASKS,
    Strategy,
    parse_pairs,
    parse_strategy,
)
from mmjax.runs.search.space import Space, parse_choices
from mmjax.runs.settings import Settings, parse_augment, parse_shares


def check_settings(settings: Settings) -> None:
    """Checks all names in the settings but those of modalities, which the data decide.

    What only the task's loader and JAX know, its options and the axes of a mesh, comes last.

    Raises:
        UnknownNameError: a name is in no table.
        UsageError: an option is malformed.

    Example:
        >>> from mmjax.runs.names import check_settings
        >>> from mmjax.runs.settings import Settings
        >>> check_settings(Settings(dtype="float16"))
        Traceback (most recent call last):
            ...
        mmjax.errors.UnknownNameError: dtype: expected one of bfloat16, float32, got 'float16'. Did
            you mean 'bfloat16'?
    """
    _check("task", [settings.task], TASKS)
    _check("objective", [settings.objective] if settings.objective else [], OBJECTIVES)
    _check("method", [settings.method], METHODS)
    _check("metric", [settings.metric] if settings.metric else [], METRICS)
    for names in parse_augment(settings.augment).values():
        _check("augmentation", names, AUGMENTATIONS)
    _check("sampling", [settings.sampling], SAMPLINGS)
    _check("encoder", parse_pairs("encoders", settings.encoders).values(), ENCODERS)
    _check("absent", [settings.absent], ABSENCES)
    _check("dtype", [settings.dtype], DTYPES)
    parse_shares("missing", settings.missing)
    options = parse_pairs("options", settings.options)
    if options:
        from mmjax.tasks import parse_options

        parse_options(settings.task, options)
    if settings.mesh is not None:
        from mmjax.training.mesh import parse_mesh

        parse_mesh(settings.mesh)


def check_strategies(names: Iterable[str]) -> None:
    """Checks names of strategies: a fusion, perhaps of some modalities, or MODALITY_only.

    Raises:
        UnknownNameError: there is no such strategy.

    Example:
        >>> from mmjax.runs.names import check_strategies
        >>> check_strategies(["gmu", "sum@audio+image", "audio_only"])
    """
    for asked in map(parse_strategy, names):
        if not asked.member.endswith("_only"):
            _check("strategy, a fusion or MODALITY_only", [asked.member], FUSIONS)
        _check_choices(asked)


def check_base(base: str) -> None:
    """Checks the base of an ablation: a strategy, or the folder of a run.

    Raises:
        UnknownNameError: there is no such strategy.
        DataError: it is a folder without a run, or the path of none.
    """
    if "/" in base or Path(base).is_dir():
        from mmjax.runs.run_file import read_run_file

        read_run_file(Path(base))
    else:
        check_strategies([base])


def check_fusions(text: str) -> None:
    """Checks the names in a list of fusions, as ``parse_fusions`` takes it.

    Raises:
        UnknownNameError: there is no such fusion.
    """
    for asked in map(parse_strategy, text.split(",")):
        look_up("fusion", asked.member, dict.fromkeys([*FUSIONS, "core", "all"]))
        _check_choices(asked)


def _check_choices(asked: Strategy) -> None:
    members = [c for c in asked.choices if "=" not in c and not c.startswith("-")]
    _check("choice", members, [*METHODS, *OBJECTIVES])


def check_space(space: Space) -> None:
    """Checks the names in a search space.

    Raises:
        UnknownNameError: a name is in no table.
    """
    check_fusions(space.fusions)
    _check("method", space.methods, METHODS)
    for names in parse_choices(space).values():
        _check("encoder", names, ENCODERS)


def _check(kind: str, names: Iterable[str], table: Iterable[str]) -> None:
    for name in names:
        look_up(kind, name, dict.fromkeys(table))
