"""Files that a crash cannot tear."""

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
    """A file to write that takes the place of ``path`` when all of it is on the disk.

    Until then, and if the block or the disk fails, ``path`` is what it was. A device, such as
    /dev/null, is written to as it is.

    Raises:
        OSError: the disk is full, or the folder cannot be written to; the message names ``path``.
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
        raise OSError(error.errno, f"{error.strerror}, left as it was", str(path)) from error
    finally:
        with suppress(OSError):  # where there is no folder, there is no part
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, all of it or nothing.

    Bytes of file names that are not UTF-8 become escapes.

    Raises:
        OSError: as ``whole_file``.
    """
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def write_csv(path: Path, lines: Iterable[Sequence[object]]) -> None:
    """Writes a CSV file, all of it or nothing, in which no text is a formula or a control code.

    Spreadsheets run what begins with "=", "+", "-" or "@"; an apostrophe before it makes it text
    (OWASP, CSV Injection). Numbers stay as they are.

    Raises:
        OSError: as ``whole_file``.
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
    """Writes arrays as ``numpy.savez_compressed`` does, all of them or nothing.

    NumPy takes the arrays as keyword arguments, and so has none called ``file``.

    Raises:
        OSError: as ``whole_file``.
    """
    with whole_file(path) as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                write_npy(entry, array)


def write_npy(file: IO[bytes], array: np.ndarray) -> None:
    """Writes an array as ``numpy.save`` does, which does not say why the disk has refused it."""
    array = np.asarray(array, order="C")
    npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(array))
    file.write(array.tobytes())


def sync_tree(folder: Path) -> None:
    """Brings a folder and all that is in it to the disk.

    Raises:
        OSError: a file cannot be written out.
    """
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            with open(os.path.join(place, name), "rb") as file:
                os.fsync(file.fileno())
        sync(Path(place))


def digest_file(path: Path) -> str:
    """A sha256, in hex, of what a file holds."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(content: Mapping[str, Any]) -> str:
    """A sha256, in hex, of what JSON makes of a mapping, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def has_files(folder: Path) -> bool:
    """Whether a folder holds more than a lock, or what a killed process had begun to write."""
    return any(path.name != LOCK and path.suffix != _PART for path in folder.iterdir())


def remove_parts(folder: Path) -> None:
    """Removes what killed processes had begun to write into a folder that is locked."""
    for path in folder.rglob(f".*.[0-9]*{_PART}"):
        path.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Brings the names in a folder to the disk, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
