"""Token ids, bytes and words: what they are, and which rows are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax.data.code_ids import TokenIds
from mmjax.data.code_text import Bytes, Words
from mmjax.data.task import Split, Task
from mmjax.errors import DataError, UsageError

ROWS = 60
TARGET = np.arange(ROWS) % 2
REVIEWS = [f"A {'good' if row % 2 else 'BAD'} film, no. {row}!" for row in range(ROWS)]
SPLIT = np.repeat(["train", "valid", "test"], [36, 12, 12])
EVERY = np.ones(ROWS, bool)


def make(text, kind, **options):
    return Task.from_arrays({"x": text}, TARGET, kinds={"x": kind}, kind="classes", **options)


def rows_of(task):
    return np.concatenate([split.inputs["x"] for split in task.splits.values()])


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_bytes_can_be_read_back(text):
    every = np.ones(len(text), bool)
    coding = Bytes().fit("x", text, every, every)
    coded = coding.encode("x", text)
    assert coded.dtype == np.int32
    read = [bytes(row[row >= 0].astype(np.uint8)).decode() for row in coded]
    assert read == text


@given(st.lists(st.text("abAB .,é7", min_size=1, max_size=20), min_size=2, max_size=8))
def test_words_are_those_of_at_least_two_rows(text):
    every = np.ones(len(text), bool)
    split = [Words().split(row) for row in text]
    several = {word for row in split for word in row if sum(word in other for other in split) > 1}
    if not several:
        return
    coding = Words().fit("x", text, every, every)
    assert {*coding.words} == several
    known = [("?", *coding.words)[i] for row in coding.encode("x", text) for i in row if i >= 0]
    assert known == [word if word in several else "?" for row in split for word in row]


def test_words_come_from_training_rows_and_the_most_frequent_first():
    text = ["b a a", "a b", "b c"] * 12 + ["new new", "new new"] * 12
    task = make(text, Words(most=2), split=SPLIT)
    assert task.codings["x"].words == ("a", "b")
    assert (task.valid.inputs["x"][:, :2] == 0).all()
    assert (task.valid.inputs["x"][:, 2:] == -1).all()


def test_long_rows_are_cut_and_told(capsys):
    coding = Words(words=("a", "b")).fit("x", ["a b", "b"], *np.ones((2, 2), bool))
    assert coding.encode("x", ["b a b", "a"]).tolist() == [[2, 1], [1, -1]]
    assert "cut 1 of 2 rows after 2 tokens" in capsys.readouterr().err
    task = make(["a b c d"] * 59 + ["a b c d e f"], Words(length=4))
    assert task.shapes == {"x": (4,)}
    told = capsys.readouterr().err
    took = "cut 1 of 60 rows after 4 tokens; kinds={'x': Words(..., length=6)} keeps all"
    assert told == f"mmjax: input 'x': {took}\n"


@pytest.mark.parametrize("series", [list, np.array, lambda x: np.array(x, object)[:, None]])
def test_text_comes_in_any_container(series):
    want = make(REVIEWS, "words")
    assert make(series(REVIEWS), "words").digest() == want.digest()
    assert make(REVIEWS, "bytes").digest() != want.digest()


def test_rows_that_lack_text_are_empty():
    text, here = [*REVIEWS], np.arange(ROWS) % 5 > 0
    for row in np.flatnonzero(~here):
        text[row] = None if row % 2 else np.nan
    task = make(text, "words", present={"x": here})
    for split in task.splits.values():
        np.testing.assert_array_equal((split.inputs["x"] >= 0).any(axis=1), split.present["x"])


@pytest.mark.parametrize("nothing", [None, np.nan])
@pytest.mark.parametrize("row", [3, 44])
def test_missing_text_is_refused_and_named(nothing, row):
    text = [*REVIEWS]
    text[row] = nothing
    with pytest.raises(DataError, match=f"none in row {row}, id r{row}. Fill it"):
        make(text, "bytes", meta={"id": [f"r{i}" for i in range(ROWS)]})


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ([1] * ROWS, "words", "expected text, got int64 in 60 rows"),
        ([*REVIEWS[1:], b"x"], "words", r"got bytes in row 59"),
        (np.full((ROWS, 2), "a"), "words", r"one text per row, got shape \(60, 2\)"),
        ([str(row) for row in range(ROWS)], "words", "words that occur in several training rows"),
        (REVIEWS[1:], "words", "expected 60 rows, as in the target, got 59"),
        (REVIEWS, "vector", r"got text, .*state kinds={\.\.\.: 'words'}"),
        (REVIEWS, "tokens", "expected token ids"),
        (np.zeros((ROWS, 0), int), "tokens", "expected token ids"),
        ("a text", "words", "expected one row per sample, got str"),
        ([], "bytes", "expected one row per sample, got no rows"),
        (7, "tokens", "expected one row per sample, got int"),
        (np.full((ROWS, 3), 0.5), "tokens", "expected token ids"),
        (np.full((ROWS, 3), np.nan), "tokens", "expected token ids"),
        (np.full((ROWS, 3), 2**40), "tokens", "expected token ids"),
        (np.full((ROWS, 3), -2), "tokens", "from 0 to 0, and -1 for padding, got -2 to -2 in 60"),
        ([[1, 2], [[3]]] * 30, "tokens", "a list of token ids for each row"),
        ([[1, 2], "ab", [3]] * 20, "tokens", "a list of token ids for each row"),
        ([[1]] * 59 + [[99]], TokenIds(vocabulary=9), "got 99 to 99 in row 59"),
    ],
)
def test_what_is_no_text_is_refused(text, kind, message):
    with pytest.raises(DataError, match=message):
        make(text, kind)


@pytest.mark.parametrize(
    "make_it",
    [
        lambda: Words(length=0),
        lambda: Words(words=("a", "a")),
        lambda: Words(words=(1,)),
        lambda: Bytes(length=2.5),
        lambda: TokenIds(vocabulary=True),
        lambda: TokenIds(vocabulary=2**40),
    ],
)
def test_codings_that_make_no_sense_are_refused(make_it):
    with pytest.raises(UsageError, match="expected"):
        make_it()


def test_ids_are_padded_and_their_vocabulary_is_that_of_all_splits():
    ids = [[7, 2, 0], [5], []] * 19 + [[1], [1], [40_000]]
    task = make(ids, "tokens", split=SPLIT)
    assert task.codings["x"] == TokenIds(40_001, 3)
    assert task.train.inputs["x"][:3].tolist() == [[7, 2, 0], [5, -1, -1], [-1, -1, -1]]
    assert task.train.inputs["x"].dtype == np.int32
    stated = make(ids, TokenIds(vocabulary=50_000, length=8))
    assert (stated.codings["x"].known, stated.shapes["x"]) == (50_000, (8,))
    assert task.input_scales == {}


def test_absent_rows_may_hold_any_ids():
    ids, here = np.ones((ROWS, 2), int), np.arange(ROWS) % 2 > 0
    ids[~here] = -7
    ids[0] = 10**6
    task = make(ids, "tokens", present={"x": here})
    assert task.codings["x"].known == 2
    assert (rows_of(task) == 1).all(axis=1).sum() == here.sum()


def test_a_task_checks_its_ids():
    split = lambda ids: Split({"x": np.array(ids, np.int32)}, np.array([0, 1]), np.arange(2))
    good = split([[0, -1], [1, 2]])
    Task("mine", good, good, good, 2, codings={"x": TokenIds(3)})
    with pytest.raises(DataError, match="valid input 'x': expected token ids from 0 to 2"):
        Task("mine", good, split([[0, 1], [1, 3]]), good, 2, codings={"x": TokenIds(3)})
    with pytest.raises(DataError, match="expected float32 or uint8, got int32"):
        Task("mine", good, good, good, 2)
    with pytest.raises(DataError, match=r"codings: expected modalities of the inputs, \['x'\]"):
        Task("mine", good, good, good, 2, codings={"x": TokenIds(3), "y": TokenIds(3)})


def test_text_without_a_kind_is_refused_with_the_kinds_to_state():
    with pytest.raises(DataError, match=r"got text.*state kinds=.*'words'}, 'bytes' or 'table'"):
        Task.from_arrays({"x": REVIEWS}, TARGET)
    with pytest.raises(UsageError, match=r"a name, or one of TokenIds, .*, got 7"):
        Task.from_arrays({"x": REVIEWS}, TARGET, kinds={"x": 7})


def test_the_digest_knows_the_words():
    one, other = make(["a b"] * ROWS, "words"), make(["c d"] * ROWS, "words")
    np.testing.assert_array_equal(rows_of(one), rows_of(other))
    assert one.digest() != other.digest()
    assert "a" not in repr(one.codings["x"]).split("(")[1]  # words may be many
