"""Turns a search space into trial parameters, and those into settings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mmjax.comparison.cell_search import is_open
from mmjax.data.task import Task
from mmjax.errors import UsageError
from mmjax.registry import FUSIONS, METHODS, parse_pairs
from mmjax.runs.from_settings import make_arms, parse_fusions
from mmjax.runs.search.space import SEARCHED, Space, parse_choices
from mmjax.runs.settings import Settings

if TYPE_CHECKING:
    from optuna import Trial

NUMBERS = ("learning_rate", "weight_decay", "dropout")
"""Parameters in which trials that train as one program may differ."""
_ENCODER = "encoder_"

Params = Mapping[str, Any]
"""{parameter: value} of a trial."""


def parse_space(settings: Settings, space: Space, task: Task) -> tuple[str, ...]:
    """Validates a search space, and returns its fusions.

    ``all`` excludes fusions that have a search of their own.

    Raises:
        UsageError: a setting fixes what is searched; or a name or number is invalid.

    Example:
        >>> import mmjax
        >>> from mmjax.runs.search.params import parse_space
        >>> from mmjax.runs.search.space import Space
        >>> from mmjax.runs.settings import Settings
        >>> parse_space(Settings(), Space(fusions="gmu,sum"), mmjax.load_task("synthetic"))
        ('gmu', 'sum')
    """
    plain = Settings()
    for name in ("tune", "match_params", *SEARCHED):
        if getattr(settings, name) != getattr(plain, name):
            fix = f"Use --{SEARCHED[name].replace('_', '-')}." if name in SEARCHED else ""
            raise UsageError(name, "cannot be set in a search", fix=fix)
    fusions = parse_fusions(space.fusions, task.kind)
    arms = make_arms(settings, task, fusions)
    for name, source in SEARCHED.items():
        for value in getattr(space, source):
            make_arms(replace(settings, **{name: value}), task, fusions[:1])
    for modality, names in parse_choices(space).items():
        for name in names:
            make_arms(replace(settings, encoders=(f"{modality}={name}",)), task, fusions[:1])
    closed = tuple(arm.strategy for arm in arms if not is_open(arm.recipe))
    if closed != fusions and space.fusions != "all":
        own = ", ".join(name for name in fusions if name not in closed)
        raise UsageError("fusions", f"{own} cannot be tuned: it has a search of its own")
    return closed


def suggest(trial: "Trial", space: Space, fusions: Sequence[str]) -> None:
    """Suggests a value for each parameter that the trial's fusion has."""
    fusion = FUSIONS[trial.suggest_categorical("fusion", fusions)]
    if not hasattr(fusion, "method"):
        method = trial.suggest_categorical("method", space.methods)
        for field, values in getattr(METHODS[method], "tried", {}).items():
            trial.suggest_categorical(f"{method}.{field}", values)
    if getattr(fusion, "level", None) != "input":
        for modality, names in parse_choices(space).items():
            trial.suggest_categorical(_ENCODER + modality, names)
    if hasattr(fusion, "width"):
        trial.suggest_categorical("width", space.widths)
    if hasattr(fusion, "num_layers"):
        trial.suggest_categorical("num_layers", space.depths)
    trial.suggest_categorical("batch_size", space.batch_sizes)
    for name, log in zip(NUMBERS, (True, True, False), strict=True):
        low, high = getattr(space, SEARCHED[name])
        trial.suggest_float(name, low, high, log=log and low < high)


def without_numbers(params: Params) -> dict[str, Any]:
    """The parameters that trials must share to train as one program.

    Example:
        >>> from mmjax.runs.search.params import without_numbers
        >>> without_numbers({"fusion": "gmu", "width": 32, "learning_rate": 0.01})
        {'fusion': 'gmu', 'width': 32}
    """
    return {name: value for name, value in params.items() if name not in NUMBERS}


def rows_seen(settings: Settings, size: int) -> int:
    """Number of rows that the settings train on, with repetition, from ``size`` training rows.

    Example:
        >>> from mmjax.runs.search.params import rows_seen
        >>> from mmjax.runs.settings import Settings
        >>> rows_seen(Settings(steps=10, batch_size=64), size=1000)
        640
    """
    return settings.steps * min(settings.batch_size, size)


def apply_params(settings: Settings, params: Params, size: int) -> tuple[str, Settings]:
    """The strategy of a trial, and its settings.

    Steps are scaled by the batch size, so that all trials train on equally many rows.

    Args:
        settings: the settings that all trials share.
        params: parameters of the trial.
        size: number of training rows.

    Example:
        >>> from mmjax.runs.search.params import apply_params
        >>> from mmjax.runs.settings import Settings
        >>> params = {"fusion": "gmu", "batch_size": 32}
        >>> strategy, settings = apply_params(Settings(steps=10, batch_size=64), params, 1000)
        >>> strategy, settings.batch_size, settings.steps
        ('gmu', 32, 20)
    """
    params = dict(params)
    strategy = params.pop("fusion")
    steps = max(1, round(rows_seen(settings, size) / min(params["batch_size"], size)))
    encoders = parse_pairs("encoders", settings.encoders)
    for name in [name for name in params if name.startswith(_ENCODER)]:
        encoders[name.removeprefix(_ENCODER)] = params.pop(name)
    pairs = tuple(f"{modality}={name}" for modality, name in encoders.items())
    own = [name for name in params if "." in name]  # fields of the method, after its name
    pieces = [f"method.{name.partition('.')[2]}={params.pop(name)}" for name in own]
    strategy = f"{strategy}:{'+'.join(pieces)}" if pieces else strategy
    return strategy, replace(settings, encoders=pairs, steps=steps, **params)
