"""What the loaders share: folders, seeds, and file readers that fail with one clear error.

No reader trusts a header: sizes are checked against the file before memory is asked for.
"""

import csv
import gzip
import math
import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mmjax.errors import DataError, UsageError
from mmjax.storage.reading import MAX_BYTES, MAX_SMALL, parse_npy, reading
from mmjax.tasks.readers.sound import Sound, check_wav, decode

DATA_VARIABLE = "MMJAX_DATA"
MAX_MAPPED = 1 << 33  # bytes of an array that is mapped and not read
ROWS = 1024  # of an array that are looked at together
FIX = "Download or write it again."
SOUND_FIX = (
    "Download it again, or write it by soundfile.write(path, samples, rate, subtype='PCM_16'), "
    "with samples in [-1, 1]; `sox --ignore-length` saves a recording that was cut short."
)
IDX_UINT8 = 8


def data_folder(data: str | Path | None) -> Path:
    """The folder to read: ``data``, else the one that the environment names in MMJAX_DATA.

    Raises:
        UsageError: neither names one.
        DataError: there is no such folder.
    """
    name = data if data is not None else os.environ.get(DATA_VARIABLE)
    fix = f"Name it with data= or --data, or in the environment variable {DATA_VARIABLE}."
    if not name:
        raise UsageError("data", expected="the folder with the data set", got="none", fix=fix)
    folder = Path(name)
    if not folder.is_dir():
        raise DataError(
            folder,
            expected="a folder with the data set",
            got="a file" if folder.exists() else "nothing there",
            fix=fix,
        )
    return folder


def find(folder: Path, *names: str) -> Path:
    """The first of ``names`` (paths below ``folder``) that exists.

    Raises:
        DataError: none exists.
    """
    for name in names:
        if (folder / name).exists():
            return folder / name
    there = sorted(path.name for path in folder.iterdir())
    raise DataError(
        folder,
        expected=" or ".join(names),
        got=f"only {', '.join(there[:8])}{', ...' if there[8:] else ''}" if there else "nothing",
        fix="Download the data set, or name the folder that holds it.",
    )


def read_idx(path: str | Path) -> np.ndarray:
    """Reads an IDX file of unsigned bytes (all that MNIST has), compressed if named ``.gz``.

    Returns:
        uint8, of the one to three dimensions that the header gives.

    Raises:
        DataError: the file is missing, malformed, or longer or shorter than its header says.
    """
    with reading(path, "an IDX file of unsigned bytes", FIX) as (path, refuse):
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            zeros, dtype, rank = struct.unpack(">HBB", file.read(4))
            if zeros != 0 or dtype != IDX_UINT8 or not 1 <= rank <= 3:
                refuse(f"magic number {zeros << 16 | dtype << 8 | rank:#010x}")
            shape = struct.unpack(f">{rank}I", file.read(4 * rank))
            size = math.prod(shape)
            if not 0 < size <= MAX_BYTES:
                refuse(f"a header that claims shape {shape}")
            content = _read_at_most(file, size + 1)
        if len(content) != size:
            come = "more" if len(content) > size else f"only {len(content)}"
            refuse(f"a header that claims {size} values, shape {shape}, and {come} of them")
        return np.frombuffer(content, np.uint8).reshape(shape)


def read_wav(path: str | Path) -> Sound:
    """Reads a WAV file of any samples that libsndfile knows: PCM, floats, u-law, ADPCM and others.

    Raises:
        DataError: the file is missing, malformed, cut short or empty, or has samples that are not
            finite or exceed ``LOUDEST``.
    """
    with reading(path, "a WAV file", SOUND_FIX, MAX_SMALL) as (path, refuse):
        content = path.read_bytes()
        check_wav(content, refuse)
        return decode(content, ("WAV", "WAVEX", "RF64"), refuse)


def read_flac(path: str | Path) -> Sound:
    """Reads a FLAC file.

    Raises:
        DataError: the file is missing, malformed, cut short or empty.
    """
    with reading(path, "a FLAC file", SOUND_FIX, MAX_SMALL) as (path, refuse):
        return decode(path.read_bytes(), ("FLAC",), refuse)


def read_npy(path: str | Path, shape: tuple[int | None, ...] = (None, 784)) -> np.ndarray:
    """Opens a ``.npy`` file of numbers without reading it all; ``None`` allows any length from 1.

    Raises:
        DataError: the file is missing, malformed, truncated, pickled, of another shape, or holds
            anything but finite integers and floats.
    """
    expected = f"an array of numbers of shape {shape} in a .npy file"
    with reading(path, expected, FIX, MAX_MAPPED) as (path, refuse):
        array = parse_npy(np.memmap(path, np.uint8, mode="r"))
        if array.dtype.kind not in "iuf":
            refuse(f"values of {array.dtype}")
        fits = [want in (None, have) for want, have in zip(shape, array.shape, strict=False)]
        if array.ndim != len(shape) or not all(fits) or array.size == 0:
            refuse(f"shape {array.shape}")
        starts = range(0, len(array), ROWS)
        if not all(np.isfinite(array[start : start + ROWS]).all() for start in starts):
            refuse("NaN or infinity")
        return array


def read_csv_column(path: str | Path, column: str) -> np.ndarray:
    """Reads one column of integers, int64 [rows], of a CSV file whose first line names columns.

    Raises:
        DataError: the file is missing, is not text, or a row has no integer in that column.
    """
    expected = f"a CSV file with integers in a column {column!r}"
    with (
        reading(path, expected, FIX, MAX_SMALL) as (path, refuse),
        path.open(encoding="utf-8-sig", newline="") as file,
    ):
        lines = csv.DictReader(file, strict=True)
        if column not in (lines.fieldnames or ()):
            refuse(f"columns {lines.fieldnames}"[:300])
        return np.fromiter((int(line[column]) for line in lines), np.int64)


def _read_at_most(file: BinaryIO, size: int) -> bytearray:
    """Reads in pieces, since one large read allocates all of ``size`` whatever the file holds."""
    content = bytearray()
    while piece := file.read(min(size - len(content), 1 << 20)):
        content += piece
    return content
