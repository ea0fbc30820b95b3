"""A recipe: everything but the data that decides a result."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from mmjax.data.chunks import chunks_where
from mmjax.data.targets import Kind
from mmjax.data.task import Split, Task
from mmjax.encoders import ENCODERS, default_encoder
from mmjax.errors import UsageError, look_up
from mmjax.fusion import FUSIONS
from mmjax.layers import as_float
from mmjax.methods import Joint
from mmjax.model import ABSENCES, MultimodalModel
from mmjax.objectives import cross_entropy
from mmjax.training.mesh import parse_mesh
from mmjax.training.optimiser import Adam, per_seed
from mmjax.training.step import DTYPES
from mmjax.types import Method, Objective

FusionLike = str | Callable[..., nn.Module] | nn.Module
"""A fusion by name, by class or as it is."""


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; ``repr`` gives it on one line, as results carry it.

    Attributes:
        model: encoders and fusion.
        objective: the loss.
        method: how a batch becomes a gradient.
        tx: the optimiser.
        dropout: rate in place of that of each layer which has one; one number, or one for each
            seed in turn.
        batch_size: rows per step; at most all training rows.
        steps: number of train steps.
        seeds: one run for each, in one program; all different, but where a number above differs.
        accumulate: parts of a batch whose gradients are taken one after another, in as much less
            memory, and averaged; 1 for methods that count steps, which would count the parts.
        dtype: of the computation in training, ``float32`` or ``bfloat16``; parameters, loss and
            evaluation are float32.
        remat: transformer blocks are computed again for their gradient, in place of kept.
        mesh: devices by axis, such as ``data=4,seed=2``, or None; ``training.mesh`` has them. It
            makes no difference beyond rounding, and ``repr`` leaves it out.
        patience: a seed's best parameters are settled after this many epochs without a better
            validation score; training ends when all are.
    """

    model: MultimodalModel
    objective: Objective = cross_entropy
    method: Method = Joint()
    tx: Adam = Adam()
    dropout: float | tuple[float, ...] | None = None
    batch_size: int = 64
    steps: int = 200
    seeds: tuple[int, ...] = (0, 1, 2)
    accumulate: int = 1
    dtype: str = "float32"
    remat: bool = False
    mesh: str | None = field(default=None, repr=False)
    patience: int = 10

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "accumulate", "patience"):
            if getattr(self, name) < 1:
                raise UsageError(name, expected="at least 1", got=str(getattr(self, name)))
        if not all(0 <= rate < 1 for rate in per_seed(self.dropout or 0.0)):
            raise UsageError("dropout", expected="at least 0 and below 1", got=str(self.dropout))
        if self.batch_size % self.accumulate:
            expected = f"a divisor of the batch size {self.batch_size}"
            raise UsageError("accumulate", expected=expected, got=str(self.accumulate))
        if self.accumulate > 1 and self.method.counts_steps:
            expected = f"1 for {type(self.method).__name__}, which counts steps"
            fix = "Take a smaller batch."
            raise UsageError("accumulate", expected=expected, got=str(self.accumulate), fix=fix)
        look_up("dtype", self.dtype, DTYPES)
        if self.mesh is not None:
            parse_mesh(self.mesh)
        numbers = (self.tx.learning_rate, self.tx.weight_decay, self.dropout)
        alike = not any(isinstance(number, tuple) for number in numbers)
        if not self.seeds or (alike and len(set(self.seeds)) < len(self.seeds)):
            raise UsageError("seeds", expected="one or more, all different", got=str(self.seeds))

    def __repr__(self) -> str:
        return describe(self)

    @property
    def planned_steps(self) -> int:
        """Train steps that ``fit`` takes unless it stops early, preliminary runs included."""
        return self.steps * (1 + self.method.num_runs(len(self.model.encoders)))


def join_lanes(recipes: Sequence[Recipe]) -> Recipe:
    """One recipe that trains some of one seed each side by side, in one program.

    They differ in learning rate, weight decay, dropout and seed alone.
    """
    first, seeds = recipes[0], tuple(recipe.seeds[0] for recipe in recipes)
    rates = tuple(recipe.tx.learning_rate for recipe in recipes)
    decays = tuple(recipe.tx.weight_decay for recipe in recipes)
    tx = replace(first.tx, learning_rate=rates, weight_decay=decays)
    dropout = None if first.dropout is None else tuple(recipe.dropout for recipe in recipes)
    return replace(first, tx=tx, dropout=dropout, seeds=seeds)


def suits(fusion: Any, kind: Kind) -> bool:
    """Whether a fusion is for such targets: for all, unless its class names some."""
    return kind in getattr(fusion, "targets", (kind,))


