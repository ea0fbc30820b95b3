"""The functions of a recipe, jitted but for its step, which recipes that are alike share.

JAX compiles a function once for all calls of the same shapes. Folds of a task, repeated comparisons
and trials therefore compile once, as long as they call the same functions.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import lru_cache, partial
from types import FunctionType, NoneType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from mmjax.encoders.adapter import Pretrained
from mmjax.layers.initializers import drawing
from mmjax.layers.platform import compiler_options, platform
from mmjax.storage.trees import is_key
from mmjax.training.augment import make_vary
from mmjax.training.epochs import Lane
from mmjax.training.feed import make_all_advance
from mmjax.training.mesh import make_mesh, parse_mesh
from mmjax.training.optimiser import Adam, as_vector, slow_down
from mmjax.training.predict import Evaluate, make_evaluate
from mmjax.training.recipe import Recipe, numbers_by_seed
from mmjax.training.sampling import order_of
from mmjax.training.step import Step, init_params, init_state, make_forward, make_step
from mmjax.types import Batch, Prepared

_KEPT = 32
_CONSTANT = ("mmjax", "flax", "jax", "optax")  # packages whose code does not change


class Functions(NamedTuple):
    """The functions of a recipe, jitted but for ``step``.

    Attributes:
        init: ``(recipe, Prepared, *, rows) -> Lane``, [seeds, ...], of a recipe that is alike;
            parts that are prepared replace fresh ones, and of the rows only the shapes matter.
        step: from ``step.make_step``.
        advance: from ``feed.make_all_advance``.
        evaluate: from ``predict.make_evaluate``.
        mesh: the devices they run on, if there is more than one.
    """

    init: Callable[..., Lane]
    step: Step
    advance: Callable
    evaluate: Evaluate
    mesh: Mesh | None


def make_functions(
    recipe: Recipe, batch_size: int, per_epoch: int | None, effort: str = "normal"
) -> Functions:
    """Makes the functions of a recipe, or returns those of one that is alike.

    Recipes are alike if they differ in patience and in what is an argument of their program only:
    the seeds, the rate of dropout, and learning rates and weight decays that differ by seed. Those
    with a module, objective or method of the user's own are never alike: what that computes may
    have changed since.

    Args:
        recipe: what to train, and how.
        batch_size: rows of a step.
        per_epoch: as in ``feed.make_all_advance``.
        effort: of the compiler, as in ``platform.compiler_options``.
    """
    # The platform and the environment change what is traced.
    chosen = platform(), {k: v for k, v in os.environ.items() if k.startswith("MMJAX_")}
    try:
        key = key_of((_without_arguments(recipe), chosen))
        return _make(_Keyed(key, recipe), batch_size, per_epoch, effort)
    except _NoKey:
        return _make.__wrapped__(_Keyed((), recipe), batch_size, per_epoch, effort)


def _without_arguments(recipe: Recipe) -> Recipe:
    """The same for all recipes that are alike."""
    seeds, dropout = tuple(range(len(recipe.seeds))), None if recipe.dropout is None else 0.0
    tx = recipe.tx.alike
    return replace(recipe, seeds=seeds, dropout=dropout, tx=tx, patience=1, joined=1)


@dataclass(frozen=True)
class _Keyed:
    """A recipe that equals those with the same key."""

    key: Any
    recipe: Recipe = field(compare=False)


class _NoKey(Exception):
    """A recipe holds what may change between calls."""


def key_of(value: Any, *, at_once: bool = False) -> Any:
    """A hashable value that is equal for objects that are equal, arrays included.

    What may change has none: arrays that can be written to, and code of the user's, which may
    read a global variable that has changed. With ``at_once``, for objects that are compared while
    all of them exist and none changes, these are equal to themselves.
    """
    key = partial(key_of, at_once=at_once)
    if isinstance(value, (str, int, float, NoneType)):
        return type(value), value
    frozen = isinstance(value, np.ndarray) and not value.flags.writeable
    if frozen or (isinstance(value, jax.Array) and not is_key(value)):
        array = np.asarray(value)
        return array.shape, array.dtype, array.tobytes()
    if isinstance(value, (tuple, list)):
        return type(value), tuple(map(key, value))
    if isinstance(value, Mapping):
        return tuple((name, key(value[name])) for name in sorted(value, key=repr))
    if isinstance(value, partial):
        return key((value.func, value.args, value.keywords))
    if isinstance(value, (type, FunctionType)) and (at_once or _is_constant(value)):
        return value
    own = type(value)
    if is_dataclass(own) and (at_once or _is_constant(own)):
        return own, tuple((f.name, key(getattr(value, f.name, None))) for f in fields(own))
    if at_once:
        return id(value)
    raise _NoKey


def _is_constant(code: type | FunctionType) -> bool:
    """Whether code is what its package has under its name, not the user's in a wrapper."""
    module = sys.modules.get(code.__module__)
    constant = code.__module__.partition(".")[0] in _CONSTANT
    return constant and getattr(module, code.__qualname__, None) is code


