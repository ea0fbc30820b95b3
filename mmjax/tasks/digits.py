"""Handwritten and spoken digits in noise: the built-in task, with nothing to download.

The handwriting comes with scikit-learn, the recordings with mmjax; docs/spoken_digits.md describes
how they were made, and their licence.
"""

from collections.abc import Callable
from importlib.metadata import distribution
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from mmjax.data.task import RawSignal, Split, Task
from mmjax.errors import UsageError
from mmjax.tasks.noise import make_noise
from mmjax.tasks.readers.mfcc import mfcc, moments, standardise
from mmjax.tasks.spoken_digits import Recordings, load_recordings

# In validation and test; the rest is for training.
SPEAKERS = {"valid": 15, "test": 30}
IMAGES_PER_CLASS = {"valid": 30, "test": 60}  # as many as recordings, so that each has its own
COPIES = {"train": 4, "valid": 2, "test": 2}  # rows per pair, each degraded anew

SIZE, DIGIT = 28, 20  # pixels of the image, and of the digit before it is scaled
ROTATION, SCALE, SHIFT = 12.0, (0.85, 1.1), 1.5  # degrees, a factor, pixels
CONTRAST = 0.6, 1.0  # as a fraction of white
PIXEL_NOISE, OCCLUDER = 0.2, 9  # largest fraction of white, largest side in pixels

SAMPLES, JITTER = 8000, 800  # one second, and how far from its centre the word may be
SNR_DB = 5.0, 45.0  # lowest and highest signal-to-noise ratio of the word
SPEECH_LEVEL, LEVEL_DB = 0.1, (-12.0, 0.0)  # root mean square of the word, and range of levels
CHUNK = 64  # rows at a time, so that waveforms stay in the cache


class _Speech(NamedTuple):
    features: np.ndarray  # [rows, 39, 13] MFCC
    waveforms: np.ndarray | None  # [rows, samples]
    snr_db: np.ndarray  # [rows]


def digits(data: None = None, *, seed: int = 0) -> Task:
    """Which digit is written, and spoken, here?

    ``image`` is uint8 [28, 28, 1]: a digit of scikit-learn's ``load_digits``, enlarged, slightly
    rotated, scaled and shifted, with random contrast, occluded by a square of random size and
    brightness, and with pixel noise of random strength. ``audio`` is float32 [39, 13]: MFCCs,
    standardised on the training rows, of one second with a spoken digit near its centre, at a
    random level, in noise at a random ratio: babble of training speakers, or noise with a power
    spectrum of 1, :math:`1/f` or :math:`1/f^2`. All of these are drawn independently; most rows are
    mildly degraded, a few severely, so that either modality may be the more reliable one.

    There are 4,720 training, 600 validation and 1,200 test rows. No image and no speaker is in two
    splits, except for the babble, of which each split has its own mix. Within a split, each
    recording is paired with one image of its class, and the pair is in 4 rows (train) or 2 (valid,
    test), each degraded anew. Training has more recordings than images, so some images are paired
    with two recordings; in the other splits an image has one.

    ``group`` is the recording, its index in ``spoken_digits.load_recordings``. ``meta`` holds
    ``speaker``, ``image_index`` (row of ``load_digits``), and what makes a row difficult:
    ``snr_db``, ``pixel_noise`` (standard deviation, as a fraction of white) and ``occluder`` (side
    of the square in pixels).

    Reference: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits (UCI 1998,
    doi:10.24432/C50P49); speech by eSpeak NG.

    Args:
        data: must be None, as the task needs no files.
        seed: of the splits, the pairs and every degradation.

    Raises:
        UsageError: ``data`` is given.

    Example:
        >>> task = digits()
        >>> task
        Task('digits': audio (39, 13), image (28, 28, 1) -> 10 classes;
        rows: 4720 train, 600 valid, 1200 test)
        >>> set(task.train.meta["speaker"]) & set(task.test.meta["speaker"])
        set()
    """
    if data is not None:
        fix = "For your own files, use the task folder or embeddings."
        raise UsageError("data", expected="None, as digits is built in", got=repr(data), fix=fix)
    rng = np.random.default_rng(seed)
    recordings = load_recordings()
    written, classes = _handwriting()
    pairs = _pair(rng, classes, recordings)
    babblers = np.unique(pairs["train"][1])
    pictures, speech = {}, {}
    for name, (image, spoken) in pairs.items():
        pictures[name] = _degrade_images(rng, written[image])
        speech[name] = _degrade_speech(
            rng, recordings.waveforms, spoken, babblers, keep=name == "test"
        )
    features = {name: part.features for name, part in speech.items()}
    audio = dict(zip(features, standardise(*features.values()), strict=True))
    mean, scale = (x.astype(np.float32) for x in moments(features["train"]))
    waveforms = speech["test"].waveforms
    assert waveforms is not None  # they were kept
    heard = RawSignal(
        values=waveforms,
        index=np.arange(len(features["test"])),
        to_input=lambda waveform: (mfcc(waveform) - mean) / scale,
    )

    def split(name: str) -> Split:
        image, spoken = pairs[name]
        known = {"speaker": recordings.speaker[spoken], "image_index": image}
        drawn = {**pictures[name][1], "snr_db": speech[name].snr_db}
        return Split(
            inputs={"image": pictures[name][0], "audio": audio[name]},
            target=classes[image],
            group=spoken,
            meta=known | drawn,
            raw={"audio": heard} if name == "test" else {},
        )

    return Task("digits", split("train"), split("valid"), split("test"), out_dim=10)


