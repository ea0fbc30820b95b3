"""The published "Written and spoken digits database for multimodal learning".

MNIST images with spoken digits of Google Speech Commands, as arrays: L. Khacef, L. Rodriguez,
B. Miramond, Université Côte d'Azur, 2019, https://zenodo.org/record/3515935.
"""

from pathlib import Path
from typing import Any

import numpy as np

from mmjax.data.splits import make_rng
from mmjax.data.targets import UNLABELLED
from mmjax.data.task import Split, Task
from mmjax.errors import DataError
from mmjax.tasks.readers.formats import data_folder, find, read_csv_column, read_npy
from mmjax.tasks.readers.mfcc import standardise

NUM_CLASSES = 10
PIXELS, FRAMES, COEFFICIENTS = 784, 39, 13
PUBLISHED = "data_wr_train.npy"
COMPETITION = "x_train_wr.npy"


def written_spoken_digits(data: str | Path | None = None, *, seed: int = 0) -> Task:
    """Reads the published files, or the same arrays as distributed for a competition.

    Published: ``data_wr_{train,test}.npy`` [rows, 784], ``data_sp_{train,test}.npy`` [rows, 507]
    and ``labels_{train,test}.npy`` [rows]. Competition: ``x_{train,test}_wr.npy``,
    ``x_{train,test}_sp.npy`` and ``y_train.csv`` with a column "label"; its test split is
    unlabelled. Any number of rows is accepted.

    Inputs are "image", uint8 [28, 28, 1], of pixels stored as 0 to 255 or as fractions of 255, and
    "audio", float32 [39, 13], standardised on the training rows. The 507 numbers are interpreted as
    39 frames of 13, as in the publishers' own code.

    The 60,000 training rows hold only 34,801 recordings, so a split by rows would leak recordings
    from training into validation. Here ``group`` is the recording, identified by equality of the
    507 numbers over training and test rows, and a tenth of the training recordings is for
    validation.

    Reference: Khacef et al., Written and spoken digits database for multimodal learning (Zenodo
    2019, doi:10.5281/zenodo.3515935).

    Args:
        data: folder with the files.
        seed: of the choice of the validation recordings.

    Raises:
        DataError: a file is missing or malformed, or its shape, range or length is wrong.
        UsageError: ``seed`` is not a non-negative integer.
    """
    rng = make_rng(seed)
    folder = data_folder(data)
    published = find(folder, PUBLISHED, COMPETITION).name == PUBLISHED
    names = ("data_wr_{}.npy", "data_sp_{}.npy") if published else ("x_{}_wr.npy", "x_{}_sp.npy")
    image, audio = (
        {part: read(find(folder, name.format(part))) for part in ("train", "test")}
        for name, read in zip(names, (_read_image, _read_audio), strict=True)
    )
    target = _read_targets(folder, published, len(image["test"]))
    for part in ("train", "test"):
        _check_lengths(f"{folder}, {part}", image[part], audio[part], target[part])

    group = _number(audio["train"], audio["test"])
    recordings = rng.permutation(np.unique(group["train"]))
    held_out = np.isin(group["train"], recordings[: -(-len(recordings) // 10)])
    parts: dict[str, tuple[str, Any]] = {
        "train": ("train", ~held_out),
        "valid": ("train", held_out),
        "test": ("test", ...),
    }
    chosen = {role: audio[part][rows] for role, (part, rows) in parts.items()}
    scaled = standardise(*chosen.values())
    splits = {
        role: Split(
            inputs={"image": image[part][rows], "audio": values},
            target=target[part][rows],
            group=group[part][rows],
        )
        for (role, (part, rows)), values in zip(parts.items(), scaled, strict=True)
    }
    train, valid, test = splits["train"], splits["valid"], splits["test"]
    return Task("written_spoken_digits", train, valid, test, out_dim=NUM_CLASSES)


def _read_image(path: Path) -> np.ndarray:
    """uint8 [rows, 28, 28, 1]."""
    pixels = read_npy(path, (None, PIXELS))
    scale = 255 if pixels.dtype.kind == "f" and pixels.max(initial=0) <= 1 else 1
    if pixels.min(initial=0) < 0 or pixels.max(initial=0) > 255:
        raise DataError(
            path,
            expected="pixels from 0 to 255, or from 0 to 1",
            got=f"values from {pixels.min()} to {pixels.max()}",
        )
    return np.rint(pixels.astype(np.float32) * scale).astype(np.uint8).reshape(-1, 28, 28, 1)


def _read_audio(path: Path) -> np.ndarray:
    """float32 [rows, 39, 13]."""
    with np.errstate(over="ignore"):  # rejected below, with the file's name
        values = read_npy(path, (None, FRAMES * COEFFICIENTS)).astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError(path, expected="numbers that float32 can represent", got="larger ones")
    return values.reshape(-1, FRAMES, COEFFICIENTS)


def _read_targets(folder: Path, published: bool, test_size: int) -> dict[str, np.ndarray]:
    """{"train": int64 [rows], "test": int64 [rows]}."""
    if published:
        return {
            part: _read_labels(find(folder, f"labels_{part}.npy")) for part in ("train", "test")
        }
    labels = read_csv_column(find(folder, "y_train.csv"), "label")
    return {
        "train": _check_labels(folder / "y_train.csv", labels),
        "test": np.full(test_size, UNLABELLED, np.int64),
    }


def _read_labels(path: Path) -> np.ndarray:
    return _check_labels(path, np.asarray(read_npy(path, (None,))))


def _check_labels(path: Path, labels: np.ndarray) -> np.ndarray:
    if not np.isin(labels, np.arange(NUM_CLASSES)).all():
        wrong = labels[~np.isin(labels, np.arange(NUM_CLASSES))][0]
        raise DataError(path, expected="labels from 0 to 9", got=str(wrong))
    return labels.astype(np.int64)


def _check_lengths(where: str, image: np.ndarray, audio: np.ndarray, target: np.ndarray) -> None:
    if not len(image) == len(audio) == len(target):
        raise DataError(
            where,
            expected="as many images as recordings and labels",
            got=f"{len(image)} images, {len(audio)} recordings, {len(target)} labels",
            fix="Use files of the same download.",
        )


def _number(train: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers recordings from 0, equal ones alike: {"train": [rows], "test": [rows]}."""
    numbers: dict[bytes, int] = {}
    number = lambda row: numbers.setdefault(row.tobytes(), len(numbers))
    return {
        part: np.array([number(row) for row in rows], np.int64)
        for part, rows in (("train", train), ("test", test))
    }
