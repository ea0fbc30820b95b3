"""Files that are written whole or not at all."""

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import IO, Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from numpy.lib import format as npy

from mmjax.errors import printable
from mmjax.storage.locks import LOCK

_PART = ".part"


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file that replaces ``path`` once all of it is on the disk.

    Until then, and if the block or the disk fails, ``path`` is unchanged. A device, such as
    /dev/null, is written to directly.

    Raises:
        OSError: the disk is full, or the folder cannot be written to; the message names ``path``.

    Example:
        >>> path = Path("notes.txt")
        >>> write_text(path, "old")
        >>> with suppress(RuntimeError), whole_file(path) as file:
        ...     _ = file.write(b"new, but on")
        ...     raise RuntimeError
        >>> path.read_text(), sorted(os.listdir())
        ('old', ['notes.txt'])
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            yield file
        return
    part = target.with_name(f".{target.name}.{os.getpid()}{_PART}")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
        sync(target.parent)
    except OSError as error:
        problem = f"{error.strerror}, the file was not changed"
        raise OSError(error.errno, problem, str(path)) from error
    finally:
        with suppress(OSError):  # where there is no folder, there is no part
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically, in UTF-8.

    Undecodable bytes of file names become backslash escapes.

    Raises:
        OSError: as ``whole_file``.

    Example:
        >>> write_text(Path("names.txt"), "Zürich")
        >>> Path("names.txt").read_bytes().decode("utf-8")
        'Zürich'
    """
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def write_csv(path: Path, lines: Iterable[Sequence[object]]) -> None:
    """Writes a CSV file atomically, with formulas and control codes defused.

    Spreadsheets evaluate cells that begin with "=", "+", "-" or "@"; an apostrophe before them
    makes them text (OWASP, CSV Injection). Numbers are left alone.

    Raises:
        OSError: as ``whole_file``.

    Example:
        >>> write_csv(Path("scores.csv"), [["name", "gain"], ["=1+1", -0.5]])
        >>> Path("scores.csv").read_text().splitlines()
        ['name,gain', "'=1+1,-0.5"]
    """
    text = StringIO()
    csv.writer(text).writerows([_as_cell(cell) for cell in line] for line in lines)
    write_text(path, text.getvalue())


def _as_cell(cell: object) -> str:
    text = printable(str(cell))
    with suppress(ValueError):
        float(text)
        return text
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays as ``numpy.savez_compressed`` does, but atomically.

    NumPy takes the arrays as keyword arguments, so none can be called ``file``; here one can.

    Raises:
        OSError: as ``whole_file``.

    Example:
        >>> from mmjax.storage.reading import read_npz
        >>> write_npz(Path("a.npz"), {"file": np.arange(3)})
        >>> read_npz("a.npz")
        {'file': array([0, 1, 2])}
    """
    with whole_file(path) as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                write_npy(entry, array)


def write_npy(file: IO[bytes], array: np.ndarray) -> None:
    """Writes an array as ``numpy.save`` does, which hides the reason why a write failed."""
    array = np.asarray(array, order="C")
    npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(array))
    file.write(array.tobytes())


def sync_tree(folder: Path) -> None:
    """Flushes a folder and everything in it to the disk.

    Raises:
        OSError: a file cannot be flushed.
    """
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            with open(os.path.join(place, name), "rb") as file:
                os.fsync(file.fileno())
        sync(Path(place))


def digest_file(path: Path) -> str:
    """The sha256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(content: Mapping[str, Any]) -> str:
    """The sha256 of a mapping as JSON, in hex; the order of its keys does not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def has_files(folder: Path) -> bool:
    """Whether a folder holds anything but its lock and the partial files of killed processes."""
    return any(path.name != LOCK and path.suffix != _PART for path in folder.iterdir())


def remove_parts(folder: Path) -> None:
    """Removes the partial files of killed processes from a folder; lock it first."""
    for path in folder.rglob(f".*.[0-9]*{_PART}"):
        path.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Flushes the entries of a folder to the disk, where the file system supports it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
