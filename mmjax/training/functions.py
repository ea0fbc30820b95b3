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

from mmjax.encoders.pretrained import Pretrained
from mmjax.layers.initializers import drawing
from mmjax.layers.platform import compiler_options, platform
from mmjax.storage.trees import is_key
from mmjax.training.augment import make_vary
from mmjax.training.epochs import Lane
from mmjax.training.feed import make_all_advance
from mmjax.training.mesh import make_mesh, parse_mesh
from mmjax.training.optimiser import Adam, as_vector, at_lane, per_seed, slow_down
from mmjax.training.predict import Evaluate, make_evaluate
from mmjax.training.recipe import Recipe
from mmjax.training.sampling import order_of
from mmjax.training.step import Step, init_params, init_state, make_forward, make_step
from mmjax.types import Batch, Prepared

_KEPT = 32
_CONSTANT = ("mmjax", "flax", "jax", "optax")  # packages whose code does not change


class Functions(NamedTuple):
    """The functions of a recipe, jitted but for ``step``.

    Attributes:
        init: ``(seeds, Prepared, *, rows) -> Lane``, [seeds, ...]; parts that are prepared replace
            fresh ones, and of the rows only the shapes matter.
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

    Recipes are alike if they differ in the seeds' values only. Those with a module, objective or
    method of the user's own are never alike: what that computes may have changed since.

    Args:
        recipe: what to train, and how.
        batch_size: rows of a step.
        per_epoch: as in ``feed.make_all_advance``.
        effort: of the compiler, as in ``platform.compiler_options``.
    """
    # Seeds are arguments; the platform and the environment change what is traced.
    chosen = platform(), {k: v for k, v in os.environ.items() if k.startswith("MMJAX_")}
    same = (replace(recipe, seeds=tuple(range(len(recipe.seeds)))), chosen)
    try:
        return _make(_Keyed(_key_of(same), recipe), batch_size, per_epoch, effort)
    except _NoKey:
        return _make.__wrapped__(_Keyed((), recipe), batch_size, per_epoch, effort)


@dataclass(frozen=True)
class _Keyed:
    """A recipe that equals those with the same key."""

    key: Any
    recipe: Recipe = field(compare=False)


class _NoKey(Exception):
    """A recipe holds what may change between calls."""


def _key_of(value: Any) -> Any:
    """A hashable value that is equal for objects that are equal, arrays included.

    What may change has none: arrays that can be written to, and code of the user's, which may
    read a global variable that has changed.
    """
    if isinstance(value, (str, int, float, NoneType)):
        return type(value), value
    frozen = isinstance(value, np.ndarray) and not value.flags.writeable
    if frozen or (isinstance(value, jax.Array) and not is_key(value)):
        array = np.asarray(value)
        return array.shape, array.dtype, array.tobytes()
    if isinstance(value, (tuple, list)):
        return type(value), tuple(map(_key_of, value))
    if isinstance(value, Mapping):
        return tuple((name, _key_of(value[name])) for name in sorted(value, key=repr))
    if isinstance(value, partial):
        return _key_of((value.func, value.args, value.keywords))
    if isinstance(value, (type, FunctionType)) and _is_constant(value):
        return value
    own = type(value)
    if is_dataclass(own) and _is_constant(own):
        return own, tuple((f.name, _key_of(getattr(value, f.name))) for f in fields(own))
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
    dropout = per_seed(recipe.dropout)

    def init_lane(seed, lane, params, prepared: Prepared, rows: Batch) -> Lane:
        given, memory = prepared
        params = {**params, **given}
        if memory is None:
            memory = recipe.method.init(make_forward(recipe.model), params, rows)
        tx, rate = _optimiser(recipe, lane), at_lane(dropout, lane)
        return Lane(init_state(params, tx, seed, memory, rate), params)

    # For one seed, so that the seeds beside it change nothing.
    jitted = jax.jit(init_lane, compiler_options=cheaply)

    def init(seeds: Sequence[int], prepared: Prepared, *, rows: Batch) -> Lane:
        row = jax.tree.map(lambda x: x[:1], rows)
        own = [jax.tree.map(lambda x, i=lane: x[i], prepared) for lane in range(len(seeds))]
        low_bits = np.array(seeds).astype(np.uint32)  # which are all that a key depends on
        lanes = [
            jitted(seed, lane, draw(row, seed), own[lane], row)
            for lane, seed in enumerate(low_bits)
        ]
        return jax.tree.map(_stack, *lanes)

    return init


def _optimiser(recipe: Recipe, lane: int | jax.Array = 0) -> optax.GradientTransformation:
    tx = recipe.tx.build(recipe.steps, lane)
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
