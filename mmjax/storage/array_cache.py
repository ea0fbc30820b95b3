"""Arrays that take long to compute, kept in the user's cache folder."""

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.lib import format as npy

from mmjax.errors import tell
from mmjax.storage.compile_cache import private_folder, trim
from mmjax.storage.files import whole_file
from mmjax.storage.reading import parse_npy

LIMIT = 10 * 2**30
"""Bytes that earlier arrays may take when another is written; the oldest are removed first."""
DAYS = 30
"""How long an array is kept after its last use."""

_SPARE = 2**30  # bytes that are left free on the disk
_CHECKSUM = hashlib.sha256().digest_size


def keep_array(
    key: str, shape: tuple[int, ...], batches: Callable[[], Iterable[np.ndarray]], *, mapped: bool
) -> np.ndarray:
    """The float32 array of a key: as it was kept, or else from its batches, to be kept.

    Arrays are below ``mmjax/arrays`` in the user's cache folder, one file each, which is written
    whole or not at all: a .npy file with a checksum behind it. A damaged one is made again. Where
    the folder cannot be used, the disk has no room, or JAX_ENABLE_COMPILATION_CACHE is false, the
    array is made in memory.

    Args:
        key: hex digits that determine the array.
        shape: of the array.
        batches: makes its rows, in order.
        mapped: whether the rows are read from the disk each time they are indexed.

    Example:
        >>> made = []
        >>> def batches():
        ...     made.append("once")
        ...     yield np.ones((2, 3), np.float32)
        >>> [keep_array("00ff", (2, 3), batches, mapped=False).sum().item() for _ in range(2)]
        [6.0, 6.0]
        >>> made
        ['once']
    """
    folder = _open_folder()
    if folder is None:
        return np.concatenate([*batches()])
    path = folder / f"{key}.npy"
    found = _read(path, shape, mapped)
    if found is None and _has_room(folder, 4 * math.prod(shape)):
        trim(folder, LIMIT, DAYS)
        with suppress(OSError):  # a disk that has become full; the array is made in memory
            _write(path, shape, batches())
        found = _read(path, shape, mapped)
    return np.concatenate([*batches()]) if found is None else found


def _open_folder() -> Path | None:
    config: Any = jax.config  # which gets its attributes when JAX is imported
    if not config.jax_enable_compilation_cache:
        return None
    try:
        return private_folder("arrays")
    except (OSError, RuntimeError) as error:
        _tell_once(f"features are not kept for later comparisons: {error}")
        return None


def _has_room(folder: Path, size: int) -> bool:
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE:
        _tell_once(f"features are not kept for later comparisons: {free >> 20} MiB free, {folder}")
    return free >= size + _SPARE


_tell_once = cache(tell)


def _write(path: Path, shape: tuple[int, ...], batches: Iterable[np.ndarray]) -> None:
    with whole_file(path) as file:
        header = BytesIO()
        npy.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
        checksum = hashlib.sha256()
        for part in chain([header.getvalue()], (rows.tobytes() for rows in batches)):
            checksum.update(part)
            file.write(part)
        file.write(checksum.digest())


def _read(path: Path, shape: tuple[int, ...], mapped: bool) -> np.ndarray | None:
    """The array in a file; None if there is no such file, or another or a damaged one."""
    try:
        content = np.memmap(path, np.uint8, mode="r")
        checksum = hashlib.sha256(content[:-_CHECKSUM].data).digest()
        if checksum != content[-_CHECKSUM:].tobytes():
            return None
        array = parse_npy(content[:-_CHECKSUM])
    except (OSError, ValueError):
        return None
    if array.shape != shape or array.dtype != np.float32:
        return None
    with suppress(OSError):
        os.utime(path)  # the time of its last use
    return array if mapped else np.array(array)
