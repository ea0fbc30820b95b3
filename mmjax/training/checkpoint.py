"""Saves and restores trees of arrays; the only module that uses orbax.

A checkpoint is a folder with ``arrays``, which orbax writes, and ``manifest.json``: the sha256 of
every file and of every array, and the caller's facts. Orbax by itself does not notice a flipped
bit. The folder is renamed into place once all of it is on the disk.

Orbax takes a quarter of a second to import, and so is imported only to save or restore.
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
_FACTS = 1 << 16  # bytes that orbax writes beside the arrays
_PLAIN = re.compile(r"[\w/ .,:+=@%~-]*", re.ASCII)


class Checkpoint(NamedTuple):
    """What ``restore`` reads: the tree, and the facts saved with it."""

    tree: chex.ArrayTree
    facts: dict[str, Any]


def save(folder: Path, tree: chex.ArrayTree, facts: Mapping[str, Any] | None = None) -> None:
    """Writes a tree of arrays to a folder, and returns when all of it is on the disk.

    Args:
        folder: replaced as a whole once the checkpoint is complete.
        tree: of arrays, or of JAX keys.
        facts: anything that JSON can represent.

    Raises:
        OSError: the checkpoint cannot be written; an earlier one in ``folder`` is intact.

    Example:
        >>> tree = {"kernel": np.ones((2, 3), np.float32), "key": jax.random.key(0)}
        >>> save(Path("step-100"), tree, {"step": 100})
        >>> found = restore(Path("step-100"), like=tree)
        >>> found.tree["kernel"].shape, found.facts
        ((2, 3), {'step': 100})
    """
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # left by a killed process
    try:
        unfinished.mkdir(parents=True)
        _write(unfinished, tree, facts or {})
        sync_tree(unfinished)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)  # frees space on a full disk
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
    except Exception as error:  # on a full disk orbax fails in many ways
        code = re.search(r"os_error_code='(\d+)'", f"{error}")
        number = int(code[1]) if code else getattr(error, "errno", None) or errno.EIO
        raise OSError(number, os.strerror(number)) from error
    files = [path for path in (folder / ARRAYS).rglob("*") if path.is_file()]
    digests = {name: digest_array(x) for name, x in arrays.items()}
    write_manifest(folder, files, facts=dict(facts), arrays=digests)


def _ask_for_room(folder: Path, size: int) -> None:
    """Raises OSError if the disk lacks space for ``size`` bytes: orbax's threads fail noisily."""
    with TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, size + _FACTS)


@contextmanager
def _plain_path(folder: Path) -> Iterator[Path]:
    """Another path to a folder whose own path orbax cannot handle, or takes for a pattern."""
    if _PLAIN.fullmatch(f"{folder.absolute()}"):
        yield folder.absolute()
        return
    with TemporaryDirectory(prefix="mmjax-") as place:
        if not _PLAIN.fullmatch(place):
            message = f"orbax cannot write below {place}; set TMPDIR to another folder"
            raise OSError(errno.EINVAL, message)
        link = Path(place, "folder")
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield link


@contextmanager
def _open_orbax():
    """Orbax for this process alone, which has all arrays; errors are raised, and not logged."""
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
    """Restores a tree, verifying every byte of it.

    Args:
        folder: the folder given to ``save``.
        like: a tree of arrays or shapes with the same names, shapes and dtypes.

    Raises:
        DataError: there is no checkpoint, it is corrupted, or its arrays are not those of ``like``.
    """
    return _read(folder, verify(folder), like)


def _read(folder: Path, manifest: Mapping[str, Any], like: chex.ArrayTree) -> Checkpoint:
    """Reads the arrays of a checkpoint whose files have been verified."""
    try:
        with _plain_path(folder) as path, _open_orbax() as checkpointer:
            # Given a target, orbax would silently cast to its dtypes.
            found = checkpointer.restore(path / ARRAYS)
    except Exception as error:  # orbax fails in many ways
        raise DataError(folder, expected="a checkpoint", got=f"{error}"[:300]) from error
    found = {name: np.asarray(x) for name, x in found.items()}
    if {name: digest_array(x) for name, x in found.items()} != manifest["arrays"]:
        got = "a checksum mismatch: the checkpoint is corrupted"
        raise DataError(folder, expected="the arrays as they were saved", got=got)
    return Checkpoint(unflatten(found, like, folder), manifest["facts"])


