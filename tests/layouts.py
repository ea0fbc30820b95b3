"""Small files in the layouts of the publishers."""

import csv
import gzip
import struct

import numpy as np
from scipy.io import wavfile

SPEAKERS = ("ann", "bob", "cy")
TAKES = 12


def write_idx(path, array):
    content = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)


def write_images(folder, end=""):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, count in (("train", 400), ("t10k", 60)):
        digit = (np.arange(count) % 10).astype(np.uint8)
        pixels = rng.integers(0, 256, (count, 28, 28), np.uint8)
        pixels[:, 0, 0] = digit  # so that a test can tell the digit of an image
        write_idx(folder / f"{name}-images-idx3-ubyte{end}", pixels)
        write_idx(folder / f"{name}-labels-idx1-ubyte{end}", digit)


def write_recordings(folder, speakers=SPEAKERS):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    for digit in range(10):
        for speaker in speakers:
            for take in range(TAKES):
                samples = rng.normal(0, 2000 + 200 * digit, 900).astype(np.int16)
                wavfile.write(folder / f"{digit}_{speaker}_{take}.wav", 8000, samples)


ROWS, TEST_ROWS, RECORDINGS = 200, 40, 90
FILES = {
    "wr_train": ("data_wr_train.npy", "x_train_wr.npy"),
    "sp_train": ("data_sp_train.npy", "x_train_sp.npy"),
    "wr_test": ("data_wr_test.npy", "x_test_wr.npy"),
    "sp_test": ("data_sp_test.npy", "x_test_sp.npy"),
}


def make_arrays():
    """As published, but few: recordings repeat, and test row 0 has training row 0's recording."""
    rng = np.random.default_rng(0)
    labels = np.arange(ROWS) % 10
    recording = labels + 10 * rng.integers(0, RECORDINGS // 10, ROWS)
    sounds = rng.normal(2, 3, (RECORDINGS + TEST_ROWS, 507))
    test = np.arange(RECORDINGS, RECORDINGS + TEST_ROWS)
    test[0] = recording[0]
    return {
        "wr_train": rng.integers(0, 256, (ROWS, 784)).astype(np.float64),
        "sp_train": sounds[recording],
        "labels_train": labels,
        "wr_test": rng.integers(0, 256, (TEST_ROWS, 784)).astype(np.float64),
        "sp_test": sounds[test],
        "labels_test": np.arange(TEST_ROWS) % 10,
        "recording": recording,
    }


def write_published(folder, arrays):
    for name, (file, _) in FILES.items():
        np.save(folder / file, arrays[name])
    for part in ("train", "test"):
        np.save(folder / f"labels_{part}.npy", arrays[f"labels_{part}"])


def write_competition(folder, arrays):
    for name, (_, file) in FILES.items():
        np.save(folder / file, arrays[name])
    rows = [f"{row},{label}" for row, label in enumerate(arrays["labels_train"])]
    (folder / "y_train.csv").write_text("\n".join(["row_id,label", *rows, ""]))


def write_labels(place, columns):
    with (place / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
