"""Reading files: headers are not trusted, and every failure is one error that names the file."""

import io
import math
import re
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy

from mmjax.errors import DataError

MAX_BYTES = 1 << 30
"""Of one file, and of its content once unpacked."""
MAX_SMALL = 1 << 24
"""Of a file that takes many times its size to parse: settings, labels, a recording."""
MAX_HEADER = 1 << 14
"""Bytes of a .npy file's header; NumPy itself reads ten thousand characters."""

_PNG_END = bytes(4) + b"IEND\xaeB`\x82"
"""The last chunk, with its checksum, which Pillow does not check."""
_ENTRY = re.compile(r"\w[\w .-]*\.npy")
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@contextmanager
def reading(
    path: str | Path, expected: str, fix: str = "", limit: float = MAX_BYTES
) -> Iterator[tuple[Path, Callable[[str], NoReturn]]]:
    """Turns every failure of a parser, warnings included, into one DataError about ``path``.

    Args:
        path: the file.
        expected: what it should be.
        fix: what to do about it.
        limit: the largest size in bytes; infinite for a file that is memory-mapped, not read.

    Yields:
        the path, and a function that raises the DataError for what it is told was found.

    Example:
        >>> import json
        >>> _ = Path("sizes.json").write_text("{")
        >>> with reading("sizes.json", "a JSON file", fix="Download it again.") as (path, refuse):
        ...     json.loads(path.read_text())
        Traceback (most recent call last):
            ...
        mmjax.errors.DataError: sizes.json: expected a JSON file, got JSONDecodeError: ...
    """
    path = Path(path)

    def refuse(got: str) -> NoReturn:
        raise DataError(path, expected=expected, got=got, fix=fix)

    try:
        if not path.is_file():  # reading from a pipe or a device might never end
            refuse("something that is not a regular file" if path.exists() else "no such file")
        if path.stat().st_size > limit:
            refuse(f"{path.stat().st_size} bytes")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield path, refuse
    except DataError:
        raise
    except Exception as error:  # whatever a parser raises is the fault of the file
        reason = f"{type(error).__name__}: {error}"[:300]
        raise DataError(path, expected=expected, got=reason, fix=fix) from error


@contextmanager
def open_database(path: Path) -> Iterator[sqlite3.Connection]:
    """Opens a SQLite database read-only; every failure is one DataError."""
    with (
        reading(path, "an intact SQLite database", limit=math.inf) as (path, _),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database,
    ):
        yield database


def find_pictures(folder: Path) -> list[Path]:
    """The PNG and SVG files in a folder."""
    return sorted([*folder.glob("*.png"), *folder.glob("*.svg")])


def check_picture(path: Path) -> None:
    """Checks a PNG against the checksums in it, without decoding its pixels; that an SVG is whole.

    Raises:
        DataError: the file is missing or corrupted.
    """
    if path.suffix == ".svg":
        with reading(path, "an intact SVG") as (path, _):
            ElementTree.parse(path)
        return
    from PIL import Image

    with reading(path, "an intact PNG") as (path, refuse):
        with Image.open(str(path), formats=("PNG",)) as picture:
            picture.verify()
        if not path.read_bytes().endswith(_PNG_END):
            refuse("a file that does not end with its IEND chunk")


def read_npz(path: str | Path, expected: str = "arrays in an .npz file") -> dict[str, np.ndarray]:
    """Reads all arrays of an archive that ``numpy.savez`` or ``savez_compressed`` wrote.

    Raises:
        DataError: the file is missing or malformed, holds anything but arrays of plain values, or
            would unpack to more than ``MAX_BYTES``.

    Example:
        >>> np.savez("a.npz", x=np.arange(3), y=np.array([{}]))
        >>> read_npz("a.npz")
        Traceback (most recent call last):
            ...
        mmjax.errors.DataError: a.npz: expected arrays in an .npz file, got ValueError: an array of
        Python objects.
    """
    with reading(path, expected) as (path, refuse), ZipFile(path) as archive:
        entries = archive.infolist()
        size = sum(entry.file_size for entry in entries)
        if size > MAX_BYTES:
            refuse(f"an archive of {size} bytes, of which at most {MAX_BYTES} are read")
        for entry in entries:
            # A flipped bit can make the next entry the comment of this one.
            if not _ENTRY.fullmatch(entry.filename) or entry.comment:
                refuse(f"the entry {entry.filename!r}")
            if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):  # others unpack without limit
                refuse(f"an entry with compression method {entry.compress_type}")
        return {entry.filename[:-4]: _read_entry(archive, entry) for entry in entries}


def _read_entry(archive: ZipFile, entry: ZipInfo) -> np.ndarray:
    with archive.open(entry) as file:
        content = file.read(entry.file_size + 1)  # without a size it might unpack far more
    return parse_npy(np.frombuffer(content, np.uint8))


def parse_npy(content: np.ndarray) -> np.ndarray:
    """The array in the bytes of a .npy file; nothing is copied, allocated or unpickled.

    Args:
        content: uint8 [bytes], in memory or memory-mapped.

    Raises:
        ValueError: it is not a .npy file, holds Python objects, or does not have the size that its
            header states.
    """
    start = io.BytesIO(content[:MAX_HEADER].tobytes())
    version = npy.read_magic(start)
    if version not in _HEADERS:
        raise ValueError(f"version {version} of the .npy format, which is not supported")
    shape, by_column, dtype = _HEADERS[version](start)
    if dtype.hasobject:
        raise ValueError("an array of Python objects")
    values = content[start.tell() :]
    size = math.prod(shape) * dtype.itemsize
    if len(values) != size:
        raise ValueError(
            f"{len(values)} bytes of values, though the header states shape {shape}, {size} bytes"
        )
    return values.view(dtype).reshape(shape, order="F" if by_column else "C")