@lru_cache(maxsize=_KEPT)
def _make(keyed: _Keyed, batch_size: int, per_epoch: int | None, effort: str) -> Functions:
    recipe = keyed.recipe
    step = make_step(
        recipe.model,
        recipe.objective,
        _optimiser(recipe),
        recipe.method,
        vary=_make_vary(recipe),
        accumulate=recipe.accumulate,
        dtype=recipe.dtype,
        remat=recipe.remat,
    )
    mesh = make_mesh(recipe.mesh) if recipe.mesh else None
    advance = make_all_advance(step, batch_size, per_epoch, mesh, effort, order_of(recipe))
    evaluate = make_evaluate(recipe.model, mesh=mesh, effort=effort)
    return Functions(_make_init(recipe), step, advance, evaluate, mesh)


def _make_vary(recipe: Recipe) -> Callable[[jax.Array, Batch], Batch] | None:
    if not recipe.augment and recipe.class_weights is None and recipe.mixup is None:
        return None
    return make_vary(recipe.augment, recipe.model, recipe.class_weights, recipe.mixup)


def _make_init(recipe: Recipe) -> Callable[..., Lane]:
    cheaply = compiler_options("least")
    draw = drawing(partial(init_params, recipe.model), compiler_options=cheaply)

    def init_lane(seed, numbers, params, prepared: Prepared, rows: Batch) -> Lane:
        given, memory = prepared
        params = {**params, **given}
        if memory is None:
            memory = recipe.method.init(make_forward(recipe.model), params, rows)
        *own, dropout = numbers
        tx = _optimiser(recipe, own)
        return Lane(init_state(params, tx, seed, memory, dropout), params)

    # For one seed, so that the seeds beside it change nothing.
    jitted = jax.jit(init_lane, compiler_options=cheaply)

    def init(alike: Recipe, prepared: Prepared, *, rows: Batch) -> Lane:
        row = jax.tree.map(lambda x: x[:1], rows)
        low_bits = np.array(alike.seeds).astype(np.uint32)  # which are all that a key depends on
        own = [jax.tree.map(lambda x, i=lane: x[i], prepared) for lane in range(len(low_bits))]
        numbers = jax.tree.map(np.float32, numbers_by_seed(alike))
        lanes = [
            jitted(seed, numbers[lane], draw(row, seed), own[lane], row)
            for lane, seed in enumerate(low_bits)
        ]
        return jax.tree.map(_stack, *lanes)

    return init


def _optimiser(
    recipe: Recipe, own: Sequence[float | jax.Array] = ()
) -> optax.GradientTransformation:
    tx = recipe.tx.build(recipe.steps, own)
    # XLA cannot cut one vector where the parameters are sharded.
    sharded = recipe.mesh is not None and parse_mesh(recipe.mesh)["model"] > 1
    if isinstance(recipe.tx, Adam) and not sharded:
        tx = as_vector(tx)
    tx = recipe.method.transform(tx)
    factors = {
        name: encoder.trainable if isinstance(encoder, Pretrained) else 1.0
        for name, encoder in recipe.model.encoders.items()
    }
    return tx if set(factors.values()) <= {0.0, 1.0} else slow_down(tx, factors)


def _stack(*leaves: jax.Array) -> jax.Array | np.ndarray:
    if is_key(leaves[0]):
        return jnp.stack(leaves)
    return np.stack(leaves)  # in NumPy, to avoid compiling a program for every shape
