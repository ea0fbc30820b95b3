"""From a space to what a trial is, and from that to the settings that train it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mmjax.comparison.cell_search import is_open
from mmjax.data.task import Task
from mmjax.errors import UsageError
from mmjax.fusion import FUSIONS
from mmjax.registry import parse_pairs
from mmjax.runs.from_settings import make_arms, parse_fusions
from mmjax.runs.search.space import SEARCHED, Space
from mmjax.runs.settings import Settings

if TYPE_CHECKING:
    from optuna import Trial

NUMBERS = ("learning_rate", "weight_decay", "dropout")
"""In these alone do trials differ that train as one program."""
_ENCODER = "encoder_"

Params = Mapping[str, Any]
"""What a trial is: a value of each of its parameters."""


def parse_space(settings: Settings, space: Space, task: Task) -> tuple[str, ...]:
    """The fusions to choose among, once all that can be chosen is known to exist.

    Of `all` those are left out that have a search of their own.

    Raises:
        UsageError: a setting names what is searched; or a name or number cannot be.
    """
    plain = Settings()
    for name in ("tune", "match_params", *SEARCHED):
        if getattr(settings, name) != getattr(plain, name):
            use = f"--{SEARCHED[name].replace('_', '-')}" if name in SEARCHED else "nothing"
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(name, expected=f"{use} in its place", got=flag)
    fusions = parse_fusions(space.fusions, task.kind)
    arms = make_arms(settings, task, fusions)
    for name, source in SEARCHED.items():
        for value in getattr(space, source):
            make_arms(replace(settings, **{name: value}), task, fusions[:1])
    for modality, names in _encoder_choices(space).items():
        for name in names:
            make_arms(replace(settings, encoders=(f"{modality}={name}",)), task, fusions[:1])
    closed = tuple(arm.strategy for arm in arms if not is_open(arm.recipe))
    if closed != fusions and space.fusions != "all":
        raise UsageError("fusions", expected="none with a search of its own", got=space.fusions)
    return closed


def suggest(trial: "Trial", space: Space, fusions: Sequence[str]) -> None:
    """Has an Optuna trial choose a value of each parameter that its fusion has."""
    fusion = FUSIONS[trial.suggest_categorical("fusion", fusions)]
    if not hasattr(fusion, "method"):
        trial.suggest_categorical("method", space.methods)
    if getattr(fusion, "level", None) != "input":
        for modality, names in _encoder_choices(space).items():
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
    """The parameters that trials must share to train as one program."""
    return {name: value for name, value in params.items() if name not in NUMBERS}


def rows_seen(settings: Settings, size: int) -> int:
    """How many of ``size`` training rows the settings train on, again and again.

    A batch has at most all of them.
    """
    return settings.steps * min(settings.batch_size, size)


def apply_params(settings: Settings, params: Params, size: int) -> tuple[str, Settings]:
    """The strategy of a trial, and the settings that train it.

    Whatever its batch size, it sees as many rows: the settings' steps are of their batch size.

    Args:
        settings: what no trial changes.
        params: what the trial is.
        size: number of training rows.
    """
    params = dict(params)
    strategy = params.pop("fusion")
    steps = max(1, round(rows_seen(settings, size) / min(params["batch_size"], size)))
    encoders = parse_pairs("encoders", settings.encoders)
    for name in [name for name in params if name.startswith(_ENCODER)]:
        encoders[name.removeprefix(_ENCODER)] = params.pop(name)
    pairs = tuple(f"{modality}={name}" for modality, name in encoders.items())
    return strategy, replace(settings, encoders=pairs, steps=steps, **params)


def _encoder_choices(space: Space) -> dict[str, list[str]]:
    pairs = parse_pairs("encoder_choices", space.encoder_choices)
    return {modality: names.split(",") for modality, names in pairs.items()}
