"""One program for all seeds of a run, each a lane of the arrays [seeds, ...]."""

import os
from collections.abc import Callable
from typing import Any

import chex
import jax
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from mmjax.errors import UsageError
from mmjax.layers import kernels
from mmjax.layers.platform import compiler_options, platform
from mmjax.training.mesh import keep_lanes, make_mesh

VARIABLE = "MMJAX_LANES"
_HOW = ("map", "shard", "vmap")


def how(num_lanes: int) -> str:
    """How lanes run: in sequence (``map``), spread over devices (``shard``), or batched (``vmap``).

    The environment variable MMJAX_LANES overrides the default. By default accelerators batch the
    lanes; on CPU, where batched convolutions and small products are slower, they run sequentially,
    spread over the devices if their number divides the lanes (see JAX_NUM_CPU_DEVICES).

    Raises:
        UsageError: the variable has another value, or there are too few devices or lanes.
    """
    chosen = os.environ.get(VARIABLE)
    spreads = jax.local_device_count() > 1 and num_lanes % jax.local_device_count() == 0
    if chosen is None:
        if platform() != "cpu":
            return "vmap"
        return "shard" if spreads else "map"
    if chosen not in _HOW:
        raise UsageError(VARIABLE, expected=f"one of {', '.join(_HOW)}", got=repr(chosen))
    if chosen == "shard" and not spreads:
        raise UsageError(
            VARIABLE,
            expected="at least two devices, in a number that divides the seeds",
            got=f"shard with {jax.local_device_count()} devices and {num_lanes} seeds",
        )
    return chosen


def over_seeds(
    f: Callable,
    mesh: Mesh | None = None,
    lanes: int = 1,
    effort: str = "normal",
    **jit_options: Any,
) -> Callable:
    """Compiles ``f(lane, *shared)`` for all lanes, [seeds, ...], as one program.

    On a mesh, the devices along ``seed`` run their lanes sequentially, because batched convolutions
    could not be sharded by rows.

    Args:
        f: the function of one lane.
        mesh: the devices, if there is more than one.
        lanes: number of leading arguments that differ between lanes.
        effort: as in ``platform.compiler_options``.
        jit_options: options of ``jax.jit``.

    Example:
        >>> double = over_seeds(lambda lane, shared: 2 * lane + shared)
        >>> double(jax.numpy.arange(3.0), 1.0).tolist()
        [1.0, 3.0, 5.0]
    """

    def apply(*arguments):
        own, shared = arguments[:lanes], arguments[lanes:]
        one_by_one = lambda own, *shared: lax.map(lambda lane: f(*lane, *shared), own)
        if mesh is not None:
            divides = num_lanes(own) % mesh.shape["seed"] == 0
            every = _deal(one_by_one, mesh) if divides else one_by_one
            with kernels.without():  # whose work XLA does not divide
                return keep_lanes(every(own, *shared), mesh)
        chosen = how(num_lanes(own))
        if chosen == "vmap":
            return jax.vmap(lambda lane: f(*lane, *shared))(own)
        if chosen == "shard":
            one_by_one = _deal(one_by_one, make_mesh(f"seed={jax.local_device_count()}"))
        return one_by_one(own, *shared)

    return jax.jit(apply, compiler_options=compiler_options(effort), **jit_options)


def num_lanes(lanes: chex.ArrayTree) -> int:
    """Number of seeds in arrays [seeds, ...].

    Example:
        >>> num_lanes({"kernel": jax.numpy.zeros((3, 4, 4))})
        3
    """
    return len(jax.tree.leaves(lanes)[0])


def _deal(f: Callable, mesh: Mesh) -> Callable:
    """Spreads the lanes over the devices along the axis ``seed``."""

    def dealt(lanes, *shared):
        own, all_of_it = PartitionSpec("seed"), PartitionSpec()
        specs = {"in_specs": (own, *[all_of_it] * len(shared)), "out_specs": own}
        each = jax.shard_map(f, mesh=mesh, axis_names={"seed"}, check_vma=False, **specs)
        return each(lanes, *shared)

    return dealt
