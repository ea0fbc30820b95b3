"""File readers: known contents come back. tests/test_bad_inputs.py has what is refused."""

import gzip
import struct

import numpy as np
import pytest
from bad_inputs import PIXELS, ROWS, TONE, WAV, make_idx, make_wav, patched

from mmjax.errors import DataError, UsageError
from mmjax.splits import make_rng
from mmjax.tasks.readers import (
    data_folder,
    find,
    read_csv_column,
    read_idx,
    read_npy,
    read_wav,
)


@pytest.mark.parametrize("array", [PIXELS, PIXELS[0], PIXELS[0, 0]])
def test_idx_plain_and_compressed(tmp_path, array):
    (tmp_path / "a").write_bytes(make_idx(array))
    (tmp_path / "a.gz").write_bytes(gzip.compress(make_idx(array)))
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
    (tmp_path / "a.wav").write_bytes(make_wav(stored, 16000))
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