def make_fusion(fusion: FusionLike, task: Task) -> nn.Module:
    """The fusion as a module, which gives what the task asks for.

    Raises:
        UnknownNameError: there is no such fusion.
        UsageError: it is not for such targets, gives something else, or is no fusion.
    """
    make = look_up("fusion", fusion, FUSIONS) if isinstance(fusion, str) else fusion
    try:
        fuse = make if isinstance(make, nn.Module) else make(out_dim=task.out_dim)
    except Exception as error:  # whatever its constructor does
        expected = "a Flax module, or a class of one that needs only out_dim"
        raise UsageError(
            "fusion", expected=expected, got=f"{make!r:.80}: {type(error).__name__}: {error}"
        ) from error
    name = type(fuse).__name__
    if getattr(fuse, "out_dim", None) != task.out_dim:
        got = f"{name} with out_dim {getattr(fuse, 'out_dim', None)}"
        raise UsageError("fusion", expected=f"one with out_dim {task.out_dim}", got=got)
    if not suits(fuse, task.kind):
        got = f"{name}, for {', '.join(fuse.targets)}"
        raise UsageError("fusion", expected=f"one for {task.kind}", got=got)
    return fuse


def make_model(
    task: Task, fusion: FusionLike, encoders: Mapping[str, str] | None = None, absent: str = "mask"
) -> MultimodalModel:
    """The model of a fusion for a task, with default hyperparameters.

    Args:
        task: gives the modalities and their shapes.
        fusion: a key of ``FUSIONS``, a module, or a class that needs only ``out_dim``.
        encoders: {modality: key of ``ENCODERS``} where the default for the modality's shape is not
            wanted; names of other modalities are ignored.
        absent: key of ``ABSENCES``: what stands in for a modality that a row lacks.

    Raises:
        UnknownNameError: there is no such fusion, encoder or stand-in.
        UsageError: the fusion is not for such targets, gives something else, or is no fusion.
    """
    look_up("absent", absent, ABSENCES)
    fuse = make_fusion(fusion, task)
    raw = getattr(fuse, "level", None) == "input"
    chosen = {}
    for name, shape in task.shapes.items():
        default = "raw" if raw else default_encoder(shape)
        key = (encoders or {}).get(name, default)
        chosen[name] = look_up("encoder", key, ENCODERS)()
        if key != default:
            _check_encoder(f"{name}={key}", chosen[name], shape)
    means = {n: _mean_input(task.train, n) for n in task.modalities} if absent == "mean" else {}
    return MultimodalModel(chosen, fuse, absent, means, task.input_scales)


def _check_encoder(given: str, encoder: nn.Module, shape: tuple[int, ...]) -> None:
    """Raises UsageError where an encoder that was asked for cannot read a modality."""
    sample = jax.ShapeDtypeStruct((1, *shape), np.float32)
    try:
        jax.eval_shape(lambda x: encoder.init(jax.random.key(0), x, train=False), sample)
    except Exception as error:
        expected = f"one that reads samples of shape {shape}"
        got = f"{given}: {type(error).__name__}: {error}".splitlines()[0]
        raise UsageError("encoders", expected=expected, got=got) from error


def _mean_input(split: Split, name: str) -> np.ndarray:
    """Mean over the rows that have the modality, as the model sees it: float32."""
    if not split.present[name].any():
        raise UsageError(
            "absent", expected="another stand-in than the mean", got=f"no training row with {name}"
        )
    values, present = split.inputs[name], split.present[name]
    total = np.zeros(values.shape[1:])
    for rows in chunks_where(values, present):
        total += np.asarray(as_float(rows)).sum(axis=0, dtype=np.float64)
    return (total / present.sum()).astype(np.float32)


def name_fusion(fusion: nn.Module) -> str:
    """Its key or class, and in brackets what it has in place of a default: ``gmu(width=32)``."""
    keys = [key for key, make in FUSIONS.items() if make is type(fusion)]
    default = lambda f: f.default if f.default_factory is MISSING else f.default_factory()
    own = [f for f in fields(fusion) if f.name not in ("out_dim", "parent", "name")]
    values = {f.name: (describe(getattr(fusion, f.name)), describe(default(f))) for f in own}
    inner = ", ".join(f"{n}={value}" for n, (value, usual) in values.items() if value != usual)
    return next(iter(keys), type(fusion).__name__) + (f"({inner})" if inner else "")


def describe(value: Any) -> str:
    """A one-line ``repr`` that is the same in every process: no addresses, no Linen internals."""
    if is_dataclass(value):
        own = [f.name for f in fields(value) if f.repr and f.name not in ("parent", "name")]
        inner = ", ".join(f"{name}={describe(getattr(value, name))}" for name in own)
        return f"{type(value).__name__}({inner})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {describe(v)}" for k, v in sorted(value.items())) + "}"
    if isinstance(value, functools.partial):
        inner = ", ".join(f"{k}={describe(v)}" for k, v in value.keywords.items())
        return f"{describe(value.func)}({inner})"
    return getattr(value, "__name__", None) or repr(value)
