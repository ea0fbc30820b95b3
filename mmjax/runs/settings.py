"""The settings of a run as plain values, for the command line and for JSON; imports no JAX."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_origin

from mmjax.errors import UsageError, look_up
from mmjax.registry import EXAMINATIONS, FULL, parse_pairs


@dataclass(frozen=True)
class Settings:
    """The task, and the training setup that all arms of a run share.

    Attributes:
        task: name of the task; `mmjax zoo` lists them.
        data: folder with the task's files, for tasks that read files.
        options: options of the task as NAME=VALUE, such as split=speaker test_speaker=george.
        encoders: encoders as MODALITY=NAME, such as audio=gru; by default the shape of an input
            decides.
        objective: name of the loss; by default that of the fusion's paper, or cross_entropy.
        method: name of the training method.
        augment: augmentations of training inputs as MODALITY=NAME+NAME, such as image=crop+flip,
            applied in this order.
        mixup: mix training rows of the same modalities, with shares from a Beta distribution with
            this parameter, such as 0.2; by default they are not mixed.
        class_weights: weights of classes in the loss: balanced, inversely proportional to their
            training rows; or CLASS=WEIGHT, 1 for classes that are not named.
        sampling: which training rows an epoch takes: shuffled, each once; or balanced, each class
            equally often.
        metric: by which models are selected and compared; by default accuracy, and R2 for numbers.
        seeds: number of seeds, counted from 0; all train in one program.
        folds: number of folds of a cross-validation that tests every labelled row; 0 for the
            task's own split.
        repeats: number of times that the rows are dealt into folds.
        steps: training steps of each seed; early stopping on validation may end it before.
        batch_size: rows per step.
        accumulate: number of equal parts of a batch whose gradients are computed in turn and
            averaged, to save memory.
        dtype: dtype of the computation in training, float32 or bfloat16; parameters, loss and
            evaluation stay in float32.
        remat: recompute transformer blocks in the backward pass instead of storing activations.
        mesh: devices by axis, such as data=4,seed=2: data shards the rows of a batch, seed the
            seeds, model the outputs of wide layers.
        learning_rate: peak learning rate, after warm-up.
        weight_decay: weight decay of AdamW, relative to the learning rate.
        dropout: rate of all dropout layers; by default each layer has its own.
        width: width of the fusion, rounded up to a multiple of its heads; by default its own.
        num_layers: number of layers of a fusion that has layers; by default its own.
        absent: what stands in for a modality that a row lacks: mask, zero, mean or learned.
        missing: fraction of training rows in which to hide a modality, as MODALITY=FRACTION.
        tune: number of random-search trials that select the learning rate, weight decay and width
            of each arm on validation, baselines included; 0 for none.
        match_params: number of parameters to which the width of each fusion is fitted; by default
            each fusion keeps its own width.

    Raises:
        UsageError: a value has the wrong type or is out of range.

    Example:
        >>> from mmjax.runs.settings import Settings, as_flags
        >>> as_flags(Settings(seeds=3, encoders=("audio=gru",)))
        '--encoders audio=gru --seeds 3'
    """

    task: str = "digits"
    data: str | None = None
    options: tuple[str, ...] = ()
    encoders: tuple[str, ...] = ()
    objective: str | None = None
    method: str = "joint"
    augment: tuple[str, ...] = ()
    mixup: float | None = None
    class_weights: tuple[str, ...] = ()
    sampling: str = "shuffled"
    metric: str | None = None
    seeds: int = 5
    folds: int = 0
    repeats: int = 1
    steps: int = 200
    batch_size: int = 64
    accumulate: int = 1
    dtype: str = "float32"
    remat: bool = False
    mesh: str | None = None
    learning_rate: float = 3e-3
    weight_decay: float = 0.0
    dropout: float | None = None
    width: int | None = None
    num_layers: int | None = None
    absent: str = "mask"
    missing: tuple[str, ...] = ()
    tune: int = 0
    match_params: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_type(field.name, field.type, getattr(self, field.name))
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                least = f"at least {low}" if low else "0 or more"
                expected = f"at most {high:,}" if value > high else least
                raise UsageError(name, expected=expected, got=str(value))
        if self.folds == 1 or (self.repeats > 1 and not self.folds):
            got = f"folds={self.folds} and repeats={self.repeats}"
            raise UsageError("folds", expected="at least 2", got=got)
        if self.width is not None and self.match_params is not None:
            problem = "width and match_params are mutually exclusive"
            raise UsageError("match_params", problem, fix="Leave out one of them.")


_RANGES = {  # larger values are typing errors that would exhaust memory before anything is said
    "seeds": (1, 10_000),
    "folds": (0, 1000),
    "repeats": (1, 100),
    "steps": (1, 2**31 - 1),
    "batch_size": (1, 2**31 - 1),
    "accumulate": (1, 2**31 - 1),
    "width": (1, 10**6),
    "num_layers": (1, 1000),
    "tune": (0, 10_000),
    "match_params": (1, 10**9),
}


@dataclass(frozen=True)
class Launch:
    """Where the arms of a comparison run.

    Attributes:
        launcher: how to run each arm in a process of its own: local, on this machine; submitit, on
            SLURM where it is available; or ray. By default all arms run in this process.
        workers: number of arms that run at once.
        request: resources of a worker as NAME=VALUE: parameters of submitit, such as
            slurm_partition=gpu, or options of a Ray task, such as num_gpus=1.
    """

    launcher: Literal["local", "submitit", "ray"] | None = None
    workers: int = 1
    request: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError("workers", expected="at least 1", got=str(self.workers))
        if self.launcher is None and self.workers > 1:
            raise UsageError(
                "workers", "more than one worker needs a launcher", fix="Add --launcher local."
            )
        if self.launcher in (None, "local") and self.request:
            problem = f"launcher {self.launcher} takes no requests"
            raise UsageError("request", problem, fix="Choose the launcher submitit or ray.")


def _check_type(name: str, kind: Any, value: object) -> None:
    """Raises UsageError for a value of the wrong type, which a file may contain."""
    if get_origin(kind) is tuple:
        fits = isinstance(value, tuple) and all(isinstance(word, str) for word in value)
    else:
        fits = isinstance(value, kind | int if kind in (float, float | None) else kind)
    if not fits or isinstance(value, bool) != (kind is bool):  # a bool is an int, too
        raise UsageError(name, expected=getattr(kind, "__name__", str(kind)), got=f"{value!r:.80}")


def check_same(started: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises UsageError if what is resumed was started with other values than are asked for now.

    Args:
        started: what it is.
        was: {name: value} of then.
        now: {name: value} of now.

    Example:
        >>> check_same("the run", was={"seeds": 5}, now={"seeds": 5})
    """
    differing = [f"{n} {was.get(n)!r}, not {x!r}" for n, x in now.items() if was.get(n) != x]
    if differing:
        problem = f"{started} was started with other settings: {'; '.join(differing)}"
        raise UsageError("resume", problem, fix="Use the same settings, or choose another folder.")


