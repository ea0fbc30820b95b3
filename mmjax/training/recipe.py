"""A recipe: everything that determines a result, except the data."""

import functools
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from itertools import chain, cycle, islice
from types import FunctionType
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax

from mmjax.data.chunks import chunks_where
from mmjax.data.targets import Kind
from mmjax.data.task import Task
from mmjax.encoders import default_encoder
from mmjax.encoders.adapter import Pretrained
from mmjax.errors import UsageError, look_up
from mmjax.layers import as_tokens
from mmjax.methods import Joint
from mmjax.model import MultimodalModel, only_params, read_input
from mmjax.objectives import cross_entropy
from mmjax.registry import ABSENCES, DTYPES, ENCODERS, FUSIONS, SAMPLINGS
from mmjax.storage.trees import digest_array
from mmjax.training.mesh import parse_mesh
from mmjax.training.optimiser import Adam, Optax, per_seed
from mmjax.types import Augmentation, Coding, Method, Objective

FusionLike = str | Callable[..., nn.Module] | nn.Module
"""A fusion by name, as a class or as a module."""

EncoderLike = str | Callable[[], nn.Module] | nn.Module
"""An encoder by name, as a class or as a module."""


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; results record its one-line ``repr``.

    Attributes:
        model: encoders and fusion.
        objective: the loss.
        method: how a batch becomes a gradient.
        tx: the optimiser.
        augment: {modality: augmentations, in the order in which they are applied} of the rows of a
            step; see ``augment.make_augmentations``. They see inputs as encoders do: bytes of
            images from 0 to 1, other inputs standardised if the task standardises them.
        mixup: parameter ``alpha`` of the Beta distribution from which ``augment.mix`` draws the
            shares of the rows that it mixes, or None.
        class_weights: [classes] factors of the rows' losses, or None; see ``class_weights``.
        sampling: key of ``SAMPLINGS``: which training rows an epoch takes.
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
        joined: how many recipes ``join_lanes`` made this one of, which share its seeds equally. The
            seeds of each train on until all of them have stopped, as they would by themselves.

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
    tx: Adam | Optax = Adam()
    augment: Mapping[str, tuple[Augmentation, ...]] = field(default_factory=dict)
    mixup: float | None = None
    class_weights: tuple[float, ...] | None = None
    sampling: str = "shuffled"
    dropout: float | tuple[float, ...] | None = None
    batch_size: int = 64
    steps: int = 200
    seeds: tuple[int, ...] = (0, 1, 2)
    accumulate: int = 1
    dtype: str = "float32"
    remat: bool = False
    mesh: str | None = field(default=None, repr=False)
    patience: int = 10
    joined: int = field(default=1, repr=False)

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "accumulate", "patience", "joined"):
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
        if self.mixup is not None and not 0 < self.mixup < math.inf:
            raise UsageError("mixup", expected="a positive number", got=str(self.mixup))
        look_up("sampling", self.sampling, SAMPLINGS)
        look_up("dtype", self.dtype, dict.fromkeys(DTYPES))
        if self.mesh is not None:
            parse_mesh(self.mesh)
        numbers = (*self.tx.numbers, self.dropout)
        alike = not any(isinstance(number, tuple) for number in numbers)
        if not self.seeds or (alike and len(set(self.seeds)) < len(self.seeds)):
            raise UsageError("seeds", expected="one or more distinct seeds", got=str(self.seeds))
        if len(self.seeds) % self.joined:
            expected = f"a divisor of the number of seeds, {len(self.seeds)}"
            raise UsageError("joined", expected=expected, got=str(self.joined))

    def __repr__(self) -> str:
        return describe(self)

    @property
    def planned_steps(self) -> int:
        """Train steps of ``fit``, including preliminary runs, unless it stops early."""
        return self.steps * (1 + self.method.num_runs(len(self.model.encoders)))


