"""Written digits of MNIST with spoken digits of the Free Spoken Digit Dataset.

Images: Y. LeCun, C. Cortes, C. Burges, CC BY-SA 3.0. Recordings: Z. Jackson and contributors,
CC BY-SA 4.0, https://github.com/Jakobovski/free-spoken-digit-dataset. Both are read as published.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmjax.data.splits import make_rng
from mmjax.data.task import RawSignal, Split, Task
from mmjax.errors import DataError, UnknownNameError, UsageError
from mmjax.tasks.readers.formats import data_folder, find, read_idx, read_wav
from mmjax.tasks.readers.mfcc import fit_length, mfcc, moments, standardise

NUM_CLASSES, RATE = 10, 8000
FILE_NAME = re.compile(r"(\d)_(.+)_(\d+)\.wav")
ENDS = ("", ".gz")
RECORDINGS = ("fsdd/recordings", "recordings", "free-spoken-digit-dataset/recordings")


class Images(NamedTuple):
    """Written digits: ``pixels`` uint8 [images, 28, 28, 1] and ``digit`` [images]."""

    pixels: np.ndarray
    digit: np.ndarray


class Recordings(NamedTuple):
    """Spoken digits: ``audio`` float32 [recordings, 39, 13], the rest [recordings].

    ``take`` numbers the recordings of one digit by one speaker; ``waveform`` is float32
    [recordings, 8000], or None if it was not kept.
    """

    audio: np.ndarray
    digit: np.ndarray
    speaker: np.ndarray
    take: np.ndarray
    waveform: np.ndarray | None = None


def mnist_fsdd(
    data: str | Path | None = None,
    *,
    split: str = "official",
    test_speaker: str | None = None,
    valid_speaker: str | None = None,
    seed: int = 0,
) -> Task:
    """Pairs every image with a recording of the same digit from the same split.

    Inputs are "image", uint8 [28, 28, 1], and "audio", float32 [39, 13]: 13 MFCCs of 39 frames,
    standardised on the training recordings. The test images are MNIST's; the last tenth of MNIST's
    training images is for validation. There are fewer recordings than images, so recordings
    repeat, equally often: ``group`` is the recording. ``meta`` has the speaker, and the image's row
    in its MNIST file.

    Reference: LeCun et al., The MNIST database of handwritten digits (1998); Jackson et al., Free
    Spoken Digit Dataset v1.0.8 (Zenodo 2018, doi:10.5281/zenodo.1342401).

    Args:
        data: folder with ``mnist/`` and ``fsdd/recordings/``, or with the contents of both.
        split: "official" tests on recordings 0 to 4 of every speaker and digit, as the publishers
            do, and validates on 5 to 9; "speaker" tests on a speaker not heard in training.
        test_speaker: with ``split="speaker"``, the speaker of the test split.
        valid_speaker: the speaker of the validation split; by default the next one by name.
        seed: of the pairing.

    Raises:
        DataError: a folder or file is missing or malformed, or a split lacks a digit.
        UsageError: an option has an invalid value.
    """
    _check_options(split, test_speaker, valid_speaker)
    make_rng(seed)  # rejects a bad seed before anything is read
    folder = data_folder(data)
    written, spoken = read_images(folder), read_recordings(find(folder, *RECORDINGS))
    if split == "official":
        return pair("mnist_fsdd/official", written, spoken, official_roles(spoken.take), seed)
    roles = _speaker_roles(spoken.speaker, test_speaker, valid_speaker)
    return pair(f"mnist_fsdd/speaker/{test_speaker}", written, spoken, roles, seed)


def read_images(folder: Path) -> dict[str, Images]:
    """MNIST's two sets, ``{"train": Images, "t10k": Images}``."""
    return {name: _read_set(folder, name) for name in ("train", "t10k")}


def read_recordings(folder: Path) -> Recordings:
    """All ``{digit}_{speaker}_{take}.wav`` in a folder, in the order of their names."""
    paths = sorted(folder.glob("*.wav"))
    if not paths:
        raise DataError(
            folder,
            expected="recordings named {digit}_{speaker}_{index}.wav",
            got="no .wav file",
            fix="Give the folder that holds fsdd/recordings.",
        )
    named = [_parse(path) for path in paths]
    waveform = np.stack([one_second(*read_wav(path), path) for path in paths])
    audio = np.stack([mfcc(wave, RATE) for wave in waveform])
    digit, speaker, take = (np.array(column) for column in zip(*named, strict=True))
    return Recordings(audio, digit, speaker, take, waveform)


def spoken_features(samples: np.ndarray, rate: int, where: object) -> np.ndarray:
    """MFCCs, float32 [39, 13], of one recording; ``where`` names it in an error."""
    return mfcc(one_second(samples, rate, where), RATE)


def one_second(samples: np.ndarray, rate: int, where: object) -> np.ndarray:
    """Crops or pads a recording to [8000]; ``where`` names it in an error."""
    if rate != RATE:
        raise DataError(where, expected=f"a sampling rate of {RATE} Hz", got=str(rate))
    return fit_length(samples, RATE)


def official_roles(take: np.ndarray) -> np.ndarray:
    """The split of each recording: takes 0 to 4 test, 5 to 9 validate, the others train."""
    return np.select([take < 5, take < 10], ["test", "valid"], "train")


