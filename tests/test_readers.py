"""File readers: known contents come back, and every bad file is one DataError that names it."""

import contextlib
import gzip
import io
import os
import struct
import tracemalloc

import numpy as np
import pytest
from scipy.io import wavfile

from mmjax.errors import DataError, UsageError
from mmjax.tasks.readers import (
    data_folder,
    find,
    make_rng,
    read_csv_column,
    read_idx,
    read_npy,
    read_wav,
)

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def idx(array, *, magic=None, shape=None):
    shape = array.shape if shape is None else shape
    magic = 0x800 + len(shape) if magic is None else magic
    return struct.pack(f">I{len(shape)}I", magic, *shape) + array.tobytes()


def wav(samples, rate=8000):
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def patched(content, at, form, value):
    """The same bytes with one header field replaced."""
    field = struct.pack(form, value)
    return content[:at] + field + content[at + len(field) :]


TONE = (np.sin(np.arange(100)) * 2**14).astype(np.int16)
WAV, IDX = wav(TONE), idx(PIXELS)
ROWS = np.ones((3, 784), np.float32)
NPY = npy(ROWS)
BOMB = gzip.compress(IDX + bytes(1 << 24))

BAD_WAV = {
    "empty": b"",
    "text": b"not a sound",
    "header only": WAV[:12],
    "cut in the format": WAV[:30],
    "cut in the header of the data": WAV[:42],
    "cut in the data": WAV[:-51],
    "no data chunk": WAV[:36],
    "no samples": wav(TONE[:0]),
    "rate 0": patched(WAV, 24, "<I", 0),
    "no channels": patched(WAV, 22, "<H", 0),
    "65535 channels": patched(WAV, 22, "<H", 65535),
    "block of 0 bytes": patched(WAV, 32, "<H", 0),
    "77 bits": patched(WAV, 34, "<H", 77),
    "compressed": patched(WAV, 20, "<H", 2),
    "data said to be longer": patched(WAV, 40, "<I", 2 * len(TONE) + 2),
    "data said to be 4 GB": patched(WAV, 40, "<I", 2**32 - 1),
    "file said to be 4 GB": patched(WAV, 4, "<I", 2**32 - 1),
    "float64": wav(TONE / 2**15),
    "NaN": wav(np.array([0, np.nan], np.float32)),
    "loud": wav(np.array([0, 1.5], np.float32)),
}
BAD_IDX = {
    "empty": b"",
    "cut in the magic number": IDX[:3],
    "cut in the shape": IDX[:9],
    "cut in the values": IDX[:-1],
    "a byte too many": IDX + b"\0",
    "text": b"not an image at all",
    "float32": idx(PIXELS, magic=0xD03),
    "no dimensions": struct.pack(">I", 0x800) + b"\0",
    "four dimensions": idx(PIXELS, shape=(2, 3, 4, 1)),
    "no rows": idx(PIXELS[:0]),
    "said to be terabytes": idx(PIXELS, shape=(2**31, 28, 28)),
    "said to be 800 MB": idx(PIXELS, shape=(2**20, 28, 28)),
}
BAD_GZIP = {
    "not compressed": IDX,
    "empty": b"",
    "cut": gzip.compress(IDX)[:-9],
    "wrong checksum": patched(gzip.compress(IDX), -8, "<I", 7)[: len(gzip.compress(IDX))],
    "a bomb": BOMB,
    "said to be 800 MB": gzip.compress(idx(PIXELS, shape=(2**20, 28, 28))),
}
BAD_NPY = {
    "empty": b"",
    "text": b"1, 2, 3",
    "cut in the header": NPY[:40],
    "cut in the values": NPY[:-4],
    "said to be terabytes": NPY.replace(b"(3, 784), }         ", b"(999999999999, 784),}"[:20]),
    "objects": npy(np.array([{}] * 784)),
    "text values": npy(np.full((3, 784), "a")),
    "complex": npy(ROWS * 1j),
    "bool": npy(ROWS > 0),
    "a vector": npy(ROWS[0]),
    "another width": npy(ROWS[:, :783]),
    "three dimensions": npy(ROWS[None]),
    "no rows": npy(ROWS[:0]),
    "NaN": npy(ROWS * np.nan),
    "infinity": npy(ROWS * np.inf),
    "an archive": b"PK\x03\x04" + bytes(60),
}
BAD_CSV = {
    "empty": b"",
    "another column": b"row_id,digit\n0,1\n",
    "a short row": b"row_id,label\n0\n",
    "a word": b"row_id,label\n0,two\n",
    "a fraction": b"row_id,label\n0,2.5\n",
    "NaN": b"row_id,label\n0,nan\n",
    "too large": b"row_id,label\n0,99999999999999999999\n",
    "no text": bytes(range(128, 256)),
    "an open quote": b'row_id,label\n0,"1\n',
}
BAD = [
    pytest.param(read, name, content, id=f"{name}: {case}")
    for read, name, cases in (
        (read_wav, "bad.wav", BAD_WAV),
        (read_idx, "bad-ubyte", BAD_IDX),
        (read_idx, "bad-ubyte.gz", BAD_GZIP),
        (read_npy, "bad.npy", BAD_NPY),
        (lambda path: read_csv_column(path, "label"), "bad.csv", BAD_CSV),
    )
    for case, content in cases.items()
]