def join_lanes(recipes: Sequence[Recipe]) -> Recipe:
    """Joins recipes of equally many seeds into one that trains them side by side, in one program.

    They may differ in learning rate, weight decay, dropout and seeds only.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> model = make_model(synthetic(size=100), "gmu")
        >>> rates = [Recipe(model, tx=Adam(rate), seeds=(0,)) for rate in (1e-3, 1e-2)]
        >>> join_lanes(rates).tx.learning_rate
        (0.001, 0.01)
    """
    first, adam = recipes[0], adam_of(recipes[0])
    rates, decays, dropout = zip(*chain.from_iterable(map(numbers_by_seed, recipes)), strict=True)
    return replace(
        first,
        tx=replace(adam, learning_rate=rates, weight_decay=decays),
        dropout=None if first.dropout is None else dropout,
        seeds=tuple(chain.from_iterable(recipe.seeds for recipe in recipes)),
        joined=len(recipes),
    )


def numbers_by_seed(recipe: Recipe) -> list[tuple[float | None, ...]]:
    """Of each seed its hyperparameters, as in ``tx.numbers``, and then its rate of dropout.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> model = make_model(synthetic(size=100), "gmu")
        >>> numbers_by_seed(Recipe(model, tx=Adam((1e-3, 1e-2)), seeds=(0, 1), dropout=0.5))
        [(0.001, 0.0, 0.5), (0.01, 0.0, 0.5)]
    """
    numbers = map(per_seed, (*recipe.tx.numbers, recipe.dropout))
    return [*islice(zip(*map(cycle, numbers), strict=True), len(recipe.seeds))]


def adam_of(recipe: Recipe) -> Adam:
    """The recipe's optimiser, whose learning rate and weight decay can be replaced.

    Raises:
        UsageError: it is an optimiser of the user's own.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> model = make_model(synthetic(size=100), "sum")
        >>> adam_of(Recipe(model, tx=Adam(learning_rate=0.01))).learning_rate
        0.01
    """
    if not isinstance(recipe.tx, Adam):
        expected = "Adam, whose learning rate and weight decay can be searched"
        raise UsageError("optimizer", expected=expected, got=describe(recipe.tx)[:80])
    return recipe.tx


def suits(fusion: Any, kind: Kind) -> bool:
    """Whether a fusion supports a kind of target; it does unless its class lists others.

    Example:
        >>> suits(FUSIONS["late_prob_mean"], "numbers"), suits(FUSIONS["sum"], "numbers")
        (False, True)
    """
    return kind in getattr(fusion, "targets", (kind,))


def make_fusion(fusion: FusionLike, task: Task) -> nn.Module:
    """The fusion as a module whose output matches the task.

    Raises:
        UnknownNameError: there is no such fusion.
        UsageError: the fusion does not support the kind of target, has another ``out_dim``, or is
            not a fusion.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> make_fusion("sum", synthetic(size=100)).out_dim
        2
    """
    make = look_up("fusion", fusion, FUSIONS) if isinstance(fusion, str) else fusion
    try:
        fuse = make if isinstance(make, nn.Module) else make(out_dim=task.out_dim)
    except Exception as error:  # whatever its constructor does
        expected = "a name, a Flax module, or a class of one that needs only out_dim"
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


def sample_of(shape: tuple[int, ...], coding: Coding | None) -> jax.ShapeDtypeStruct:
    """What an encoder reads of a row, [1, ...], by the shape of a sample and its coding.

    Example:
        >>> sample_of((28, 28, 1), coding=None).shape
        (1, 28, 28, 1)
    """
    return jax.ShapeDtypeStruct((1, *shape), np.float32 if coding is None else coding.dtype)


