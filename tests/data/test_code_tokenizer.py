"""Tokenizers from files: the ids that they give themselves, and files that are none."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mmjax.data.code_tokenizer import Tokenizer
from mmjax.data.codings import describe_coding, parse_coding
from mmjax.data.task import Task
from mmjax.errors import DataError, UsageError

tokenizers = pytest.importorskip("tokenizers")

TEXT = ["A good film!", "a bad film, really", "", "日本 film é"] * 15
EVERY = np.ones(len(TEXT), bool)


def train():
    trained = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    trained.normalizer = tokenizers.normalizers.Lowercase()
    trained.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    special = ["[UNK]", "[CLS]", "[SEP]"]
    trainer = tokenizers.trainers.WordPieceTrainer(special_tokens=special, show_progress=False)
    trained.train_from_iterator(TEXT[:2], trainer)
    ids = [(name, trained.token_to_id(name)) for name in special[1:]]
    process = tokenizers.processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    trained.post_processor = process
    return trained


@pytest.fixture(scope="module")
def trained():
    return train()


@pytest.fixture
def path(trained, tmp_path):
    padded = tokenizers.Tokenizer.from_str(trained.to_str())
    padded.enable_padding(length=99)
    padded.enable_truncation(1)
    padded.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_ids_are_those_of_the_tokenizer(trained, path):
    task = Task.from_arrays(
        {"x": TEXT}, np.arange(60) % 2, kinds={"x": Tokenizer.read(path)}, kind="classes"
    )
    path.unlink()  # the task holds it
    coding = task.codings["x"]
    want = [trained.encode(text).ids for text in TEXT]
    assert coding.length == max(map(len, want))
    assert coding.known == trained.get_vocab_size()
    coded = coding.encode("x", TEXT)
    assert [row[row >= 0].tolist() for row in coded] == want
    assert coding.say(coded[0]) == trained.decode(want[0])
    np.testing.assert_array_equal(coding.encode("x", coded), coded)
    assert (coding.encode("x", TEXT, ~EVERY) == -1).all()  # without special tokens, too
    again = parse_coding(json.loads(json.dumps(describe_coding(coding))))
    assert again == coding
    assert again.encode("x", TEXT).tolist() == coded.tolist()


def test_the_digest_tells_tokenizers_apart(trained, path):
    one = Tokenizer.read(path, length=8)
    trained.add_tokens(["film"])
    other = Tokenizer(8, trained.to_str())
    assert repr(one).startswith("Tokenizer(")
    assert repr(one).endswith(", length=8)")
    assert repr(one) == repr(replace(one)) != repr(other)
    assert len(repr(one)) < 40


def test_added_tokens_are_known():
    trained = train()
    trained.add_tokens(["<video>"])
    coding = Tokenizer(4, trained.to_str())
    assert coding.known == 1 + trained.token_to_id("<video>")
    assert coding.encode("x", ["<video>"])[0].max() == coding.known - 1


def test_long_rows_are_cut_and_told(path, capsys):
    coding = Tokenizer.read(path, length=3).fit("x", TEXT, EVERY, EVERY)
    assert coding.encode("x", TEXT).shape == (60, 3)
    assert (
        "cut 45 of 60 rows after 3 tokens; kinds={'x': Tokenizer(..., length="
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("content", ["", "{}", "null", '{"version": "9"}', "\x00", "[" * 9999])
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"tokenizer.json: expected a tokenizer.json of Hugging"):
        Tokenizer.read(path)
    with pytest.raises(UsageError, match=r"definition: expected the content of a tokenizer.json"):
        Tokenizer(4, content)


def spoil(*places, value):
    """The definition of the tokenizer with another value in a place of its JSON."""
    definition = json.loads(train().to_str())
    part = definition
    for place in places[:-1]:
        part = part[place]
    part[places[-1]] = value
    return json.dumps(definition)


def test_tokenizers_that_are_not_sound_are_told():
    unknown = spoil("model", "unk_token", value="lost")
    with pytest.raises(DataError, match=r"any text, got Exception: .*, for '日本'"):
        Tokenizer(4, unknown).encode("x", ["日本"])
    far = spoil("post_processor", "special_tokens", "[CLS]", "ids", value=[4_000_000_000])
    lost = [{"SpecialToken": {"id": "[LOST]", "type_id": 0}}]
    with pytest.raises(DataError, match="any text, got PanicException"):
        Tokenizer(4, spoil("post_processor", "single", value=lost)).split("a")
    with pytest.raises(DataError, match=r"ids of its vocabulary, below \d+, got 4000000000"):
        Tokenizer(4, far).split("a")
    with pytest.raises(UsageError, match="vocabulary: expected a positive integer, got 4000000001"):
        Tokenizer(4, spoil("model", "vocab", "good", value=4_000_000_000))


def test_what_is_missing_is_told(path, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        Tokenizer.read(tmp_path / "other.json")
    with pytest.raises(UsageError, match="length"):
        Tokenizer.read(path, length=0)
    with pytest.raises(UsageError, match="definition"):
        Task.from_arrays({"x": TEXT}, np.arange(60) % 2, kinds={"x": "tokenizer"}, kind="classes")