@pytest.mark.parametrize(("read", "name", "content"), BAD)
def test_a_bad_file_is_one_small_error_that_names_it(tmp_path, read, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=name):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("read", [read_wav, read_idx, read_npy])
def test_what_is_not_a_file_is_refused_without_waiting(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", ".", "pipe"):
        with pytest.raises(DataError, match="expected"):
            read(tmp_path / name)


@pytest.mark.parametrize(("read", "content"), [(read_wav, WAV), (read_idx, IDX), (read_npy, NPY)])
def test_flipped_bytes_give_an_array_or_a_data_error(tmp_path, read, content):
    rng = np.random.default_rng(0)
    for number in range(200):
        bad = np.frombuffer(content, np.uint8).copy()
        bad[rng.integers(0, min(len(bad), 128), 2)] = rng.integers(0, 256, 2)
        path = tmp_path / str(number)
        path.write_bytes(bad.tobytes())
        with contextlib.suppress(DataError):  # any other error fails the test
            read(path)


@pytest.mark.parametrize("array", [PIXELS, PIXELS[0], PIXELS[0, 0]])
def test_idx_plain_and_compressed(tmp_path, array):
    (tmp_path / "a").write_bytes(idx(array))
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx(array)))
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), array, strict=True)
    np.testing.assert_array_equal(read_idx(tmp_path / "a.gz"), array, strict=True)


@pytest.mark.parametrize(
    ("stored", "want"),
    [
        (np.array([-(2**15), 0, 2**14], np.int16), [-1, 0, 0.5]),
        (np.array([-(2**31), 0, 2**30], np.int32), [-1, 0, 0.5]),
        (np.array([0, 128, 192], np.uint8), [-1, 0, 0.5]),
        (np.array([-1, 0, 0.5], np.float32), [-1, 0, 0.5]),
        (np.array([[-(2**15), 0], [0, 0], [2**14, 2**14]], np.int16), [-0.5, 0, 0.5]),
    ],
)
def test_wav_samples_are_scaled_and_averaged_over_channels(tmp_path, stored, want):
    (tmp_path / "a.wav").write_bytes(wav(stored, 16000))
    samples, rate = read_wav(tmp_path / "a.wav")
    np.testing.assert_array_equal(samples, np.array(want, np.float32), strict=True)
    assert rate == 16000


def test_wav_with_a_chunk_of_the_recorder_is_read(tmp_path):
    chunk = b"cue " + struct.pack("<I", 4) + bytes(4)
    content = patched(WAV[:36] + chunk + WAV[36:], 4, "<I", len(WAV) + len(chunk) - 8)
    (tmp_path / "a.wav").write_bytes(content)
    np.testing.assert_array_equal(read_wav(tmp_path / "a.wav")[0], TONE / np.float32(2**15))


def test_npy_is_opened_in_place(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    array = read_npy(tmp_path / "a.npy")
    assert isinstance(array, np.memmap)
    np.testing.assert_array_equal(array, ROWS)


def test_csv_column(tmp_path):
    (tmp_path / "a.csv").write_text("﻿row_id,label\r\n0,7\r\n1,2\r\n", encoding="utf-8")
    column = read_csv_column(tmp_path / "a.csv", "label")
    np.testing.assert_array_equal(column, np.array([7, 2]), strict=True)


def test_find_takes_the_first_name_that_exists(tmp_path):
    (tmp_path / "b").touch()
    assert find(tmp_path, "a", "b", "c") == tmp_path / "b"
    with pytest.raises(DataError, match=r"expected x/y or z, got only b\. Download"):
        find(tmp_path, "x/y", "z")


def test_data_folder_is_the_argument_then_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("MMJAX_DATA", str(tmp_path))
    assert data_folder(None) == tmp_path
    assert data_folder(tmp_path.parent) == tmp_path.parent
    with pytest.raises(DataError, match=r"missing: expected a folder.*MMJAX_DATA"):
        data_folder(tmp_path / "missing")
    monkeypatch.delenv("MMJAX_DATA")
    with pytest.raises(UsageError, match=r"data: expected the folder.*MMJAX_DATA"):
        data_folder(None)


@pytest.mark.parametrize("seed", [-1, 0.5, "1", None])
def test_a_seed_is_an_integer_from_0(seed):
    with pytest.raises(UsageError, match="seed: expected an integer from 0"):
        make_rng(seed)