def make_encoder(
    name: str, encoder: EncoderLike, shape: tuple[int, ...], coding: Coding | None = None
) -> nn.Module:
    """The encoder of a modality as a module that can read its samples.

    Args:
        name: the modality.
        encoder: a key of ``ENCODERS``, a module, or a class that needs no arguments.
        shape: of a sample.
        coding: of the modality, for text and tables.

    Raises:
        UnknownNameError: there is no such encoder.
        UsageError: it is not an encoder, cannot read samples of this shape, or has variables
            besides its parameters.

    Example:
        >>> type(make_encoder("image", "cnn", shape=(28, 28, 1))).__name__
        'CNN'
    """
    make = look_up("encoder", encoder, ENCODERS) if isinstance(encoder, str) else encoder
    given = f"{name}={name_member(encoder, ENCODERS):.60}"
    sample = sample_of(shape, coding)
    try:
        module = make if isinstance(make, nn.Module) else make()
        if coding is not None and getattr(module, coding.attribute, coding) is None:
            module = module.clone(**{coding.attribute: coding.known})
        run = lambda x: module.init_with_output(jax.random.key(0), x, train=False)
        output, variables = jax.eval_shape(run, sample)
        tokens = jax.eval_shape(as_tokens, output)
    except Exception as error:  # whatever its code does
        kind = "one" if isinstance(encoder, str) else "a name, a Flax module, or a class of one,"
        expected = f"{kind} that reads samples of shape {shape}"
        got = f"{given}: {type(error).__name__}: {error}".splitlines()[0]
        fix = "Pass a function (params, x) -> features through mmjax.encoders.pretrained."
        fix = fix if isinstance(make, FunctionType) else ""
        raise UsageError("encoders", expected=expected, got=got, fix=fix) from error
    only_params(f"encoders, {given}", variables)
    unread = coding is not None and getattr(module, coding.attribute, None) != coding.known
    if coding is not None and unread and not getattr(module, "in_units", False):
        expected = f"one with the attribute {coding.attribute}, None or {coding.known}"[:200]
        fix = f"Use {coding.encoder}, or one of your own that reads {type(coding).__name__}."
        raise UsageError("encoders", expected=expected, got=given, fix=fix)
    if tokens.values.ndim != 3 or tokens.mask.shape != tokens.values.shape[:2]:
        got = f"{given}: values {tokens.values.shape}, mask {tokens.mask.shape}"
        expected = "tokens [batch, length, features] with a mask [batch, length], or an array"
        raise UsageError("encoders", expected=f"{expected} [batch, features]", got=got)
    return module


