"""What the loaders share: data folders, and file readers that fail with one clear error.

No reader trusts a header: sizes are checked against the file before memory is allocated.
"""

import csv
import gzip
import math
import os
import struct
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from mmjax.errors import DataError, UsageError
from mmjax.storage.reading import MAX_BYTES, MAX_SMALL, parse_npy, reading
from mmjax.tasks.readers.sound import Sound, check_wav, decode

DATA_VARIABLE = "MMJAX_DATA"
MAX_MAPPED = 1 << 33  # bytes of a memory-mapped array
ROWS = 1024  # rows of an array that are checked at a time
FIX = "Download or write it again."
SOUND_FIX = (
    "Download it again, or write it by soundfile.write(path, samples, rate, subtype='PCM_16'), "
    "with samples in [-1, 1]; `sox --ignore-length` recovers a truncated recording."
)
IDX_UINT8 = 8


def data_folder(data: str | Path | None) -> Path:
    """The folder to read: ``data``, or by default the environment variable MMJAX_DATA.

    Raises:
        UsageError: neither is given.
        DataError: there is no such folder.
    """
    name = data if data is not None else os.environ.get(DATA_VARIABLE)
    fix = f"Pass data= or --data, or set the environment variable {DATA_VARIABLE}."
    if not name:
        raise UsageError("data", expected="the folder with the dataset", got="none", fix=fix)
    folder = Path(name)
    if not folder.is_dir():
        raise DataError(
            folder,
            expected="a folder with the dataset",
            got="a file" if folder.exists() else "no such folder",
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
        fix="Download the dataset, or give the folder that holds it.",
    )


def read_idx(path: str | Path) -> np.ndarray:
    """Reads an IDX file of unsigned bytes, as of MNIST, gzip-compressed if named ``.gz``.

    Returns:
        uint8, of one to three dimensions.

    Raises:
        DataError: the file is missing or malformed, or its size is not what its header states.

    Example:
        >>> header = struct.pack(">HBBI", 0, IDX_UINT8, 1, 3)  # one dimension of three values
        >>> _ = Path("labels-idx1-ubyte").write_bytes(header + bytes([7, 2, 1]))
        >>> read_idx("labels-idx1-ubyte")
        array([7, 2, 1], dtype=uint8)
    """
    with reading(path, "an IDX file of unsigned bytes", FIX) as (path, refuse):
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            zeros, dtype, rank = struct.unpack(">HBB", file.read(4))
            if zeros != 0 or dtype != IDX_UINT8 or not 1 <= rank <= 3:
                refuse(f"magic number {zeros << 16 | dtype << 8 | rank:#010x}")
            shape = struct.unpack(f">{rank}I", file.read(4 * rank))
            size = math.prod(shape)
            if not 0 < size <= MAX_BYTES:
                refuse(f"a header that states shape {shape}")
            content = _read_at_most(file, size + 1)
        if len(content) != size:
            found = "more" if len(content) > size else str(len(content))
            refuse(f"{found} values, though the header states shape {shape}, {size} values")
        return np.frombuffer(content, np.uint8).reshape(shape)


def read_wav(path: str | Path) -> Sound:
    """Reads a WAV file in any encoding that libsndfile supports, such as PCM, float or u-law.

    Raises:
        DataError: the file is missing, malformed, truncated or empty, or has samples that are not
            finite or exceed ``LOUDEST``.

    Example:
        >>> import soundfile
        >>> soundfile.write("beep.wav", np.tile([[0.5, 0.0]], (80, 1)), 8000)  # two channels
        >>> sound = read_wav("beep.wav")
        >>> sound.samples.shape, float(sound.samples[0]), sound.rate
        ((80,), 0.25, 8000)
    """
    with reading(path, "a WAV file", SOUND_FIX, MAX_SMALL) as (path, refuse):
        content = path.read_bytes()
        check_wav(content, refuse)
        return decode(content, ("WAV", "WAVEX", "RF64"), refuse)


def read_flac(path: str | Path) -> Sound:
    """Reads a FLAC file.

    Raises:
        DataError: the file is missing, malformed, truncated or empty.
    """
    with reading(path, "a FLAC file", SOUND_FIX, MAX_SMALL) as (path, refuse):
        return decode(path.read_bytes(), ("FLAC",), refuse)


def read_npy(path: str | Path, shape: tuple[int | None, ...] = (None, 784)) -> np.ndarray:
    """Memory-maps a ``.npy`` file of numbers; ``None`` in ``shape`` allows any positive length.

    Raises:
        DataError: the file is missing, malformed, truncated, pickled, of another shape, or holds
            anything but finite integers and floats.

    Example:
        >>> np.save("images.npy", np.zeros((5, 784), np.uint8))
        >>> read_npy("images.npy", (None, 784)).shape
        (5, 784)
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
    """Reads a column of integers, int64 [rows], from a CSV file with a header line.

    Raises:
        DataError: the file is missing, is not text, or a row has no integer in that column.

    Example:
        >>> _ = Path("labels.csv").write_text("id,label\\na,3\\nb,1\\n")
        >>> read_csv_column("labels.csv", "label")
        array([3, 1])
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


def _read_at_most(file: BufferedIOBase, size: int) -> bytearray:
    """Reads in pieces, because a single read allocates all of ``size`` whatever the file holds."""
    content = bytearray()
    while piece := file.read(min(size - len(content), 1 << 20)):
        content += piece
    return content
