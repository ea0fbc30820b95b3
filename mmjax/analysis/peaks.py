"""Measured peak rates of devices: matrix multiplication and memory bandwidth."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from mmjax.analysis.cost import time_call

_SIZES = (256, 512, 1024, 2048, 4096, 8192)  # of square matrices; the best differs by device
_LONG = 0.01  # seconds per product above which no larger one is tried
_FLOATS = 1 << 26  # in the array on each device: larger than any cache
_QUEUED = 4  # calls queued on each device, so that none waits for the host


def matmul_gflops(dtype: str, devices: Sequence[jax.Device]) -> float:
    """The highest rate of square matrix multiplication on all devices at the same time.

    Args:
        dtype: of the matrices.
        devices: each multiplies its own matrices; those of a CPU share its cores.

    Returns:
        10^9 operations (multiplications and additions) per second, over all devices.
    """
    best = 0.0
    for size in _SIZES:
        seconds = _product_seconds(size, dtype, devices)
        best = max(best, 2e-9 * size**3 * len(devices) / seconds)
        if seconds > _LONG:
            break
    return best


def _product_seconds(size: int, dtype: str, devices: Sequence[jax.Device]) -> float:
    product = jax.jit(jnp.matmul)
    matrix = jax.random.normal(jax.random.key(0), (size, size), dtype)
    matrices = [jax.device_put(matrix, device) for device in devices] * _QUEUED
    return float(time_call(lambda: [product(x, x) for x in matrices]).min()) / _QUEUED


def copy_gb_s(devices: Sequence[jax.Device]) -> float:
    """The rate at which all devices together read arrays and write them back in place.

    Training updates its arrays in place, too; allocating new memory would cost a CPU more than
    the pass over it.

    Returns:
        10^9 bytes per second, counting reads and writes.
    """
    renew = jax.jit(lambda x: x + 1, donate_argnums=0)
    arrays = [jnp.zeros(_FLOATS, device=device) for device in devices]

    def call() -> list[jax.Array]:
        nonlocal arrays
        for _ in range(_QUEUED):
            arrays = [renew(x) for x in arrays]
        return arrays

    seconds = time_call(call).min() / _QUEUED
    return 2e-9 * sum(x.nbytes for x in arrays) / float(seconds)
