"""Three modalities of a digit: an image, the pen trajectory of another image, and its sound."""

from pathlib import Path

import numpy as np

from mmjax.data.splits import make_rng
from mmjax.data.task import Split, Task
from mmjax.tasks.real_digits import Part, read_parts

POINTS = 32
"""Points of a trajectory."""

_INK = 96  # of 255: the darkest pixel that still counts as ink
_JUMP = 2.0  # pixels between successive points, beyond which the pen was lifted
_CHUNK = 1000  # images at a time


def strokes(data: str | Path | None = None, *, seed: int = 0) -> Task:
    """Which digit is written, drawn and spoken?

    ``image`` is uint8 [28, 28, 1] and ``audio`` float32 [39, 13], as in `mnist_fsdd`, with its
    split. ``strokes`` is float32 [32, 3]: a pen trajectory through another image of the same digit,
    as coordinates from -1 to 1, downwards and to the right, and 1 where the pen was lifted to reach
    that point. The trajectories are not recorded but derived: the image is thinned (Zhang and Suen,
    CACM 27, 1984), and its pixels are ordered from an end of a line, nearest first.

    Half of the images of each digit are seen and the other half drawn, so that no image is in two
    rows or in two modalities. ``group`` is the recording.

    Reference: de Jong, Incremental Sequence Learning (arXiv:1611.03068, 2016), whose stroke
    sequences of MNIST are derived in a similar way.

    Args:
        data: folder with ``mnist/`` and ``fsdd/recordings/``.
        seed: of the combinations.

    Raises:
        DataError: a folder or file is missing or malformed, or a split lacks a digit.
        UsageError: ``seed`` is not a non-negative integer.
    """
    rng = make_rng(seed)

    def split(part: Part) -> Split:
        seen, drawn = _halve(part.written, rng)
        recording = part.recordings_of(part.written[seen], rng)
        return Split(
            inputs={
                "image": part.pixels[seen],
                "strokes": trace(part.pixels[drawn, ..., 0]),
                "audio": part.audio[recording],
            },
            target=part.written[seen],
            group=recording,
            meta={"image": seen, "drawn": drawn},
        )

    splits = {role: split(part) for role, part in read_parts(data).items()}
    return Task("strokes", splits["train"], splits["valid"], splits["test"], out_dim=10)


def trace(pixels: np.ndarray) -> np.ndarray:
    """Pen trajectories through images: uint8 [images, height, width] -> float32 [images, 32, 3].

    Example:
        >>> pixels = np.zeros((1, 9, 9), np.uint8)
        >>> pixels[0, 1:8, 4] = 255  # a vertical line, drawn downwards
        >>> way = trace(pixels)[0]
        >>> way[0].tolist(), way[-1].tolist()
        ([-0.75, 0.0, 0.0], [0.75, 0.0, 0.0])
    """
    chunks = np.split(pixels, range(_CHUNK, len(pixels), _CHUNK))
    return np.concatenate([_trace(thin(chunk >= _INK)) for chunk in chunks])


def thin(ink: np.ndarray) -> np.ndarray:
    """Thins strokes to lines one pixel wide: bool [images, height, width].

    Zhang and Suen, A Fast Parallel Algorithm for Thinning Digital Patterns (CACM 27, 1984).
    """
    while True:
        before = ink
        for first in (True, False):
            n = _neighbours(ink)  # clockwise from the upper one
            count = n.sum(axis=0)
            rises = (~n & np.roll(n, -1, axis=0)).sum(axis=0)
            up, right, down, left = n[::2]
            if first:
                kept = (up & right & down) | (right & down & left)
            else:
                kept = (up & right & left) | (up & down & left)
            ink = ink & ~((count >= 2) & (count <= 6) & (rises == 1) & ~kept)
        if (ink == before).all():
            return ink


def _neighbours(ink: np.ndarray) -> np.ndarray:
    """The eight neighbours of every pixel, [8, images, height, width]."""
    height, width = ink.shape[1:]
    framed = np.pad(ink, ((0, 0), (1, 1), (1, 1)))
    places = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))
    return np.stack([framed[:, y : y + height, x : x + width] for y, x in places])


def _trace(lines: np.ndarray) -> np.ndarray:
    """The pixels of lines in drawing order, ``POINTS`` of them at even intervals."""
    images, size = len(lines), lines.shape[1]
    length = max(2, int(lines.sum(axis=(1, 2)).max()))
    ends = (_neighbours(lines).sum(axis=0) == 1) & lines
    # Places of the pixels: line ends first, then the others, each from the top.
    order = np.argsort(-(2 * ends + lines).reshape(images, -1).astype(int), axis=1, kind="stable")
    place = np.stack(np.divmod(order[:, :length], lines.shape[2]), axis=-1).astype(np.float32)
    left = np.take_along_axis(lines.reshape(images, -1), order[:, :length], axis=1)
    way, jumps = np.empty_like(place), np.zeros((images, length), np.float32)
    every, at = np.arange(images), np.zeros(images, int)
    for step in range(length):
        way[:, step] = place[every, at]
        left[every, at] = False
        distance = np.square(place - way[:, step, None]).sum(axis=-1)
        nearest = np.where(left, distance, np.inf).argmin(axis=1)
        more = left.any(axis=1)
        if step + 1 < length:
            jumps[:, step + 1] = more & (distance[every, nearest] > _JUMP**2)
        at = np.where(more, nearest, at)  # at the end the pen rests
    count = np.maximum(lines.sum(axis=(1, 2)), 1)
    steps = np.round(np.linspace(0, 1, POINTS) * (count[:, None] - 1)).astype(int)
    # A jump belongs to the first point after it, which may be some pixels further on.
    lifted = np.diff(np.take_along_axis(jumps.cumsum(axis=1), steps, axis=1), axis=1, prepend=0) > 0
    points = np.take_along_axis(way, steps[..., None], axis=1) * (2 / (size - 1)) - 1
    return np.concatenate([points, lifted[..., None]], axis=-1).astype(np.float32)


def _halve(digit: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of the images of each digit, in pairs of one digit, in random order."""
    pairs = []
    for value in range(10):
        rows = rng.permutation(np.flatnonzero(digit == value))
        half = len(rows) // 2
        pairs.append([rows[:half], rows[half : 2 * half]])
    seen, drawn = rng.permutation(np.concatenate(pairs, axis=1), axis=1)
    return seen, drawn
