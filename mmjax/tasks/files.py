"""A sample from a file: a picture, a recording, a table or an array, by the file's extension."""

import csv
import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.errors import import_extra
from mmjax.reading import parse_npy, reading
from mmjax.tasks.readers import FIX, MAX_SMALL, read_flac, read_wav
from mmjax.tasks.sound import Sound

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
    """Reads a CSV file of numbers: float32 [features] of one line, [lines, features] of several.

    A first line without any number is a heading, and passed over.

    Raises:
        DataError: the file is missing, is not text, or has lines of unequal length or without
            numbers.
    """
    with (
        reading(path, "a CSV file of numbers", FIX, MAX_SMALL) as (path, refuse),
        path.open(encoding="utf-8-sig", newline="") as file,
    ):
        lines = [line for line in csv.reader(file, strict=True) if line]
        if lines and not any(map(_is_number, lines[0])):
            lines = lines[1:]
        if not lines:
            refuse("no numbers")
        values = np.array(lines, np.float64).astype(np.float32)
        return values[0] if len(values) == 1 else values


def read_array(path: Path) -> np.ndarray:
    """Reads a .npy file of numbers, at most as large as other files of samples.

    Raises:
        DataError: the file is missing, malformed, or holds anything but numbers.
    """
    with reading(path, "an array of numbers in a .npy file", FIX, MAX_SMALL) as (path, refuse):
        array = parse_npy(np.frombuffer(path.read_bytes(), np.uint8))
        if array.dtype.kind not in "fiu" or array.size == 0 or not 1 <= array.ndim <= 3:
            refuse(f"{array.dtype} of shape {array.shape}")
        return array if array.dtype == np.uint8 else array.astype(np.float32)


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
