"""One program for all seeds of a run: each is a lane of the arrays, [seeds, ...]."""

import os
from collections.abc import Callable
from typing import Any

import chex
import jax
from jax import lax
from jax.sharding import AxisType, Mesh, PartitionSpec

from mmjax.errors import UsageError
from mmjax.mesh import keep_lanes

VARIABLE = "MMJAX_LANES"
_HOW = ("map", "shard", "vmap")


def how(num_lanes: int) -> str:
    """How lanes run: one after another, ``map``; dealt out to devices, ``shard``; or ``vmap``.

    As MMJAX_LANES in the environment says. By default accelerators take all lanes at once; on CPU,
    where batched convolutions and small products are slower, one follows the other, on as many
    devices as divide them (see JAX_NUM_CPU_DEVICES).

    Raises:
        UsageError: the variable says something else, or there are too few devices or lanes.
    """
    chosen = os.environ.get(VARIABLE)
    spreads = jax.local_device_count() > 1 and num_lanes % jax.local_device_count() == 0
    if chosen is None:
        if jax.default_backend() != "cpu":
            return "vmap"
        return "shard" if spreads else "map"
    if chosen not in _HOW:
        raise UsageError(VARIABLE, expected=f"one of {', '.join(_HOW)}", got=repr(chosen))
    if chosen == "shard" and not spreads:
        raise UsageError(
            VARIABLE,
            expected="two devices or more that divide the seeds",
            got=f"shard with {jax.local_device_count()} devices and {num_lanes} seeds",
        )
    return chosen


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
        if chosen == "vmap":
            return jax.vmap(one)(lanes)
        return _deal(one)(lanes) if chosen == "shard" else lax.map(one, lanes)

    # XLA's CPU code is as fast at this level, and compiles in two thirds of the time.
    cpu = jax.default_backend() == "cpu"
    options = {"xla_backend_optimization_level": 1} if cpu else None
    return jax.jit(apply, compiler_options=options, **jit_options)


def num_lanes(lanes: chex.ArrayTree) -> int:
    """Number of seeds in arrays [seeds, ...]."""
    return len(jax.tree.leaves(lanes)[0])


def _deal(one: Callable) -> Callable:
    """Each device takes its share of the lanes, one after another."""
    mesh = jax.make_mesh((jax.local_device_count(),), ("lanes",), axis_types=(AxisType.Auto,))
    lanes = PartitionSpec("lanes")
    each = lambda share: lax.map(one, share)
    return jax.shard_map(each, mesh=mesh, in_specs=lanes, out_specs=lanes, check_vma=False)