def pair(
    name: str, written: Mapping[str, Images], spoken: Recordings, roles: np.ndarray, seed: int
) -> Task:
    """Makes the task; ``roles`` [recordings] is "train", "valid" or "test" for each recording."""
    rng, sources = make_rng(seed), image_roles(written)
    recordings = {
        role: match(
            written[source].digit[image], spoken.digit, roles == role, f"{name}, {role}", rng
        )
        for role, (source, image) in sources.items()
    }
    _, audio = standardise(spoken.audio[roles == "train"], spoken.audio)
    raw = {}
    if spoken.waveform is not None:
        raw["audio"] = _test_audio(spoken, spoken.waveform, roles, recordings["test"])
    splits = {
        role: Split(
            inputs={"image": written[source].pixels[image], "audio": audio[recordings[role]]},
            target=written[source].digit[image].astype(np.int64),
            group=recordings[role],
            meta={"speaker": spoken.speaker[recordings[role]], "image": image},
            raw=raw if role == "test" else {},
        )
        for role, (source, image) in sources.items()
    }
    return Task(name, splits["train"], splits["valid"], splits["test"], out_dim=NUM_CLASSES)


def image_roles(written: Mapping[str, Images]) -> dict[str, tuple[str, np.ndarray]]:
    """{split: (MNIST's set, rows of it)}; the last tenth of its training images validates."""
    rows = np.arange(len(written["train"].digit))
    last = len(rows) * 9 // 10
    test = np.arange(len(written["t10k"].digit))
    return {
        "train": ("train", rows[:last]),
        "valid": ("train", rows[last:]),
        "test": ("t10k", test),
    }


def _test_audio(
    spoken: Recordings, waveform: np.ndarray, roles: np.ndarray, recording: np.ndarray
) -> RawSignal:
    used, index = np.unique(recording, return_inverse=True)
    mean, scale = (x.astype(np.float32) for x in moments(spoken.audio[roles == "train"]))
    return RawSignal(
        values=waveform[used],
        index=index,
        to_input=lambda waveform: (mfcc(waveform, RATE) - mean) / scale,
    )


def match(
    digit: np.ndarray, said: np.ndarray, usable: np.ndarray, where: str, rng: np.random.Generator
) -> np.ndarray:
    """Draws a usable recording for each of the digits, using all of them equally often.

    Args:
        digit: of any shape, which the result has, too.
        said: [recordings] the digit of each.
        usable: [recordings] bool.
        where: what an error calls the recordings.
        rng: of the draw.

    Raises:
        DataError: there is no usable recording of a digit.
    """
    recording = np.zeros(digit.shape, np.int64)
    for value in range(NUM_CLASSES):
        choice = np.flatnonzero(usable & (said == value))
        if len(choice) == 0:
            raise DataError(where, expected=f"a recording of digit {value}", got="none")
        rows = digit == value
        recording[rows] = np.resize(rng.permutation(choice), rows.sum())
    return recording


def _read_set(folder: Path, name: str) -> Images:
    pixels_path, digit_path = (
        find(folder, *(f"{place}{name}-{kind}{end}" for place in ("mnist/", "") for end in ENDS))
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    pixels, digit = read_idx(pixels_path), read_idx(digit_path)
    if pixels.shape[1:] != (28, 28):
        raise DataError(pixels_path, expected="images of 28 x 28", got=f"shape {pixels.shape}")
    if digit.shape != pixels.shape[:1]:
        raise DataError(
            digit_path, expected=f"{len(pixels)} labels, one per image", got=f"shape {digit.shape}"
        )
    if digit.max() >= NUM_CLASSES:
        raise DataError(digit_path, expected="labels from 0 to 9", got=f"label {digit.max()}")
    return Images(pixels[..., None], digit)


def _parse(path: Path) -> tuple[int, str, int]:
    match = FILE_NAME.fullmatch(path.name)
    if match is None:
        raise DataError(
            path,
            expected="a name like 7_jackson_32.wav: digit, speaker, index",
            got=repr(path.name),
            fix="Rename it, or remove it from the folder.",
        )
    return int(match[1]), match[2], int(match[3])


def _check_options(split: str, test_speaker: str | None, valid_speaker: str | None) -> None:
    if split not in ("official", "speaker"):
        raise UnknownNameError("split", split, ["official", "speaker"])
    for name, value in (("test_speaker", test_speaker), ("valid_speaker", valid_speaker)):
        if split == "official" and value is not None:
            raise UsageError(
                name, expected='None with split="official"', got=repr(value),
                fix='Pass split="speaker", too.',
            )  # fmt: skip


def _speaker_roles(
    speaker: np.ndarray, test_speaker: str | None, valid_speaker: str | None
) -> np.ndarray:
    known = np.unique(speaker).tolist()
    if len(known) < 3:
        raise DataError("recordings", expected="at least three speakers", got=", ".join(known))
    _check_speaker("test_speaker", test_speaker, known)
    if valid_speaker is None:
        valid_speaker = known[(known.index(test_speaker) + 1) % len(known)]
    others = [name for name in known if name != test_speaker]
    _check_speaker("valid_speaker", valid_speaker, others)
    chosen = [speaker == test_speaker, speaker == valid_speaker]
    return np.select(chosen, ["test", "valid"], "train")


def _check_speaker(argument: str, speaker: str | None, known: list[str]) -> None:
    if speaker not in known:
        raise UsageError(argument, expected=f"one of {', '.join(known)}", got=repr(speaker))
