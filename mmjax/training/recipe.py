"""A recipe: everything that determines a result, except the data."""

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
from mmjax.encoders import default_encoder
from mmjax.errors import UsageError, look_up
from mmjax.layers import as_float
from mmjax.methods import Joint
from mmjax.model import MultimodalModel
from mmjax.objectives import cross_entropy
from mmjax.registry import ABSENCES, DTYPES, ENCODERS, FUSIONS
from mmjax.training.mesh import parse_mesh
from mmjax.training.optimiser import Adam, per_seed
from mmjax.types import Method, Objective

FusionLike = str | Callable[..., nn.Module] | nn.Module
"""A fusion by name, as a class or as a module."""


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; results record its one-line ``repr``.

    Attributes:
        model: encoders and fusion.
        objective: the loss.
        method: how a batch becomes a gradient.
        tx: the optimiser.
        dropout: rate that overrides that of every dropout layer; one number, or one per seed.
        batch_size: rows per step; capped at the number of training rows.
        steps: number of train steps.
        seeds: one run each, in one program; distinct, unless a number above differs by seed.
        accumulate: number of parts of a batch whose gradients are computed in sequence and
            averaged, to save memory; must be 1 for methods that count steps.
        dtype: of the computation in training, ``float32`` or ``bfloat16``; parameters, loss and
            evaluation are float32.
        remat: whether transformer blocks are recomputed for their gradient instead of stored.
        mesh: devices by axis, such as ``data=4,seed=2``, or None; see ``training.mesh``. It changes
            results by rounding only, and is not part of ``repr``.
        patience: number of validations (one per round, see ``training.fit``) without a better score
            after which a seed stops; training ends when all seeds have stopped.

    Raises:
        UsageError: a value is out of range.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> model = make_model(synthetic(size=100), "gmu")
        >>> recipe = Recipe(model, tx=Adam(learning_rate=1e-3), seeds=(0, 1))
        >>> recipe.batch_size, recipe.steps
        (64, 200)
        >>> replace(recipe, accumulate=5)
        Traceback (most recent call last):
            ...
        mmjax.errors.UsageError: accumulate: expected a divisor of the batch size 64, got 5.
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
            fix = "Reduce batch_size instead."
            raise UsageError("accumulate", expected=expected, got=str(self.accumulate), fix=fix)
        look_up("dtype", self.dtype, dict.fromkeys(DTYPES))
        if self.mesh is not None:
            parse_mesh(self.mesh)
        numbers = (self.tx.learning_rate, self.tx.weight_decay, self.dropout)
        alike = not any(isinstance(number, tuple) for number in numbers)
        if not self.seeds or (alike and len(set(self.seeds)) < len(self.seeds)):
            raise UsageError("seeds", expected="one or more distinct seeds", got=str(self.seeds))

    def __repr__(self) -> str:
        return describe(self)

    @property
    def planned_steps(self) -> int:
        """Train steps of ``fit``, including preliminary runs, unless it stops early."""
        return self.steps * (1 + self.method.num_runs(len(self.model.encoders)))


def join_lanes(recipes: Sequence[Recipe]) -> Recipe:
    """Joins recipes of one seed each into one that trains them side by side, in one program.

    They may differ in learning rate, weight decay, dropout and seed only.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> model = make_model(synthetic(size=100), "gmu")
        >>> rates = [Recipe(model, tx=Adam(rate), seeds=(0,)) for rate in (1e-3, 1e-2)]
        >>> join_lanes(rates).tx.learning_rate
        (0.001, 0.01)
    """
    first, seeds = recipes[0], tuple(recipe.seeds[0] for recipe in recipes)
    own = lambda value: per_seed(value)[0]
    rates = tuple(own(recipe.tx.learning_rate) for recipe in recipes)
    decays = tuple(own(recipe.tx.weight_decay) for recipe in recipes)
    tx = replace(first.tx, learning_rate=rates, weight_decay=decays)
    dropout = None if first.dropout is None else tuple(own(recipe.dropout) for recipe in recipes)
    return replace(first, tx=tx, dropout=dropout, seeds=seeds)


