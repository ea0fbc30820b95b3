"""Locks between processes, on a file or on a folder.

The locks are the kernel's (``flock``): they are released when their process ends, even if it is
killed, and they work across the machines of most network file systems. A holder may replace or
remove the locked file, so whoever gets the lock next checks that the file it has opened is still
the one of that name. A link count of zero would not tell: NFS keeps a removed file that is open.
"""

import errno
import fcntl
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mmjax.errors import UsageError

LOCK = "lock"
"""Name of the lock file of a folder."""
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


@contextmanager
def held(path: Path, *, wait: bool) -> Iterator[BinaryIO]:
    """Opens a file, creating it if necessary, and locks it against other processes.

    The lock is released when the process ends, however it ends. On a file system without locks
    (some network drives) there is a warning and no protection.

    Args:
        path: the file. The holder may replace or remove it; the next one to get the lock opens
            whatever has that name by then.
        wait: whether to wait for the lock if another process holds it.

    Raises:
        BlockingIOError: another process holds the lock, and ``wait`` is false.
        OSError: the file cannot be opened or created.
    """
    while True:
        with path.open("a+b") as file:
            _lock(file, wait)
            if _is_named(file, path):
                yield file
                return


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Locks a folder against other processes, creating it if necessary.

    While the folder is locked, its file ``lock`` names the process that holds it. A killed process
    leaves the file behind, but not the lock.

    Args:
        folder: the folder to lock.
        wait: whether to wait for the lock if another process holds it.

    Raises:
        UsageError: another process has locked the folder, and ``wait`` is false.
        OSError: the folder cannot be created or written to.

    Example:
        >>> from mmjax.errors import UsageError
        >>> with locked(Path("run")):
        ...     try:
        ...         with locked(Path("run")):
        ...             pass
        ...     except UsageError as error:
        ...         print(error)
        out: expected a folder that no other process is writing to, got run, which process ... has
        locked. Wait until it is done, or choose another folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    with ExitStack() as stack:
        try:
            file = stack.enter_context(held(path, wait=wait))
        except BlockingIOError as error:
            raise UsageError(
                "out",
                expected="a folder that no other process is writing to",
                got=f"{folder}, which {_holder(path)} has locked",
                fix="Wait until it is done, or choose another folder.",
            ) from error
        stack.callback(path.unlink, missing_ok=True)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n".encode())
        file.flush()
        yield


def _lock(file: BinaryIO, wait: bool) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        warnings.warn(
            f"{file.name}: this file system has no locks; let one process at a time write here",
            stacklevel=4,
        )


def _is_named(file: BinaryIO, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _holder(path: Path) -> str:
    with suppress(OSError):  # the holder may have removed it by now
        return path.read_text(encoding="utf-8").strip() or "another process"
    return "another process"
