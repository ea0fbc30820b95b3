"""One program for all seeds of a run: each is a lane of the arrays, [seeds, ...]."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import chex
import jax
from jax import lax
from jax.sharding import AxisType, Mesh, PartitionSpec

from mmjax.errors import UsageError
from mmjax.mesh import keep_lanes

VARIABLE = "MMJAX_LANES"
_HOW = ("map", "shard", "vmap")
_limit: ContextVar[int | None] = ContextVar("number of devices", default=None)


@contextmanager
def on_devices(count: int) -> Iterator[None]:
    """Inside it, what is compiled deals lanes out to so many of the local devices, not to all."""
    token = _limit.set(count)
    try:
        yield
    finally:
        _limit.reset(token)


def how(num_lanes: int) -> str:
    """How lanes run: one after another, ``map``; dealt out to devices, ``shard``; or ``vmap``.

    As MMJAX_LANES in the environment says. By default they are dealt out where there are several
    devices that divide them (on CPU see JAX_NUM_CPU_DEVICES). An accelerator takes its lanes at
    once; on CPU, where batched convolutions and small products are slower, one follows the other.

    Raises:
        UsageError: the variable says something else, or there are too few devices or lanes.
    """
    chosen, num_devices = os.environ.get(VARIABLE), _num_devices()
    spreads = num_devices > 1 and num_lanes % num_devices == 0
    if chosen is None:
        return "shard" if spreads else _one_device_takes()
    if chosen not in _HOW:
        raise UsageError(VARIABLE, expected=f"one of {', '.join(_HOW)}", got=repr(chosen))
    if chosen == "shard" and not spreads:
        raise UsageError(
            VARIABLE,
            expected="two devices or more that divide the seeds",
            got=f"shard with {num_devices} devices and {num_lanes} seeds",
        )
    return chosen


def _num_devices() -> int:
    return _limit.get() or jax.local_device_count()


def _one_device_takes() -> str:
    return "map" if jax.default_backend() == "cpu" else "vmap"


def over_seeds(f: Callable, mesh: Mesh | None = None, **jit_options: Any) -> Callable:
    """Compiles ``f(lane, *shared)`` for all lanes, [seeds, ...], as one program.

    On a mesh it takes all of them at once, each device its part.
    """

    def apply(lanes, *shared):
        one = lambda lane: f(lane, *shared)
        if mesh is not None:
            divided = num_lanes(lanes) % mesh.shape["seed"] == 0
            every = jax.vmap(one, spmd_axis_name="seed" if divided else None)
            return keep_lanes(every(lanes), mesh)
        chosen = how(num_lanes(lanes))
        return _deal(one)(lanes) if chosen == "shard" else _take(one, chosen)(lanes)

    # XLA's CPU code is as fast at this level, and compiles in two thirds of the time.
    cpu = jax.default_backend() == "cpu"
    options = {"xla_backend_optimization_level": 1} if cpu else None
    return jax.jit(apply, compiler_options=options, **jit_options)


def num_lanes(lanes: chex.ArrayTree) -> int:
    """Number of seeds in arrays [seeds, ...]."""
    return len(jax.tree.leaves(lanes)[0])


def _take(one: Callable, how: str) -> Callable:
    """One device takes all its lanes, at once or one after another."""
    return jax.vmap(one) if how == "vmap" else lambda lanes: lax.map(one, lanes)


def _deal(one: Callable) -> Callable:
    """Each device takes its share of the lanes."""
    devices = jax.local_devices()[: _num_devices()]
    mesh = jax.make_mesh((len(devices),), ("lanes",), axis_types=(AxisType.Auto,), devices=devices)
    lanes, each = PartitionSpec("lanes"), _take(one, _one_device_takes())
    return jax.shard_map(each, mesh=mesh, in_specs=lanes, out_specs=lanes, check_vma=False)
