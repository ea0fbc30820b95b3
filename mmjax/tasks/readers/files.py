"""A sample from a file: a picture, a recording, a table or an array, by the file's extension."""

import csv
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.data.coerce import is_unnamed
from mmjax.errors import import_extra
from mmjax.storage.reading import parse_npy, reading
from mmjax.tasks.readers.formats import FIX, MAX_SMALL, read_flac, read_wav
from mmjax.tasks.readers.sound import Sound

MAX_PIXELS = 1 << 24
"""Of a picture."""

_GREYS, _COLOURS = ("1", "L", "LA"), ("P", "RGB", "RGBA")  # Pillow's names
_ORIENTATION, _TURNS = 0x0112, {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""Of EXIF: the tag, and the member of Pillow's Transpose that undoes each value."""


def read_picture(path: Path) -> np.ndarray:
    """Reads a PNG or JPEG file: uint8 [height, width, channels], grey (1) or red, green, blue (3).

    Raises:
        DataError: the file is missing, malformed, larger than ``MAX_PIXELS``, or has colours of
            another kind, such as 16 bits.
        UsageError: Pillow is not installed.
    """
    pillow = import_extra("data", "PIL.Image", "files")
    with reading(path, "a picture in a PNG or JPEG file", FIX, MAX_SMALL) as (path, refuse):
        _ignore_metadata()
        picture = pillow.open(io.BytesIO(path.read_bytes()), formats=("PNG", "JPEG"))
        if picture.width * picture.height > MAX_PIXELS:
            refuse(f"{picture.width} x {picture.height} pixels")
        return pixels_of(picture)


def pixels_of(picture: Any) -> np.ndarray:
    """What a Pillow image shows: uint8 [height, width, channels], grey or red, green and blue.

    It stands as the camera was held, or as it is stored where damaged EXIF does not say how that
    was; transparency is dropped.

    Raises:
        ValueError: its colours are of another kind.
    """
    picture.load()
    with warnings.catch_warnings():
        _ignore_metadata()
        picture = _turn(picture)
    if picture.mode in _GREYS:
        return np.array(picture.convert("L"))[..., None]
    if picture.mode in _COLOURS:
        # By way of RGBA, because Pillow warns of palettes whose transparency would be lost.
        return np.array(picture.convert("RGBA").convert("RGB"))
    raise ValueError(f"colours of mode {picture.mode}")


def _ignore_metadata() -> None:
    """Ignores what Pillow warns of: damaged pixels are errors, so that leaves EXIF and the like."""
    warnings.simplefilter("ignore", UserWarning)


def _turn(picture: Any) -> Any:
    try:
        turn = _TURNS.get(picture.getexif().get(_ORIENTATION))
    except Exception:  # damaged EXIF fails in many ways, and only its orientation matters
        return picture
    return picture if turn is None else picture.transpose(turn)


def read_table(path: Path) -> np.ndarray:
    """Reads a CSV file of numbers: float64 [features] of one line, [lines, features] of several.

    A first line without any number is a heading, and passed over; so is one that counts columns of
    other numbers, 0,1,2, as data frames have it. A column without a name that counts the lines is
    passed over, too.

    Raises:
        DataError: the file is missing, is not text, has lines of unequal length or without
            numbers, or begins with a line that may be a heading or not.
    """
    with (
        reading(path, "a CSV file of numbers", FIX, MAX_SMALL) as (path, refuse),
        path.open(encoding="utf-8-sig", newline="") as file,
    ):
        lines = [line for line in csv.reader(file, strict=True) if line]
        if not lines:
            refuse("no numbers")
        first, rest = [cell.strip() for cell in lines[0]], lines[1:]
        if is_unnamed(first[0]):
            index = [line[0] for line in rest]
            if not (_counts(index) or _counts(["0", *index])):
                refuse("a column without a name, which does not count the lines")
            rest = [line[1:] for line in rest]
        elif any(map(_is_number, first)):
            whole = all(cell.strip().lstrip("-").isdecimal() for line in rest for cell in line)
            if not (rest and _counts(first)) or (whole and len(first) == 1):
                rest = [first, *rest]
            elif whole or len(first) == 1:
                refuse(f"a first line {','.join(first)}, which may be a heading: name the columns")
        if not rest:
            refuse("no numbers")
        values = np.array(rest, np.float64)
        return values[0] if len(values) == 1 else values


def _counts(cells: Sequence[str]) -> bool:
    """Whether they are 0, 1, 2, ..."""
    return [*cells] == [str(number) for number in range(len(cells))]


def read_array(path: Path) -> np.ndarray:
    """Reads a .npy file of numbers, at most as large as other files of samples.

    Raises:
        DataError: the file is missing, malformed, or holds anything but numbers.
    """
    with reading(path, "an array of numbers in a .npy file", FIX, MAX_SMALL) as (path, refuse):
        array = parse_npy(np.frombuffer(path.read_bytes(), np.uint8))
        if array.dtype.kind not in "fiub" or array.size == 0 or not 1 <= array.ndim <= 3:
            refuse(f"{array.dtype} of shape {array.shape}")
        return array


READERS: Mapping[str, Callable[[Path], np.ndarray | Sound]] = {
    ".png": read_picture,
    ".jpg": read_picture,
    ".jpeg": read_picture,
    ".wav": read_wav,
    ".flac": read_flac,
    ".csv": read_table,
    ".npy": read_array,
}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