def _handwriting() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits as uint8 [1797, 64, 64], smoothly enlarged, and their classes."""
    # Importing scikit-learn would take as long as making the whole task.
    packed = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    *pixels, classes = np.loadtxt(str(packed), delimiter=",", dtype=int, unpack=True)
    small = np.stack(pixels, axis=1).reshape(-1, 8, 8)
    enlarge = ndimage.zoom(np.eye(8), (8, 1), order=3, mode="grid-constant", grid_mode=True)
    large = enlarge @ (small / 16) @ enlarge.T
    return (large.clip(0, 1) * 255).astype(np.uint8), classes


def _pair(
    rng: np.random.Generator, classes: np.ndarray, recordings: Recordings
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Draws the splits, and the indices of each row: {split: (image [rows], spoken [rows])}."""
    speakers = _deal(rng.permutation(recordings.speaker.max() + 1), SPEAKERS)
    pairs: dict[str, list[list[np.ndarray]]] = {name: [] for name in COPIES}
    for digit in range(10):
        written = _deal(rng.permutation(np.flatnonzero(classes == digit)), IMAGES_PER_CLASS)
        said = recordings.digit == digit
        for name in COPIES:
            spoken = np.flatnonzero(said & np.isin(recordings.speaker, speakers[name]))
            pairs[name].append([np.resize(written[name], spoken.size), spoken])
    rows = {name: np.tile(np.concatenate(pairs[name], axis=1), COPIES[name]) for name in pairs}
    return {name: tuple(rng.permutation(rows[name], axis=1)) for name in rows}


def _deal(items: np.ndarray, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    """Splits shuffled items into valid and test of the given sizes, and train with the rest."""
    cuts = np.cumsum([sizes["valid"], sizes["test"]])
    return dict(zip(("valid", "test", "train"), np.split(items, cuts), strict=True))


def _degrade_images(
    rng: np.random.Generator, images: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """uint8 [rows, 64, 64] -> uint8 [rows, 28, 28, 1], and {parameter: [rows]} as drawn."""
    draw = lambda low, high: rng.uniform(low, high, (len(images), 1, 1)).astype(np.float32)
    picture = _move(images, draw) * draw(*CONTRAST)

    side = np.round(OCCLUDER * draw(0, 1) ** 2).astype(int)
    top, left = (rng.integers(0, SIZE - side, endpoint=True) for _ in range(2))
    inside = lambda position, start: (position >= start) & (position < start + side)
    hidden = inside(np.arange(SIZE)[:, None], top) & inside(np.arange(SIZE), left)
    picture = np.where(hidden, draw(0, 1), picture)

    noise = PIXEL_NOISE * draw(0, 1) ** 2
    picture += noise * rng.standard_normal(picture.shape, np.float32)
    drawn = {"pixel_noise": noise[:, 0, 0], "occluder": side[:, 0, 0]}
    return np.round(picture.clip(0, 1) * 255).astype(np.uint8)[..., None], drawn


def _move(images: np.ndarray, draw: Callable[[float, float], np.ndarray]) -> np.ndarray:
    """Shifts, rotates and scales: uint8 [rows, 64, 64] -> float32 [rows, 28, 28] in [0, 1].

    Nearest-neighbour sampling suffices: pixels are eight times finer than the handwriting.
    """
    grid = np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2
    y, x = grid[:, None] - draw(-SHIFT, SHIFT), grid - draw(-SHIFT, SHIFT)
    angle, zoom = np.deg2rad(draw(-ROTATION, ROTATION)), draw(*SCALE)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    finer, size = images.shape[1] / DIGIT, images.shape[1]
    to_pixel = lambda z: np.round(finer * z + (size - 1) / 2).astype(int).clip(-1, size) + 1
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))  # black beyond the edges
    rows = np.arange(len(images))[:, None, None]
    return framed[rows, to_pixel(cos * y - sin * x), to_pixel(sin * y + cos * x)] / np.float32(255)


def _degrade_speech(
    rng: np.random.Generator,
    waveforms: tuple[np.ndarray, ...],
    spoken: np.ndarray,
    babblers: np.ndarray,
    *,
    keep: bool,
) -> _Speech:
    """Places each recording in a second of noise; ``keep`` also returns the waveforms."""
    draw = lambda low, high: rng.uniform(low, high, spoken.size).astype(np.float32)
    noise = sliding_window_view(make_noise(rng, waveforms, babblers), SAMPLES, axis=1)
    kind, start = (rng.integers(0, n, spoken.size) for n in noise.shape[:2])
    shift = rng.integers(-JITTER, JITTER, spoken.size, endpoint=True)
    snr_db = SNR_DB[1] - (SNR_DB[1] - SNR_DB[0]) * draw(0, 1) ** 2
    level_db = draw(*LEVEL_DB)

    features, kept = [], []
    for rows in np.split(np.arange(spoken.size), range(CHUNK, spoken.size, CHUNK)):
        heard = noise[kind[rows], start[rows]] * 10 ** (-snr_db[rows, None] / 20)
        for second, row in zip(heard, rows, strict=True):
            word = waveforms[spoken[row]]
            begin = (SAMPLES - word.size) // 2 + shift[row]
            second[begin : begin + word.size] += word / np.sqrt((word**2).mean())
        heard *= SPEECH_LEVEL * 10 ** (level_db[rows, None] / 20)
        features.append(mfcc(heard))
        kept += [heard] if keep else []
    return _Speech(np.concatenate(features), np.concatenate(kept) if keep else None, snr_db)
