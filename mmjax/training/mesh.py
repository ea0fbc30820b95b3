"""Meshes: sharding of seeds, rows and wide layers over the devices of one or several processes.

The program stays the same: arrays are placed, and XLA inserts the communication (Xu et al., GSPMD,
arXiv:2105.04663). Every process runs the same commands on the same data.
"""

import math
import re
from typing import Any

import chex
import jax
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mmjax.errors import UsageError, look_up
from mmjax.storage.trees import as_key, key_bits

AXES = {
    "data": "each device takes a part of every batch",
    "seed": "each device takes some of the seeds",
    "model": "each device takes a part of the outputs of wide layers",
}
_MIN_WIDTH = 32  # smallest part of a layer that is worth a device


def join_processes(text: str) -> None:
    """Joins several processes whose devices form one mesh; call it before any use of a device.

    Args:
        text: ``auto`` if the scheduler provides it (SLURM, TPU pods, Kubernetes, Open MPI), else
            ``HOST:PORT,COUNT,INDEX``: the address of the first process, the number of processes,
            and the index of this one.

    Raises:
        UsageError: the text is not of this form.
    """
    if text == "auto":
        jax.distributed.initialize()
        return
    found = re.fullmatch(r"(.+:\d{1,5}),(\d+),(\d+)", text)
    if not found or not int(found[3]) < int(found[2]):
        expected = "auto or HOST:PORT,COUNT,INDEX, with an index below the count"
        raise UsageError("distributed", expected=expected, got=repr(text))
    jax.distributed.initialize(found[1], int(found[2]), int(found[3]))


def parse_mesh(text: str) -> dict[str, int]:
    """Parses ``"data=4,seed=2"`` to the number of devices along each axis of ``AXES``.

    Raises:
        UsageError: the text is not of this form.
        UnknownNameError: there is no such axis.

    Example:
        >>> parse_mesh("data=4,seed=2")
        {'data': 4, 'seed': 2, 'model': 1}
    """
    sizes = {}
    for part in text.split(","):
        name, _, size = part.partition("=")
        look_up("axis of a mesh", name, AXES)
        if not size.isdecimal() or int(size) < 1:
            raise UsageError("mesh", expected="AXIS=DEVICES,...", got=repr(text))
        if name in sizes:
            raise UsageError("mesh", expected="each axis once", got=repr(text))
        sizes[name] = int(size)
    return dict.fromkeys(AXES, 1) | sizes


def num_devices(text: str) -> int:
    """The number of devices in a mesh.

    Example:
        >>> num_devices("data=4,seed=2")
        8
    """
    return math.prod(parse_mesh(text).values())


def make_mesh(text: str) -> Mesh:
    """The mesh of all devices of all processes; a single process may use only its first devices.

    Raises:
        UsageError: there are fewer devices, or, with several processes, more.
    """
    sizes, there, asked = parse_mesh(text), jax.devices(), num_devices(text)
    if asked > len(there) or (asked < len(there) and jax.process_count() > 1):
        raise UsageError(
            "mesh",
            expected=f"a mesh of the available devices, {len(there)}",
            got=f"{text}, which takes {asked}",
            fix="On CPU, JAX_NUM_CPU_DEVICES sets their number.",
        )
    auto = (AxisType.Auto,) * len(sizes)
    shape = tuple(sizes.values())
    return jax.make_mesh(shape, tuple(sizes), axis_types=auto, devices=there[:asked])


def undivided(text: str, **counts: int) -> list[str]:
    """The axes of a mesh whose size does not divide the given counts."""
    sizes = parse_mesh(text)
    return [axis for axis, count in counts.items() if count % sizes[axis]]


def check_mesh(text: str, **counts: int) -> None:
    """Raises UsageError if the size of an axis of a mesh does not divide its count."""
    if axes := undivided(text, **counts):
        expected = f"a divisor of {counts[axes[0]]} along {axes[0]}"
        raise UsageError("mesh", expected=expected, got=f"{axes[0]}={parse_mesh(text)[axes[0]]}")


