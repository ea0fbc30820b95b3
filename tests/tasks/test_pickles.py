"""Pickles are read as pickle.loads reads them if they are data; nothing else in them happens."""

import io
import os
import pickle
import sys
from collections import OrderedDict
from pathlib import PurePosixPath

import fuzz_pickles
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pickled import Command, make_splits, push_array, push_name, push_text

from mmjax.errors import DataError, UnknownNameError
from mmjax.tasks import load_task
from mmjax.tasks.embeddings import embeddings
from mmjax.tasks.readers import pickles
from mmjax.tasks.readers.pickles import interpret, read_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
text = st.text(max_size=8)
atoms = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text
    | st.binary(max_size=8)
)  # fmt: skip
dtypes = st.one_of(
    arrays.boolean_dtypes(),
    arrays.integer_dtypes(endianness="?"),
    arrays.unsigned_integer_dtypes(),
    arrays.floating_dtypes(sizes=(16, 32, 64), endianness="?"),
    arrays.unicode_string_dtypes(min_len=1, max_len=4),
    arrays.byte_string_dtypes(min_len=1, max_len=4),
)
shapes = arrays.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=4)
data = st.recursive(
    atoms | arrays.arrays(dtypes, shapes),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(text, inner, max_size=4)
    ),
    max_leaves=8,
)


def read(content):
    return interpret(io.BytesIO(content))


def assert_same(got, want):
    assert type(got) is type(want)
    if isinstance(want, np.ndarray):
        assert got.dtype == want.dtype
        if want.dtype != object:
            np.testing.assert_array_equal(got, want, strict=True)
            return
        assert got.shape == want.shape
        got, want = list(got.flat), list(want.flat)
    if isinstance(want, dict):
        assert list(got) == list(want)
        got, want = list(got.values()), list(want.values())
    if isinstance(want, list | tuple):
        assert len(got) == len(want)
        for one, other in zip(got, want, strict=True):
            assert_same(one, other)
    else:
        assert got == want


@given(data, st.sampled_from(PROTOCOLS))
def test_data_are_what_they_were(value, protocol):
    assert_same(read(pickle.dumps(value, protocol)), value)


ARRAYS = {
    "by column": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "of moved axes": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    "of every second": np.arange(10)[::2],
    "of objects": np.array(["a", None, [1, {"b": 2.5}], np.ones(2)], object),
    "of objects by column": np.array([["a", None], [3, b"d"]], object, order="F"),
    "of nothing": np.zeros((2, 0)),
    "of one": np.array(3.5),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_are_what_they_were(case, protocol):
    assert_same(read(pickle.dumps(ARRAYS[case], protocol)), ARRAYS[case])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scalars_of_numpy_are_numbers_and_text(protocol):
    scalars = [np.float32(1.5), np.int64(-3), np.bool_(True), np.str_("ab"), np.bytes_(b"x")]
    assert_same(read(pickle.dumps(scalars, protocol)), [1.5, -3, True, "ab", b"x"])


@pytest.mark.parametrize("protocol", PROTOCOLS[:4])
def test_numpys_names_before_version_2_are_known(protocol):
    splits = make_splits()
    content = pickle.dumps(splits, protocol).replace(b"numpy._core", b"numpy.core")
    assert b"numpy.core" in content
    assert_same(read(content), splits)


def test_arrays_of_python_2_are_read():
    """Their bytes are text, which pickletools reads as Latin-1."""
    content = np.float32([1.5, -2]).tobytes()
    program = push_array(b"K\2\x85", b"U\x08" + content)
    np.testing.assert_array_equal(read(program + b"."), np.float32([1.5, -2]), strict=True)


def test_arrays_are_not_copied_and_may_be_in_two_places():
    array, names = np.arange(5.0), ["a", ("b", 2)]
    one, other, *lists = read(pickle.dumps([array, array, names, names], 5))
    assert one is other
    assert one.base is not None
    assert lists == [names, names]


IMPORTS = {
    "a command": (Command(), "posix.system"),
    "a class": (PurePosixPath("a"), "pathlib.PurePosixPath"),
    "a function": (os.getcwd, "posix.getcwd"),
    "a mask": (np.ma.ones(2), "numpy.ma.core._mareconstruct"),
    "a matrix": (np.matrix([[1]]), "numpy.matrix"),
    "an order of keys": (OrderedDict(a=1), "collections.OrderedDict"),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("case", IMPORTS)
@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_what_would_be_imported_is_named_and_is_not(case, protocol, tmp_path):
    value, name = IMPORTS[case]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"train": [value]}, protocol))
    with fuzz_pickles.watching() as events, pytest.raises(DataError) as caught:
        read_pickle(tmp_path / "a.pkl")
    expected = "a.pkl: expected a pickle of plain data and NumPy arrays"
    assert f"{expected}, got ValueError: it would import {name}." in str(caught.value)
    assert not [event for event in events if not event.startswith(("open", "mmap", "os.stat"))]


