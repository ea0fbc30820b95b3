"""What a command line says about a run, as plain values that JSON keeps; imports no JAX."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_origin

from mmjax.errors import UsageError
from mmjax.registry import parse_pairs


@dataclass(frozen=True)
class Settings:
    """The task and the training that every arm of a run shares.

    Attributes:
        task: name of the task; `mmjax zoo` lists them.
        data: folder with the task's files, for tasks that read files.
        options: options of the task as NAME=VALUE, such as split=speaker test_speaker=george.
        encoders: encoders as MODALITY=NAME, such as audio=gru; the others follow from the shape of
            the input.
        objective: name of the loss.
        method: name of the training method.
        seeds: number of seeds, from 0; all train in one program.
        steps: train steps of each seed; validation may end training earlier.
        batch_size: rows per step.
        accumulate: parts of a batch whose gradients are taken one after another, in as much less
            memory, and averaged.
        dtype: of the computation in training, float32 or bfloat16; parameters, loss and evaluation
            are float32.
        remat: compute transformer blocks again for their gradient, in place of keeping them.
        mesh: devices by axis, such as data=4,seed=2: data deals out the rows of a batch, seed the
            seeds, model the outputs of wide layers.
        learning_rate: the largest one, after warm-up.
        weight_decay: of AdamW, in units of the learning rate.
        dropout: rate of every layer that drops; by default each has its own.
        width: of the fusion, rounded up to a multiple of its heads; by default its own.
        num_layers: of a fusion that has layers; by default its own.
        absent: what stands in for a modality that a row lacks: mask, zero, mean or learned.
        missing: share of training rows that are made to lack a modality, as MODALITY=SHARE.
        tune: number of trials with which every arm, baselines included, finds its learning rate,
            weight decay and width on validation; by default none.
        match_params: number of parameters to which the width of every fusion is fitted; by default
            every fusion has its own width.
    """

    task: str = "digits"
    data: str | None = None
    options: tuple[str, ...] = ()
    encoders: tuple[str, ...] = ()
    objective: str = "cross_entropy"
    method: str = "joint"
    seeds: int = 3
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
        if self.width is not None and self.match_params is not None:
            got = f"--width {self.width} too"
            raise UsageError("match_params", expected="widths that it may change", got=got)


_RANGES = {  # what is larger is a slip, and would take all memory before it is told
    "seeds": (1, 10_000),
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
        launcher: what starts a process for each arm: local, on this machine; submitit, by SLURM
            where there is one; or ray. By default all arms run in the one process.
        workers: arms that run at once.
        request: what a worker asks its cluster for, as NAME=VALUE: parameters of submitit, such as
            slurm_partition=gpu, or options of a Ray task, such as num_gpus=1.
    """

    launcher: Literal["local", "submitit", "ray"] | None = None
    workers: int = 1
    request: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError("workers", expected="at least 1", got=str(self.workers))
        if self.launcher is None and self.workers > 1:
            raise UsageError("workers", expected="a launcher for them", got="none")
        if self.launcher in (None, "local") and self.request:
            raise UsageError("request", expected="launcher submitit or ray", got=str(self.launcher))


def _check_type(name: str, kind: Any, value: object) -> None:
    """Raises UsageError for a value of another type, as a file may hold."""
    if get_origin(kind) is tuple:
        fits = isinstance(value, tuple) and all(isinstance(word, str) for word in value)
    else:
        fits = isinstance(value, kind | int if kind in (float, float | None) else kind)
    if not fits or isinstance(value, bool) != (kind is bool):  # a bool is an int, too
        raise UsageError(name, expected=getattr(kind, "__name__", str(kind)), got=f"{value!r:.80}")


def parse_settings(content: Mapping[str, Any]) -> Settings:
    """The settings that a mapping holds, as a file has them.

    Raises:
        UsageError: a value cannot be one.
        TypeError: a name is none of theirs.
    """
    as_tuple = lambda value: tuple(value) if isinstance(value, list) else value
    given: dict[str, Any] = {name: as_tuple(value) for name, value in content.items()}
    return Settings(**given)


def parse_shares(argument: str, pairs: Sequence[str]) -> dict[str, float]:
    """``["a=0.5"]`` as ``{"a": 0.5}``.

    Raises:
        UsageError: an entry has no name or no number.
    """
    shares = {}
    for name, value in parse_pairs(argument, pairs).items():
        try:
            shares[name] = float(value)
        except ValueError as error:
            raise UsageError(argument, expected="NAME=NUMBER", got=f"{name}={value!r}") from error
    return shares


def as_flags(settings: Settings) -> str:
    """The settings that differ from the defaults, as a command line has them."""
    flags = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value != field.default:
            words = value if isinstance(value, tuple) else [] if value is True else [str(value)]
            flags += [f"--{field.name.replace('_', '-')}", *words]
    return shlex.join(flags)
