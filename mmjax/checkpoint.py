"""Saves and restores trees of arrays.

A checkpoint is a folder with a .npy file for each array, and ``manifest.json``: the sha256 of every
file, the names of the arrays, and facts of whoever saved it. The folder gets its name when all of
it is on the disk.
"""

import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import chex
import jax
import numpy as np

from mmjax.errors import DataError
from mmjax.files import sync, sync_tree, write_npy
from mmjax.manifest import MANIFEST, find_damage, read_manifest, write_manifest
from mmjax.mesh import agreed
from mmjax.reading import parse_npy, reading
from mmjax.trees import flatten, unflatten

ARRAYS = "arrays"


class Checkpoint(NamedTuple):
    """What ``restore`` reads: the tree, and the facts saved with it."""

    tree: chex.ArrayTree
    facts: dict[str, Any]


def save(folder: Path, tree: chex.ArrayTree, facts: Mapping[str, Any] | None = None) -> None:
    """Writes a tree of arrays to a folder and returns when all of it is there.

    Args:
        folder: gets its name, in place of one that had it, when it is complete.
        tree: of arrays, or of JAX keys.
        facts: what JSON can hold.

    Raises:
        OSError: it cannot be written; one that had the name is intact.
    """
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # what a killed process has left
    try:
        (unfinished / ARRAYS).mkdir(parents=True)
        _write(unfinished, tree, facts or {})
        sync_tree(unfinished)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)  # a full disk needs the room
        raise OSError(error.errno, error.strerror, str(folder)) from error
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(unfinished, folder)
    sync(folder.parent)


def _write(folder: Path, tree: chex.ArrayTree, facts: Mapping[str, Any]) -> None:
    arrays = {}
    for number, (name, x) in enumerate(flatten(tree).items()):
        path, array = folder / ARRAYS / f"{number:04d}.npy", np.asarray(x)
        with path.open("wb") as file:
            write_npy(file, array)
        # NumPy knows no bfloat16, and writes its bytes.
        arrays[name] = [path.relative_to(folder).as_posix(), str(array.dtype)]
    write_manifest(folder, (folder / ARRAYS).iterdir(), facts=dict(facts), arrays=arrays)


def restore(folder: Path, like: chex.ArrayTree) -> Checkpoint:
    """Reads a tree back and verifies every byte of it.

    Args:
        folder: what ``save`` wrote.
        like: a tree of arrays or shapes; the names, shapes and dtypes read must be the same.

    Raises:
        DataError: there is no checkpoint, it is damaged, or it does not fit.
    """
    return _read(folder, verify(folder), like)


def _read(folder: Path, manifest: Mapping[str, Any], like: chex.ArrayTree) -> Checkpoint:
    """The arrays, and the facts of the manifest, once its files are verified."""
    found = {}
    for name, (file, dtype) in manifest["arrays"].items():
        with reading(folder / file, "an array of a checkpoint", limit=math.inf) as (path, _):
            array = parse_npy(np.frombuffer(path.read_bytes(), np.uint8))
            found[name] = array.view(np.dtype(dtype))
    return Checkpoint(unflatten(found, like, folder), manifest["facts"])


def verify(folder: Path) -> dict[str, Any]:
    """Holds every file of a checkpoint to its sha256, and returns the manifest.

    Raises:
        DataError: a file is missing, new or changed; the message names it.
    """
    manifest = read_manifest(folder)
    for error in find_damage(folder, manifest["files"]).values():
        raise error
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if new := sorted(there - {*manifest["files"], MANIFEST}):
        got = "a file that was not written with them"
        raise DataError(folder / new[0], expected="the bytes that were written", got=got)
    return manifest


_KEPT = 2  # of which one may be damaged


class Checkpoints:
    """The last checkpoints of a run, which a later process goes on from.

    Each holds where training is and its best so far. They are written by a thread of their own,
    while training goes on; ``close`` waits for it.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        *,
        every: float = 60.0,
    ) -> None:
        """Checkpoints in a folder of their own.

        Args:
            folder: need not exist.
            identity: what a run must have in common with one that it continues.
            every: seconds of training between two of them.
        """
        self.folder, self.identity, self.every = folder, dict(identity), every
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._writing: Future | None = None
        self._last = time.monotonic()

    @property
    def exist(self) -> bool:
        """Whether there are any, whole or not."""
        return bool(self._paths())

    def latest(self, like: chex.ArrayTree) -> Checkpoint:
        """The last one that is whole.

        Raises:
            DataError: there is none, or it is of another run.
        """
        errors = []
        for path in reversed(self._paths()):
            try:
                manifest = verify(path)
                # First: the arrays of another run may not fit, which is no damage.
                other = self._find_difference(path, manifest["facts"])
                if other is None:
                    return _read(path, manifest, like)
            except DataError as error:
                errors.append(error)
                warnings.warn(
                    f"A checkpoint is damaged, trying the one before: {error}", stacklevel=2
                )
                continue
            raise other
        raise errors[0] if errors else DataError(self.folder, expected="checkpoints", got="none")

    def offer(
        self, step: int, tree: Callable[[], chex.ArrayTree], facts: Callable[[], Mapping[str, Any]]
    ) -> None:
        """Begins to save what is offered, if it is time.

        Raises:
            OSError: a checkpoint cannot be written; those before it are intact.
        """
        if agreed(time.monotonic() - self._last >= self.every):
            self.save(step, tree(), facts())

    def save(self, step: int, tree: chex.ArrayTree, facts: Mapping[str, Any]) -> None:
        """Begins to save a checkpoint, when the one before is written; the first process does.

        Raises:
            OSError: a checkpoint cannot be written; those before it are intact.
        """
        self._last = time.monotonic()
        if jax.process_index() > 0:
            return
        self._wait()
        path = self.folder / f"{step:012d}"
        host = jax.tree.map(np.array, flatten(tree))  # copies: training goes on in that memory
        content = {**facts, "identity": self.identity}
        self._writing = self._thread.submit(self._write, path, host, content)

    def close(self) -> None:
        """Waits until all is written.

        Raises:
            OSError: it could not be.
        """
        self._wait()
        self._thread.shutdown()

    def _wait(self):
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _write(self, path, arrays, facts):
        save(path, arrays, facts)
        for old in self._paths()[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def _paths(self):
        return sorted(path for path in self.folder.glob("[0-9]*") if path.is_dir())

    def _find_difference(self, path: Path, facts: Mapping[str, Any]) -> DataError | None:
        """What is to be raised for a checkpoint of another run."""
        made_by = facts["identity"]
        for name in sorted(made_by.keys() | self.identity.keys()):
            if made_by.get(name) != self.identity.get(name):
                return DataError(
                    path,
                    expected=f"{name} {self.identity.get(name)!r}",
                    got=f"{made_by.get(name)!r}",
                    fix="It is of another run; start in a new folder.",
                )
        return None