def test_a_module_that_is_named_is_not_loaded():
    assert "this" not in sys.modules
    with pytest.raises(ValueError, match=r"it would import this\.s"):
        read(push_name("this s") + b".")
    assert "this" not in sys.modules


def test_a_persistent_object_and_an_instance_are_refused_with_their_names():
    with pytest.raises(ValueError, match="PERSID id"):
        read(b"Pid\n.")
    with pytest.raises(ValueError, match="INST posix system"):
        read(b"(S'exit 0'\niposix\nsystem\n.")


def test_a_pickle_is_limited(monkeypatch):
    monkeypatch.setattr(pickles, "MAX_OPCODES", 100)
    assert len(read(b"](" + b"N" * 90 + b"e.")) == 90
    with pytest.raises(ValueError, match="opcode 100, NONE"):
        read(b"](" + b"N" * 200 + b"e.")
    assert read(b")" + b"\x85" * 16 + b".")
    with pytest.raises(ValueError, match="too deep"):
        read(b")" + b"\x85" * 17 + b".")


def test_the_same_text_becomes_bytes_only_as_often_as_it_takes_space():
    encode = (
        push_name("_codecs encode")
        + push_text("a" * 1000)
        + b"q\0"
        + push_text("latin1")
        + b"q\1\x86R"
    )
    again = push_name("_codecs encode") + b"h\0h\1\x86R"
    assert read(b"(" + encode + b"t.") == (b"a" * 1000,)
    with pytest.raises(ValueError, match="more copies of its parts"):
        read(b"(" + encode + again * 2 + b"t.")


def test_random_opcodes_execute_nothing():
    counts = fuzz_pickles.fuzz(20_000, seed=1)
    assert counts["opcodes"] >= 20_000
    assert counts["events"] == counts["slow"] == 0
    assert min(counts["refused an import"], counts["data"], counts["refused otherwise"]) >= 10


@pytest.mark.slow
def test_a_million_random_opcodes_execute_nothing():
    counts = fuzz_pickles.fuzz(1_000_000)
    assert counts["opcodes"] >= 1_000_000
    assert counts["events"] == counts["slow"] == 0


def test_the_watch_sees_what_unpickling_does():
    assert any(event.startswith("os.system") for event in fuzz_pickles.unpickled())


def joined(task, get):
    return np.concatenate([get(split) for split in task.splits.values()])


@pytest.fixture
def place(tmp_path):
    def write(splits, protocol=4):
        (tmp_path / "mosi").mkdir()
        (tmp_path / "mosi" / "aligned.pkl").write_bytes(pickle.dumps(splits, protocol))
        return tmp_path / "mosi"

    return write


