"""What is written comes back, and what is not a file of its kind is refused, whatever it holds."""

import gzip
import json
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from bad_inputs import KINDS, NPY, RF64, WAV, check_good, make_idx, make_npy, make_wav, outcome
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mmjax.errors import printable
from mmjax.runs.run_file import RunFile, read_run_file, write_run_file
from mmjax.runs.settings import Settings
from mmjax.storage.jsonl import append_rows, read_rows
from mmjax.storage.reading import read_npz
from mmjax.tasks.readers.formats import read_csv_column, read_idx, read_npy, read_wav

sides = partial(arrays.array_shapes, min_dims=1, max_dims=3, max_side=6)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = arrays.scalar_dtypes().filter(lambda dtype: dtype.kind in "iuf" and dtype.itemsize <= 8)
values = st.none() | st.booleans() | st.integers() | text | st.floats(allow_nan=False)


def written(name, content):
    """Calls a reader with a file that holds the content."""

    def read(reader):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_bytes(content)
            return reader(path)

    return read


@given(arrays.arrays(np.uint8, sides()))
def test_idx(array):
    content = make_idx(array)
    np.testing.assert_array_equal(written("a", content)(read_idx), array, strict=True)
    packed = gzip.compress(content)
    np.testing.assert_array_equal(written("a.gz", packed)(read_idx), array, strict=True)


@given(
    arrays.arrays(np.int16, arrays.array_shapes(max_dims=2, max_side=8)), st.integers(1, 192_000)
)
def test_wav(samples, rate):
    got, got_rate = written("a.wav", make_wav(samples, rate))(read_wav)
    want = samples.reshape(len(samples), -1).mean(axis=1) / 2**15
    np.testing.assert_array_equal(got, want.astype(np.float32), strict=True)
    assert got_rate == rate


@given(st.data())
def test_npy(data):
    dtype = data.draw(numbers)
    elements = arrays.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    array = data.draw(arrays.arrays(dtype, sides(), elements=elements))
    order = data.draw(st.sampled_from("CF"))
    read = partial(read_npy, shape=(None,) * array.ndim)
    got = written("a.npy", make_npy(np.array(array, order=order)))(lambda p: np.array(read(p)))
    np.testing.assert_array_equal(got, array)
    assert got.dtype == array.dtype


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), arrays.arrays("f4", sides())))
def test_npz(want):
    with tempfile.TemporaryDirectory() as folder:
        for save in (np.savez, np.savez_compressed):
            save(Path(folder, "a.npz"), **want)
            got = read_npz(Path(folder, "a.npz"))
            assert got.keys() == want.keys()
            for name in want:
                np.testing.assert_array_equal(got[name], want[name], strict=True)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), text)
def test_csv(column, title):
    lines = "".join(f'"{title.replace(chr(34), "")}",{number}\r\n' for number in column)
    content = f"title,label\r\n{lines}".encode()
    got = written("a.csv", content)(partial(read_csv_column, column="label"))
    np.testing.assert_array_equal(got, np.array(column, np.int64), strict=True)


@given(st.lists(st.dictionaries(text, values)))
def test_rows(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.jsonl")
        append_rows(path, rows)
        assert read_rows(path) == [
            {k: None if v in (np.inf, -np.inf) else v for k, v in row.items()} for row in rows
        ]


any_settings = st.builds(
    Settings,
    task=text,
    data=st.none() | text,
    options=st.lists(text).map(tuple),
    seeds=st.integers(1, 9),
    learning_rate=st.floats(1e-9, 1e9),
    match_params=st.none() | st.integers(1, 10**9),
)


@given(any_settings, st.lists(text))
def test_settings_of_a_run(given_settings, strategies):
    with tempfile.TemporaryDirectory() as folder:
        write_run_file(Path(folder), RunFile(given_settings, strategies))
        read = read_run_file(Path(folder))
        assert (read.settings, read.strategies) == (given_settings, strategies)


@given(
    st.dictionaries(
        st.sampled_from([*vars(Settings()), "strategies", "cells", "tuned_width"]), values
    )
)
def test_settings_of_any_values_are_settings_or_an_error(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.json")
        path.write_text(json.dumps(content), encoding="utf-8")
        assert outcome("run.json", read_run_file, Path(folder)) in ("accepted", "clear_error")


BEGINNINGS = {
    "wav": [b"RIFF", WAV[:20], WAV[:40], RF64],
    "idx": [b"\0\0\x08\1", b"\0\0\x08\3"],
    "idx.gz": [b"\x1f\x8b\x08\0"],
    "npy": [NPY[:6], NPY[:10], NPY[:60]],
    "npz": [b"PK\3\4", b"PK\5\6"],
    "csv": [b"label\n", b"row_id,label\n0,"],
    "pickle": [b"\x80\4", b"](", b"c_codecs\nencode\n(", b"}(U\5train"],
    "rows": [b"{", b'{"task": ', b"["],
    "run.json": [b"{", b'{"strategies": ["gmu"], "'],
}


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_any_bytes_are_read_or_refused(kind, tmp_path):
    check_good(kind)
    name = next(iter(KINDS[kind].good()))
    KINDS[kind].write(tmp_path, {})

    @given(st.sampled_from([b"", *BEGINNINGS[kind]]), st.binary(max_size=300))
    def check(beginning, rest):
        (tmp_path / name).write_bytes(beginning + rest)
        assert outcome(kind, KINDS[kind].read, tmp_path) in ("accepted", "clear_error")

    check()


@given(st.text())
def test_what_is_printed_is_printable(anything):
    shown = printable(anything)
    assert shown.isprintable()
    assert (shown == anything) == anything.isprintable()