def parse_settings(content: Mapping[str, Any]) -> Settings:
    """Settings from a mapping, as read from JSON.

    Raises:
        UsageError: a value is invalid.
        TypeError: there is no such setting.

    Example:
        >>> from mmjax.runs.settings import parse_settings
        >>> parse_settings({"encoders": ["audio=gru"], "seeds": 3}).encoders
        ('audio=gru',)
    """
    as_tuple = lambda value: tuple(value) if isinstance(value, list) else value
    given: dict[str, Any] = {name: as_tuple(value) for name, value in content.items()}
    return Settings(**given)


def parse_shares(argument: str, pairs: Sequence[str]) -> dict[str, float]:
    """Parses ``["a=0.5"]`` into ``{"a": 0.5}``.

    Raises:
        UsageError: an entry lacks a name, or its value is not a number.

    Example:
        >>> from mmjax.runs.settings import parse_shares
        >>> parse_shares("missing", ["audio=0.5"])
        {'audio': 0.5}
    """
    shares = {}
    for name, value in parse_pairs(argument, pairs).items():
        try:
            shares[name] = float(value)
        except ValueError as error:
            raise UsageError(argument, expected="NAME=NUMBER", got=f"{name}={value!r}") from error
    return shares


def parse_augment(pairs: Sequence[str]) -> dict[str, list[str]]:
    """Parses ``["image=crop+flip"]`` into ``{"image": ["crop", "flip"]}``.

    Raises:
        UsageError: an entry lacks a name or an equals sign, or a name is repeated.

    Example:
        >>> from mmjax.runs.settings import parse_augment
        >>> parse_augment(["image=crop+flip"])
        {'image': ['crop', 'flip']}
    """
    return {name: names.split("+") for name, names in parse_pairs("augment", pairs).items()}


def parse_examine(asked: str | Sequence[str]) -> tuple[str, ...]:
    """The names of ``EXAMINATIONS`` that "all", "full", "scores" or a list of names stand for.

    "full" itself is among the names it stands for.

    Raises:
        UnknownNameError: there is no such examination.
        UsageError: it is no name and no list of names.

    Example:
        >>> from mmjax.runs.settings import parse_examine
        >>> parse_examine("scores"), parse_examine(["cost", "missing"])
        ((), ('missing', 'cost'))
    """
    if not isinstance(asked, (str, Sequence)):
        raise UsageError("examine", expected="a name or a list of names", got=repr(asked))
    names = [asked] if isinstance(asked, str) else list(asked)
    if names == ["scores"]:
        return ()
    if names == ["all"]:
        return EXAMINATIONS
    for name in names:
        look_up("examine", name, dict.fromkeys(("all", FULL, "scores", *EXAMINATIONS)))
    if {"all", "scores"} & set(names):
        raise UsageError("examine", expected="all or scores alone", got=", ".join(names))
    if FULL in names:
        return (*EXAMINATIONS, FULL)
    return tuple(name for name in EXAMINATIONS if name in names)


def as_flags(settings: Settings) -> str:
    """The command-line flags of all settings that differ from their defaults.

    Example:
        >>> from mmjax.runs.settings import Settings, as_flags
        >>> as_flags(Settings(encoders=("audio=gru",), seeds=3))
        '--encoders audio=gru --seeds 3'
    """
    flags = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value != field.default:
            words = value if isinstance(value, tuple) else [] if value is True else [str(value)]
            flags += [f"--{field.name.replace('_', '-')}", *words]
    return shlex.join(flags)
