"""Reads a sample from a file: a picture, a recording, a table or an array, by its extension."""

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
"""Most pixels of a picture."""

_GREYS, _COLOURS = ("1", "L", "LA"), ("P", "RGB", "RGBA")  # Pillow's names
_ORIENTATION, _TURNS = 0x0112, {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""Of EXIF: the tag, and the member of Pillow's Transpose that undoes each value."""


def read_picture(path: Path) -> np.ndarray:
    """Reads a PNG or JPEG file: uint8 [height, width, channels], with 1 (grey) or 3 (RGB) channels.

    Raises:
        DataError: the file is missing, malformed, larger than ``MAX_PIXELS``, or of another colour
            mode, such as 16 bits.
        UsageError: Pillow is not installed.

    Example:
        >>> from PIL import Image
        >>> Image.new("RGBA", (3, 2), "red").save("red.png")
        >>> read_picture(Path("red.png"))[0, 0].tolist()  # without the transparency
        [255, 0, 0]
    """
    pillow = import_extra("data", "PIL.Image", "files")
    with reading(path, "a picture in a PNG or JPEG file", FIX, MAX_SMALL) as (path, refuse):
        _ignore_metadata()
        try:
            picture = pillow.open(io.BytesIO(path.read_bytes()), formats=("PNG", "JPEG"))
        except pillow.UnidentifiedImageError:  # its message has an address in memory
            refuse("something else")
        if picture.width * picture.height > MAX_PIXELS:
            refuse(f"{picture.width} x {picture.height} pixels")
        return pixels_of(picture)


def pixels_of(picture: Any) -> np.ndarray:
    """The pixels of a Pillow image: uint8 [height, width, channels], grey or RGB.

    The image is rotated as its EXIF orientation says, unless the EXIF data are corrupted;
    transparency is dropped.

    Raises:
        ValueError: the colour mode is not supported.
    """
    picture.load()
    with warnings.catch_warnings():
        _ignore_metadata()
        picture = _turn(picture)
    if picture.mode in _GREYS:
        return np.array(picture.convert("L"))[..., None]
    if picture.mode in _COLOURS:
        # Via RGBA, because Pillow warns when a palette would lose its transparency.
        return np.array(picture.convert("RGBA").convert("RGB"))
    raise ValueError(f"colour mode {picture.mode}, which is not supported")


def _ignore_metadata() -> None:
    """Ignores Pillow's warnings, which are about EXIF and the like: bad pixels raise errors."""
    warnings.simplefilter("ignore", UserWarning)


def _turn(picture: Any) -> Any:
    try:
        turn = _TURNS.get(picture.getexif().get(_ORIENTATION))
    except Exception:  # corrupted EXIF fails in many ways, and only the orientation matters
        return picture
    return picture if turn is None else picture.transpose(turn)


def read_table(path: Path) -> np.ndarray:
    """Reads a CSV file of numbers: float64 [features] of one line, [lines, features] of several.

    A first line without any number is a header, and skipped; so is one that counts the columns
    (0,1,2), as of a data frame, above other numbers. An unnamed column that counts the lines is
    skipped, too.

    Raises:
        DataError: the file is missing, is not text, has lines of unequal length or without
            numbers, or begins with a line that may or may not be a header.

    Example:
        >>> _ = Path("walk.csv").write_text("speed,pulse\\n1.5,80\\n2,95\\n")
        >>> read_table(Path("walk.csv"))
        array([[ 1.5, 80. ],
               [ 2. , 95. ]])
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
                refuse("an unnamed column that does not count the lines")
            rest = [line[1:] for line in rest]
        elif any(map(_is_number, first)):
            whole = all(cell.strip().lstrip("-").isdecimal() for line in rest for cell in line)
            if not (rest and _counts(first)) or (whole and len(first) == 1):
                rest = [first, *rest]
            elif whole or len(first) == 1:
                refuse(f"the first line {','.join(first)}, which may be a header: name the columns")
        if not rest:
            refuse("no numbers")
        values = np.array(rest, np.float64)
        return values[0] if len(values) == 1 else values


def _counts(cells: Sequence[str]) -> bool:
    """Whether the cells are 0, 1, 2, ..."""
    return [*cells] == [str(number) for number in range(len(cells))]


def read_array(path: Path) -> np.ndarray:
    """Reads a .npy file of numbers with one to four dimensions, of at most ``MAX_SMALL`` bytes.

    Raises:
        DataError: the file is missing, malformed, too large, or holds anything but numbers.

    Example:
        >>> np.save("gait.npy", np.arange(6.0).reshape(2, 3))
        >>> read_array(Path("gait.npy")).shape
        (2, 3)
    """
    with reading(path, "an array of numbers in a .npy file", FIX, MAX_SMALL) as (path, refuse):
        array = parse_npy(np.frombuffer(path.read_bytes(), np.uint8))
        if array.dtype.kind not in "fiub" or array.size == 0 or not 1 <= array.ndim <= 4:
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
