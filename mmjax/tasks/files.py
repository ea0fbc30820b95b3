"""A sample from a file: a picture, a recording, a table or an array, by the file's extension."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmjax.errors import import_extra
from mmjax.reading import parse_npy, reading
from mmjax.tasks.readers import FIX, MAX_SMALL, read_wav
from mmjax.tasks.samples import Sound

MAX_PIXELS = 1 << 24
"""Of a picture; and so many samples has a recording at most."""

_GREYS, _COLOURS = ("1", "L", "LA"), ("P", "RGB", "RGBA")  # Pillow's names


def read_picture(path: Path) -> np.ndarray:
    """Reads a PNG or JPEG file: uint8 [height, width, channels], grey (1) or red, green, blue (3).

    It stands as the camera was held; transparency is dropped.

    Raises:
        DataError: the file is missing, malformed, larger than ``MAX_PIXELS``, or has colours of
            another kind, such as 16 bits.
        UsageError: Pillow is not installed.
    """
    pillow = import_extra("data", "PIL.Image", "files")
    with reading(path, "a picture in a PNG or JPEG file", FIX, MAX_SMALL) as (path, refuse):
        picture = pillow.open(io.BytesIO(path.read_bytes()), formats=("PNG", "JPEG"))
        if picture.width * picture.height > MAX_PIXELS:
            refuse(f"{picture.width} x {picture.height} pixels")
        return pixels_of(import_extra("data", "PIL.ImageOps", "files").exif_transpose(picture))


def pixels_of(picture: Any) -> np.ndarray:
    """What a Pillow image shows: uint8 [height, width, channels], grey or red, green and blue.

    Raises:
        ValueError: its colours are of another kind.
    """
    if picture.mode in _GREYS:
        return np.array(picture.convert("L"))[..., None]
    if picture.mode in _COLOURS:
        # By way of RGBA, because Pillow warns of palettes whose transparency would be lost.
        return np.array(picture.convert("RGBA").convert("RGB"))
    raise ValueError(f"colours of mode {picture.mode}")


def read_sound(path: Path) -> Sound:
    """Reads a WAV or FLAC file; channels are averaged.

    Raises:
        DataError: the file is missing, malformed, empty, or longer than ``MAX_PIXELS`` samples.
        UsageError: soundfile, for FLAC, is not installed.
    """
    if path.suffix.lower() == ".wav":
        return Sound(*read_wav(path))
    soundfile = import_extra("data", "soundfile", "files")
    with reading(path, "a FLAC file", FIX, MAX_SMALL) as (path, refuse):
        file = soundfile.SoundFile(io.BytesIO(path.read_bytes()))
        claims = f"{file.frames} samples, {file.channels} channels, {file.samplerate} a second"
        if file.format != "FLAC" or not 0 < file.frames * file.channels <= MAX_PIXELS:
            refuse(f"{file.format} with {claims}")
        samples = file.read(dtype="float32", always_2d=True)
        if len(samples) != file.frames:
            refuse(f"a header that claims {claims}, and {len(samples)} of them")
        return Sound(samples.mean(axis=1), file.samplerate)


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


def is_unnamed(heading: str) -> bool:
    """Whether a column has no name, as that of the row numbers of a data frame."""
    return not heading or heading.startswith("Unnamed: ")


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
    ".wav": read_sound,
    ".flac": read_sound,
    ".csv": read_table,
    ".npy": read_array,
}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
