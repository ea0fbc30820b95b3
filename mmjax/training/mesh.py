"""Meshes: how seeds, rows and wide layers are dealt out to devices, of one process or of many.

The program stays the same: arrays are placed, and XLA inserts the communication that follows
(Xu et al., GSPMD, arXiv:2105.04663). Every process runs the same commands on the same data.
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
_MIN_WIDTH = 32  # of the part of a layer that is worth a device


def join_processes(text: str) -> None:
    """Makes this process one of several whose devices form one mesh; before any use of a device.

    Args:
        text: ``auto`` where the scheduler tells (SLURM, TPU pods, Kubernetes, Open MPI); else
            ``HOST:PORT,COUNT,INDEX``: where the first process listens, how many there are, and
            which this one is.

    Raises:
        UsageError: it is not of this form.
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
    """``"data=4,seed=2"`` as the number of devices along each axis of ``AXES``.

    Raises:
        UsageError: it is not of this form.
        UnknownNameError: there is no such axis.
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
    """How many devices a mesh takes."""
    return math.prod(parse_mesh(text).values())


def make_mesh(text: str) -> Mesh:
    """The mesh of all devices, of all processes; of one process, it may be of the first few.

    Raises:
        UsageError: there are fewer devices; or more, in several processes.
    """
    sizes, there, asked = parse_mesh(text), jax.devices(), num_devices(text)
    if asked > len(there) or (asked < len(there) and jax.process_count() > 1):
        raise UsageError(
            "mesh",
            expected=f"as many devices as there are, {len(there)}",
            got=f"{text}, {asked}",
            fix="On CPU, JAX_NUM_CPU_DEVICES sets their number.",
        )
    auto = (AxisType.Auto,) * len(sizes)
    shape = tuple(sizes.values())
    return jax.make_mesh(shape, tuple(sizes), axis_types=auto, devices=there[:asked])


def undivided(text: str, **counts: int) -> list[str]:
    """The axes of a mesh that do not divide what they deal out."""
    sizes = parse_mesh(text)
    return [axis for axis, count in counts.items() if count % sizes[axis]]


def check_mesh(text: str, **counts: int) -> None:
    """Raises UsageError where an axis of a mesh does not divide what it deals out."""
    if axes := undivided(text, **counts):
        expected = f"a divisor of {counts[axes[0]]} along {axes[0]}"
        raise UsageError("mesh", expected=expected, got=f"{axes[0]}={parse_mesh(text)[axes[0]]}")


def place_lanes(lanes: chex.ArrayTree, mesh: Mesh | None) -> chex.ArrayTree:
    """Arrays [seeds, ...] on the devices of a mesh: by seed, and wide layers by output.

    Where an axis does not divide them, all devices along it hold the same.
    """
    if mesh is None:
        return lanes
    return jax.tree.map(lambda x: _place(x, NamedSharding(mesh, lane_spec(x.shape, mesh))), lanes)


def replicate(tree: chex.ArrayTree, mesh: Mesh | None) -> chex.ArrayTree:
    """The same arrays on all devices; without a mesh, on the one that there is."""
    if mesh is None:
        return jax.device_put(tree)
    return jax.tree.map(lambda x: _place(x, NamedSharding(mesh, PartitionSpec())), tree)


def keep_lanes(lanes: chex.ArrayTree, mesh: Mesh) -> chex.ArrayTree:
    """Within a program: lanes that leave it as ``place_lanes`` places them."""
    keep = lambda x: lax.with_sharding_constraint(x, NamedSharding(mesh, lane_spec(x.shape, mesh)))
    return jax.tree.map(keep, lanes)


def deal_rows(rows: chex.ArrayTree, mesh: Mesh | None) -> chex.ArrayTree:
    """Within a program: rows [rows, ...] by the axis ``data``, if it divides them."""
    if mesh is None:
        return rows
    around = jax.sharding.get_abstract_mesh()  # where lanes are dealt out, the rest of the mesh
    spec = lambda x: PartitionSpec(_dividing(mesh, "data", len(x)))
    deal = lambda x: NamedSharding(mesh if around.empty else around, spec(x))
    return jax.tree.map(lambda x: lax.with_sharding_constraint(x, deal(x)), rows)


def to_host(tree: chex.ArrayTree) -> chex.ArrayTree:
    """The tree with arrays that lie on devices of several processes as NumPy arrays.

    All processes must call it.
    """
    gather = lambda x: multihost_utils.process_allgather(x, tiled=True)
    return jax.tree.map(lambda x: as_key(gather(key_bits(x)), x) if _is_far(x) else x, tree)


def agreed(value: Any) -> Any:
    """What the first process says: a number that clocks decide must be the same for all."""
    if jax.process_count() == 1:
        return value
    return multihost_utils.broadcast_one_to_all(np.asarray(value)).item()


def wait_for_all(what: str) -> None:
    """Returns when all processes have come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def lane_spec(shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """How an array [seeds, ...] lies on a mesh; of a layer's matrix the last dimension is cut."""
    axes = [None] * len(shape)
    axes[0] = _dividing(mesh, "seed", shape[0])
    if len(shape) > 2 and shape[-1] >= _MIN_WIDTH * mesh.shape["model"]:
        axes[-1] = _dividing(mesh, "model", shape[-1])
    return PartitionSpec(*axes)


def block_sharding(shape: tuple[int, ...], mesh: Mesh) -> NamedSharding:
    """How rows [seeds, steps, batch, ...], or a number for each seed, lie on a mesh."""
    axes = [_dividing(mesh, "seed", shape[0])]
    if len(shape) > 1:
        axes += [None, _dividing(mesh, "data", shape[2])]
    return NamedSharding(mesh, PartitionSpec(*axes))


def _dividing(mesh: Mesh, axis: str, size: int) -> str | None:
    return axis if mesh.shape[axis] > 1 and size % mesh.shape[axis] == 0 else None


def _place(x: chex.Array, sharding: NamedSharding) -> jax.Array:
    if _is_far(x):
        return x  # placed already
    host = np.asarray(key_bits(x))
    placed = jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
    return as_key(placed, x)


def _is_far(x: chex.Array) -> bool:
    """Whether other processes have a part of it."""
    return isinstance(x, jax.Array) and not x.is_fully_addressable