def make_model(
    task: Task,
    fusion: FusionLike,
    encoders: Mapping[str, EncoderLike] | None = None,
    absent: str = "mask",
) -> MultimodalModel:
    """Makes the model of a fusion for a task, with default hyperparameters.

    Args:
        task: determines the modalities and their shapes.
        fusion: a key of ``FUSIONS``, a module, or a class that needs only ``out_dim``.
        encoders: {modality: encoder} to override the default for the modality's shape: keys of
            ``ENCODERS``, modules, or classes that need no arguments. Modalities that the task lacks
            are ignored.
        absent: a key of ``ABSENCES``: how a missing modality is handled.

    Raises:
        UnknownNameError: there is no such fusion, encoder or way to handle missing modalities.
        UsageError: the fusion does not support the kind of target, has another ``out_dim``, or is
            not a fusion; or an encoder cannot read its modality, or not the units of its input.

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
        coding = task.codings.get(name)
        if raw:
            default = "raw" if coding is None else "one_hot"
        else:
            default = default_encoder(shape, task.kinds.get(name), coding)
        encoder = (encoders or {}).get(name, default)
        usual = coding is None and encoder == default  # made for this shape
        chosen[name] = ENCODERS[default]() if usual else make_encoder(name, encoder, shape, coding)
    in_units = {n for n, encoder in chosen.items() if getattr(encoder, "in_units", False)}
    if wrong := sorted(in_units & {*task.standardised}):
        problem = f"that of {wrong[0]} reads its own units, but its input is standardised already"
        fix = "With folds, name it as the encoder of the modality, not in the name of a strategy."
        raise UsageError("encoders", problem, fix=fix)
    used = chosen if absent == "mean" else {}
    found = {name: _mean_input(task, name, encoder) for name, encoder in used.items()}
    means: Any = {name: mean for name, mean in found.items() if mean is not None}
    scales: Any = {name: scale for name, scale in task.input_scales.items() if name not in in_units}
    for array in jax.tree.leaves((means, scales)):  # NumPy arrays, which serve as JAX's
        array.setflags(write=False)  # models are compared by their contents
    return MultimodalModel(chosen, fuse, absent, means, scales, task.padded)


def _mean_input(task: Task, name: str, encoder: nn.Module) -> np.ndarray | None:
    """Mean over the rows in which the modality is present, as the model sees it: float32.

    Each frame of a padded input is averaged over the rows that have it; NaN where none has. That of
    a table has no categories; token ids have no mean.
    """
    split = task.train
    if not split.present[name].any():
        expected = f"a training row with {name}, which absent='mean' needs"
        raise UsageError("absent", expected=expected, got="none")
    values, present = split.inputs[name], split.present[name]
    if name in task.codings:
        scale = task.codings[name].find_scale(values, present)
        return scale and scale.mean
    total, count = np.zeros((2, *values.shape[1:]))
    rows: Any  # NumPy arrays, which serve as JAX's
    for rows in chunks_where(values, present):
        seen = np.asarray(read_input(encoder, rows))
        known = ~np.isnan(seen)
        total += seen.sum(axis=0, dtype=np.float64, where=known)
        count += known.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return (total / count).astype(np.float32)


def name_member(member: Any, table: Mapping[str, Any]) -> str:
    """What a member of a table, or one of your own, is called in the names of strategies.

    That is its key in the table, or else the name of its class or function, with the arguments that
    are not its defaults.

    Example:
        >>> name_member(FUSIONS["gmu"](out_dim=2, width=32), FUSIONS)
        'gmu(width=32)'
    """
    if isinstance(member, str):
        return member
    if isinstance(member, Pretrained):
        return member.label
    kind: Any = member
    given: Mapping[str, Any] = {}
    if isinstance(member, functools.partial):
        kind, given = member.func, member.keywords
    elif is_dataclass(member) and not isinstance(member, type):
        kind, given = type(member), {f.name: getattr(member, f.name) for f in fields(member)}
    key = next((key for key, known in table.items() if known is kind), None)
    if not is_dataclass(kind):
        return key or describe(member)
    default = lambda f: f.default if f.default_factory is MISSING else f.default_factory()
    own = [f for f in fields(kind) if f.name in {*given} - {"out_dim", "parent", "name"}]
    values = {f.name: (describe(given[f.name]), describe(default(f))) for f in own}
    inner = ", ".join(f"{n}={value}" for n, (value, usual) in values.items() if value != usual)
    return (key or describe(kind)) + (f"({inner})" if inner else "")


def describe(value: Any) -> str:
    """A one-line ``repr`` that is the same in every process: no addresses or Linen internals.

    A function is described by its name and the values that it holds on to; what Optax makes, by the
    name of its maker and its hyperparameters.

    Example:
        >>> import optax
        >>> describe(optax.trace(0.9))
        'trace(accumulator_dtype=None, decay=0.9, nesterov=False)'
    """
    if is_dataclass(value) and not isinstance(value, type):
        own = [f.name for f in fields(value) if f.repr and f.name not in ("parent", "name")]
        inner = ", ".join(f"{name}={describe(getattr(value, name))}" for name in own)
        return f"{type(value).__name__}({inner})"
    if isinstance(value, optax.GradientTransformation):
        return describe(value.update)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {describe(v)}" for k, v in sorted(value.items())) + "}"
    if type(value) is tuple:
        return f"({', '.join(map(describe, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, functools.partial):
        inner = ", ".join(f"{k}={describe(v)}" for k, v in value.keywords.items())
        return f"{describe(value.func)}({inner})"
    if isinstance(value, FunctionType):
        made_by = value.__qualname__.partition(".<locals>")[0]
        name = made_by if value.__module__.startswith("optax.") else value.__name__
        held = sorted(inspect.getclosurevars(value).nonlocals.items())
        # Optax's schedules make floats of their integers when they are called.
        whole = lambda v: int(v) if isinstance(v, float) and v.is_integer() else v
        inner = ", ".join(f"{k}={describe(whole(v))}" for k, v in held)
        return name + (f"({inner})" if held else "")
    if isinstance(value, np.ndarray | jax.Array) and value.ndim:
        return f"{value.dtype}{list(value.shape)} {digest_array(np.asarray(value))[:8]}"
    return getattr(value, "__name__", None) or re.sub(" at 0x[0-9a-f]+", "", repr(value))