@pytest.mark.parametrize("names", [("train", "valid", "test"), ("train", "dev", "test")])
def test_splits_become_a_task(names, place, capsys):
    splits = make_splits()
    splits["train"]["audio"][3, 1] = -np.inf
    folder = place(dict(zip(names, splits.values(), strict=True)))
    task = load_task("embeddings", folder)
    assert repr(task) == (
        "Task('embeddings/mosi': audio (3, 4), text (5,), vision (3, 2) -> 1 number; "
        "rows: 12 train, 6 valid, 6 test)"
    )
    for part, split in task.splits.items():
        for name in ("text", "vision"):
            np.testing.assert_array_equal(split.inputs[name], splits[part][name])
        target = task.scale.restore(split.target)
        np.testing.assert_allclose(target, splits[part]["labels"][:, 0], rtol=1e-5)
        assert split.meta["id"].tolist() == splits[part]["id"]
    np.testing.assert_array_equal(task.train.inputs["audio"][3, 1], 0)
    assert np.unique(task.train.group, return_counts=True)[1].tolist() == [3] * 4
    assert capsys.readouterr().err.splitlines() == [
        f"mmjax: {folder}/aligned.pkl: skipped raw_text",
        f"mmjax: {folder}/aligned.pkl: 4 infinite numbers of audio became 0",
        f"mmjax: {folder}/aligned.pkl: assumed 8 recordings, such as train0, by how ids begin, "
        "each of them a group; override by group=row",
        "mmjax: target: assumed 1 number per row",
    ]


IDS = {
    "clips": (lambda part, row: f"{part}{row // 3}[{row}]", 4),
    "bytes": (lambda part, row: f"{part}{row // 3}[{row}]".encode(), 4),
    "parts": (lambda part, row: [f"{part}{row // 3}", str(row), row + 0.5], 4),
    "names": (lambda part, row: f"{part}{row // 3}-{row}", 12),
    "numbers": (lambda part, row: sum(map(ord, part)) * 100 + row, 12),
}


@pytest.mark.parametrize("as_array", [False, True], ids=["list", "array"])
@pytest.mark.parametrize("case", IDS)
def test_ids_say_what_belongs_together(case, as_array, place):
    make, groups = IDS[case]
    splits = make_splits()
    for part, split in splits.items():
        ids = [make(part, row) for row in range(len(split["text"]))]
        split["id"] = np.array(ids, object) if as_array else ids
    folder = place(splits)
    assert len(np.unique(embeddings(folder).train.group)) == groups
    assert len(np.unique(embeddings(folder, group="row").train.group)) == 12
    with pytest.raises(UnknownNameError, match="group: expected one of recording, row"):
        embeddings(folder, group="speaker")


def test_without_ids_rows_are_numbered_and_groups_may_be_given(place):
    splits = make_splits()
    for part, split in splits.items():
        del split["id"]
        split["group"] = [f"{part}{row // 6}" for row in range(len(split["text"]))]
    task = embeddings(place(splits))
    assert task.valid.meta["id"][:2].tolist() == ["valid 0", "valid 1"]
    assert len(np.unique(task.train.group)) == 2


@pytest.mark.parametrize("as_array", [False, True], ids=["list", "array"])
def test_targets_may_be_classes_under_another_key(as_array, place):
    splits = make_splits()
    for split in splits.values():
        moods = ["glad", "sad"] * (len(split.pop("labels")) // 2)
        split["annotations"] = np.array(moods) if as_array else moods
    folder = place(splits)
    with pytest.raises(DataError, match=r"no labels in train, but .*annotations; pass target=KEY"):
        embeddings(folder)
    task = load_task("embeddings", folder, {"target": "annotations", "kind": "classes"})
    assert task.names == ("glad", "sad")
    np.testing.assert_array_equal(task.test.target, [0, 1] * 3)


def test_a_recording_in_two_splits_is_told(place):
    splits = make_splits()
    splits["test"]["id"] = splits["train"]["id"][:6]
    with pytest.raises(
        DataError, match=r"each group in one split, got group train0 in test, train"
    ):
        embeddings(place(splits))
