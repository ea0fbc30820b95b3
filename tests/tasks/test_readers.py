"""File readers: known contents come back. tests/tasks/test_bad_inputs.py has what is refused."""

import gzip
import re
import struct

import numpy as np
import pytest
import soundfile
from bad_inputs import PIXELS, ROWS, TONE, WAV, limits, make_idx, make_wav, patched

from mmjax.data.splits import make_rng
from mmjax.errors import DataError, UsageError
from mmjax.tasks.readers.formats import (
    data_folder,
    find,
    read_csv_column,
    read_flac,
    read_idx,
    read_npy,
    read_wav,
)
from mmjax.tasks.readers.sound import MAX_SAMPLES


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


WAV_FORMS = [("WAV", "LITTLE"), ("WAV", "BIG"), ("WAVEX", "FILE"), ("RF64", "FILE")]
SUBTYPES = {"PCM_U8": 1e-2, "PCM_24": 1e-6, "PCM_32": 1e-7, "FLOAT": 1e-7, "DOUBLE": 1e-7}
SUBTYPES |= {"ULAW": 2e-2, "ALAW": 2e-2, "MS_ADPCM": 0.2}


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_a_wav_file_of_every_common_kind_is_read(tmp_path, subtype):
    tone = TONE / 2**15
    for form, endian in WAV_FORMS:
        if soundfile.check_format(form, subtype, endian):
            file = tmp_path / f"{form}-{endian}.wav"
            soundfile.write(file, tone, 8000, format=form, subtype=subtype, endian=endian)
            samples, rate = read_wav(file)
            np.testing.assert_allclose(samples[:100], tone, atol=SUBTYPES[subtype])
            assert rate == 8000


LENGTHS = {
    "ffmpeg into a pipe": [(4, 2**32 - 1), (40, 2**32 - 1)],
    "sox into a pipe": [(4, 0x7FFFF024), (40, 0x7FFFF000)],
    "arecord into a pipe": [(4, 0x80000024), (40, 0x80000000)],
    "no length of the file": [(4, 0)],
    "too long a file": [(4, len(WAV) + 1000)],
}


@pytest.mark.parametrize("case", LENGTHS)
def test_a_wav_file_of_unknown_length_is_read_to_its_end(tmp_path, case):
    content = WAV
    for at, length in LENGTHS[case]:
        content = patched(content, at, "<I", length)
    (tmp_path / "a.wav").write_bytes(content)
    np.testing.assert_array_equal(read_wav(tmp_path / "a.wav")[0], TONE / np.float32(2**15))


def test_samples_a_little_above_full_scale_are_kept(tmp_path):
    loud = np.array([0, 1.18, -1.000001], np.float32)
    (tmp_path / "a.wav").write_bytes(make_wav(loud))
    np.testing.assert_array_equal(read_wav(tmp_path / "a.wav").samples, loud)


REFUSED = {
    "cut short": (WAV[:-51], "149 bytes of samples, though the header states 200"),
    "a recorder died": (patched(WAV, 40, "<I", 0), "200 bytes of samples, though the header"),
    "integers as floats": (
        make_wav(np.float32([0, 32767])), "samples up to 32767, where full scale is 1"
    ),
    "not finite": (make_wav(np.float32([0, np.nan])), "NaN or infinity"),
    "64 bits": (make_wav(TONE.astype(np.int64)), "corrupted content, or an unknown encoding"),
    "an MP3": (b"ID3" + bytes(60), "content that begins with b'ID3"),
    "a damaged rate": (patched(WAV, 24, "<I", 8001), "16000 bytes per second, though 8001 Hz"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_wav_file_is_refused_for_the_true_reason(tmp_path, case):
    content, reason = REFUSED[case]
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(DataError, match=re.escape(reason)) as caught:
        read_wav(tmp_path / "a.wav")
    assert "soundfile.write(path, samples, rate, subtype='PCM_16')" in str(caught.value)
    assert not re.search("Error|BytesIO|psf_", str(caught.value))


def test_a_long_recording_in_a_small_file_takes_little_memory(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.zeros(MAX_SAMPLES + 1, np.int16), 8000)
    with pytest.raises(DataError, match="states 16777217 samples"), limits():
        read_flac(tmp_path / "a.flac")


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
    with pytest.raises(UsageError, match="seed: expected a non-negative integer"):
        make_rng(seed)