def place_lanes(lanes: chex.ArrayTree, mesh: Mesh | None) -> chex.ArrayTree:
    """Places arrays [seeds, ...] on the devices of a mesh: by seed, and wide layers by output.

    Arrays that an axis does not divide are replicated along it.
    """
    if mesh is None:
        return lanes
    return jax.tree.map(lambda x: _place(x, NamedSharding(mesh, lane_spec(x.shape, mesh))), lanes)


def replicate(tree: chex.ArrayTree, mesh: Mesh | None) -> chex.ArrayTree:
    """The same arrays on all devices; without a mesh, on the only one."""
    if mesh is None:
        return jax.device_put(tree)
    return jax.tree.map(lambda x: _place(x, NamedSharding(mesh, PartitionSpec())), tree)


def keep_lanes(lanes: chex.ArrayTree, mesh: Mesh) -> chex.ArrayTree:
    """Within a program: constrains its output lanes to the sharding of ``place_lanes``."""
    keep = lambda x: lax.with_sharding_constraint(x, NamedSharding(mesh, lane_spec(x.shape, mesh)))
    return jax.tree.map(keep, lanes)


def deal_rows(rows: chex.ArrayTree, mesh: Mesh | None) -> chex.ArrayTree:
    """Within a program: shards rows [rows, ...] along the axis ``data``, if it divides them."""
    if mesh is None:
        return rows
    around = jax.sharding.get_abstract_mesh()  # within sharded lanes, the rest of the mesh
    spec = lambda x: PartitionSpec(_dividing(mesh, "data", len(x)))
    deal = lambda x: NamedSharding(mesh if around.empty else around, spec(x))
    return jax.tree.map(lambda x: lax.with_sharding_constraint(x, deal(x)), rows)


def to_host(tree: chex.ArrayTree) -> chex.ArrayTree:
    """The tree with arrays that are spread over several processes gathered as NumPy arrays.

    All processes must call it.
    """
    gather = lambda x: multihost_utils.process_allgather(x, tiled=True)
    return jax.tree.map(lambda x: as_key(gather(key_bits(x)), x) if _is_far(x) else x, tree)


def agreed(value: Any) -> Any:
    """The first process's value: numbers that depend on clocks must be the same for all."""
    if jax.process_count() == 1:
        return value
    return multihost_utils.broadcast_one_to_all(np.asarray(value)).item()


def wait_for_all(what: str) -> None:
    """Returns when all processes have reached this point."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def lane_spec(shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """The sharding of an array [seeds, ...]; of a layer's matrix the last dimension is sharded."""
    axes: list[str | None] = [None] * len(shape)
    axes[0] = _dividing(mesh, "seed", shape[0])
    if len(shape) > 2 and shape[-1] >= _MIN_WIDTH * mesh.shape["model"]:
        axes[-1] = _dividing(mesh, "model", shape[-1])
    return PartitionSpec(*axes)


def block_sharding(shape: tuple[int, ...], mesh: Mesh) -> NamedSharding:
    """The sharding of rows [seeds, steps, batch, ...], or of one number per seed."""
    axes = [_dividing(mesh, "seed", shape[0])]
    if len(shape) > 1:
        axes += [None, _dividing(mesh, "data", shape[2])]
    return NamedSharding(mesh, PartitionSpec(*axes))


def _dividing(mesh: Mesh, axis: str, size: int) -> str | None:
    return axis if mesh.shape[axis] > 1 and size % mesh.shape[axis] == 0 else None


def _place(x: chex.Array, sharding: NamedSharding) -> jax.Array:
    if _is_far(x):
        return x  # already placed
    host = np.asarray(key_bits(x))
    placed = jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
    return as_key(placed, x)


def _is_far(x: chex.Array) -> bool:
    """Whether other processes hold a part of the array."""
    return isinstance(x, jax.Array) and not x.is_fully_addressable
