"""Saves and restores trees of arrays; the only file that knows orbax.

A checkpoint is a folder with ``arrays``, which orbax writes, and ``manifest.json``: the sha256 of
every file and of every array, and facts of whoever saved it. Orbax alone loads a flipped bit
without a word. The folder gets its name when all of it is on the disk.

Orbax takes a quarter of a second to import, so only those who save or restore wait for it.
"""

import errno
import logging
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, NamedTuple

import chex
import jax
import numpy as np

from mmjax.errors import DataError
from mmjax.storage.files import sync, sync_tree
from mmjax.storage.manifest import MANIFEST, find_damage, read_manifest, write_manifest
from mmjax.storage.trees import digest_array, flatten, unflatten
from mmjax.training.mesh import agreed

ARRAYS = "arrays"
_FACTS = 1 << 16  # bytes of what orbax writes beside the arrays
_PLAIN = re.compile(r"[\w/ .,:+=@%~-]*", re.ASCII)


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
        unfinished.mkdir(parents=True)
        _write(unfinished, tree, facts or {})
        sync_tree(unfinished)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)  # a full disk needs the room
        raise OSError(error.errno, error.strerror, str(folder)) from error
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(unfinished, folder)
    sync(folder.parent)


def _write(folder: Path, tree: chex.ArrayTree, facts: Mapping[str, Any]) -> None:
    arrays = {name: np.asarray(x) for name, x in flatten(tree).items()}
    _ask_for_room(folder, sum(x.nbytes for x in arrays.values()))
    try:
        with _plain_path(folder) as path, _open_orbax() as checkpointer:
            checkpointer.save(path / ARRAYS, arrays)
    except Exception as error:  # what a full disk does to orbax and to what it is made of varies
        code = re.search(r"os_error_code='(\d+)'", f"{error}")
        number = int(code[1]) if code else getattr(error, "errno", None) or errno.EIO
        raise OSError(number, os.strerror(number)) from error
    files = [path for path in (folder / ARRAYS).rglob("*") if path.is_file()]
    digests = {name: digest_array(x) for name, x in arrays.items()}
    write_manifest(folder, files, facts=dict(facts), arrays=digests)


def _ask_for_room(folder: Path, size: int) -> None:
    """Raises OSError where a disk is too full for so many bytes: orbax's threads fail noisily."""
    with TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, size + _FACTS)


@contextmanager
def _plain_path(folder: Path) -> Iterator[Path]:
    """Another path to a folder whose own orbax would take for a pattern, or cannot spell."""
    if _PLAIN.fullmatch(f"{folder.absolute()}"):
        yield folder.absolute()
        return
    with TemporaryDirectory(prefix="mmjax-") as place:
        if not _PLAIN.fullmatch(place):
            raise OSError(errno.EINVAL, f"orbax cannot write below {place}; set TMPDIR to another")
        link = Path(place, "folder")
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield link


@contextmanager
def _open_orbax():
    """Orbax for this process alone, which has all arrays; its errors are raised, and not logged."""
    import orbax.checkpoint as ocp

    index = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"process_{index}"
    )
    logger = logging.getLogger("absl")
    logged, logger.disabled = logger.disabled, True
    try:
        with ocp.StandardCheckpointer(multiprocessing_options=options) as checkpointer:
            yield checkpointer
    finally:
        logger.disabled = logged


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
    try:
        with _plain_path(folder) as path, _open_orbax() as checkpointer:
            # Given a target, orbax would cast to its dtypes without a word.
            found = checkpointer.restore(path / ARRAYS)
    except Exception as error:  # orbax and what it is made of fail in many ways
        raise DataError(folder, expected="a checkpoint", got=f"{error}"[:300]) from error
    found = {name: np.asarray(x) for name, x in found.items()}
    if {name: digest_array(x) for name, x in found.items()} != manifest["arrays"]:
        raise DataError(folder, expected="the arrays that were saved", got="others")
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