def verify(folder: Path) -> dict[str, Any]:
    """Checks every file of a checkpoint against its sha256, and returns the manifest.

    Raises:
        DataError: a file is missing, unexpected or changed; the message names it.
    """
    manifest = read_manifest(folder)
    for error in find_damage(folder, manifest["files"]).values():
        raise error
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if new := sorted(there - {*manifest["files"], MANIFEST}):
        got = "a file that is not part of it"
        raise DataError(folder / new[0], expected="the checkpoint as it was written", got=got)
    return manifest


_KEPT = 2  # in case the last one is corrupted


class Checkpoints:
    """The last checkpoints of a run, from which a later process resumes.

    Each holds the training state and the best parameters so far. A thread of its own writes them
    while training continues; ``close`` waits for it.

    Example:
        >>> kept = Checkpoints(Path("run"), {"recipe": "concat"}, every=0.0)
        >>> for step in (10, 20, 30):
        ...     kept.save(step, {"kernel": np.full(3, step)}, {"step": step})
        >>> kept.close()
        >>> sorted(os.listdir("run"))  # the last two
        ['000000000020', '000000000030']
        >>> kept.latest({"kernel": np.zeros(3, int)}).facts["step"]
        30
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
            identity: facts that must be equal for a run to be resumed.
            every: seconds of training between checkpoints.
        """
        self.folder, self.identity, self.every = folder, dict(identity), every
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._writing: Future | None = None
        self._last = time.monotonic()

    @property
    def exist(self) -> bool:
        """Whether there are any, intact or not."""
        return bool(self._paths())

    def latest(self, like: chex.ArrayTree) -> Checkpoint:
        """The last checkpoint that is intact.

        Raises:
            DataError: there is none, or it belongs to another run.
        """
        errors = []
        for path in reversed(self._paths()):
            try:
                manifest = verify(path)
                # First, as the arrays of another run may differ without being corrupted.
                other = self._find_difference(path, manifest["facts"])
                if other is None:
                    return _read(path, manifest, like)
            except DataError as error:
                errors.append(error)
                warnings.warn(
                    f"skipped a corrupted checkpoint, trying the previous one: {error}",
                    stacklevel=2,
                )
                continue
            raise other
        raise errors[0] if errors else DataError(self.folder, expected="checkpoints", got="none")

    def offer(
        self, step: int, tree: Callable[[], chex.ArrayTree], facts: Callable[[], Mapping[str, Any]]
    ) -> None:
        """Starts to save a checkpoint if one is due.

        Raises:
            OSError: a checkpoint cannot be written; earlier ones are intact.
        """
        if agreed(time.monotonic() - self._last >= self.every):
            self.save(step, tree(), facts())

    def save(self, step: int, tree: chex.ArrayTree, facts: Mapping[str, Any]) -> None:
        """Starts to save a checkpoint once the previous one is written; only process 0 writes.

        Raises:
            OSError: a checkpoint cannot be written; earlier ones are intact.
        """
        self._last = time.monotonic()
        if jax.process_index() > 0:
            return
        self._wait()
        path = self.folder / f"{step:012d}"
        host = jax.tree.map(np.array, flatten(tree))  # copies, as training reuses that memory
        content = {**facts, "identity": self.identity}
        self._writing = self._thread.submit(self._write, path, host, content)

    def close(self) -> None:
        """Waits until everything is written.

        Raises:
            OSError: a checkpoint could not be written.
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
        """The error to raise for a checkpoint of another run."""
        made_by = facts["identity"]
        for name in sorted(made_by.keys() | self.identity.keys()):
            if made_by.get(name) != self.identity.get(name):
                return DataError(
                    path,
                    expected=f"{name} {self.identity.get(name)!r}",
                    got=f"{made_by.get(name)!r}",
                    fix="The checkpoint belongs to another run; choose a new folder.",
                )
        return None