def suits(fusion: Any, kind: Kind) -> bool:
    """Whether a fusion supports a kind of target; it does unless its class lists others."""
    return kind in getattr(fusion, "targets", (kind,))


def make_fusion(fusion: FusionLike, task: Task) -> nn.Module:
    """The fusion as a module whose output matches the task.

    Raises:
        UnknownNameError: there is no such fusion.
        UsageError: the fusion does not support the kind of target, has another ``out_dim``, or is
            not a fusion.
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
        got = f"{name}, which supports only {', '.join(fuse.targets)}"
        raise UsageError("fusion", expected=f"one for {task.kind}", got=got)
    return fuse


def make_model(
    task: Task, fusion: FusionLike, encoders: Mapping[str, str] | None = None, absent: str = "mask"
) -> MultimodalModel:
    """Makes the model of a fusion for a task, with default hyperparameters.

    Args:
        task: determines the modalities and their shapes.
        fusion: a key of ``FUSIONS``, a module, or a class that needs only ``out_dim``.
        encoders: {modality: key of ``ENCODERS``} to override the default for the modality's shape;
            modalities that the task lacks are ignored.
        absent: a key of ``ABSENCES``: how a missing modality is handled.

    Raises:
        UnknownNameError: there is no such fusion, encoder or way to handle missing modalities.
        UsageError: the fusion does not support the kind of target, has another ``out_dim``, or is
            not a fusion; or an encoder cannot read its modality.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> model = make_model(synthetic(size=100), "gmu", encoders={"a": "raw"})
        >>> {name: type(encoder).__name__ for name, encoder in model.encoders.items()}
        {'a': 'Raw', 'b': 'MLPEncoder'}
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
    statistics: Any = (means, task.input_scales)  # NumPy arrays, which serve as JAX's
    for array in jax.tree.leaves(statistics):
        array.setflags(write=False)  # models are compared by their contents
    return MultimodalModel(chosen, fuse, absent, *statistics)


def _check_encoder(given: str, encoder: nn.Module, shape: tuple[int, ...]) -> None:
    """Raises UsageError if a chosen encoder cannot read a modality."""
    sample = jax.ShapeDtypeStruct((1, *shape), np.float32)
    try:
        jax.eval_shape(lambda x: encoder.init(jax.random.key(0), x, train=False), sample)
    except Exception as error:
        expected = f"one that reads samples of shape {shape}"
        got = f"{given}: {type(error).__name__}: {error}".splitlines()[0]
        raise UsageError("encoders", expected=expected, got=got) from error


def _mean_input(split: Split, name: str) -> np.ndarray:
    """Mean over the rows in which the modality is present, as the model sees it: float32."""
    if not split.present[name].any():
        expected = f"a training row with {name}, which absent='mean' needs"
        raise UsageError("absent", expected=expected, got="none")
    values, present = split.inputs[name], split.present[name]
    total = np.zeros(values.shape[1:])
    rows: Any  # NumPy arrays, which serve as JAX's
    for rows in chunks_where(values, present):
        total += np.asarray(as_float(rows)).sum(axis=0, dtype=np.float64)
    return (total / present.sum()).astype(np.float32)


def name_fusion(fusion: nn.Module) -> str:
    """A fusion's key or class, with its non-default arguments: ``gmu(width=32)``.

    Example:
        >>> name_fusion(FUSIONS["gmu"](out_dim=2, width=32))
        'gmu(width=32)'
    """
    keys = [key for key, make in FUSIONS.items() if make is type(fusion)]
    default = lambda f: f.default if f.default_factory is MISSING else f.default_factory()
    own = [f for f in fields(fusion) if f.name not in ("out_dim", "parent", "name")]
    values = {f.name: (describe(getattr(fusion, f.name)), describe(default(f))) for f in own}
    inner = ", ".join(f"{n}={value}" for n, (value, usual) in values.items() if value != usual)
    return next(iter(keys), type(fusion).__name__) + (f"({inner})" if inner else "")


def describe(value: Any) -> str:
    """A one-line ``repr`` that is the same in every process: no addresses or Linen internals."""
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
