"""Datasets of other libraries become tasks of the same rows."""

import importlib
import io

import numpy as np
import pytest
from PIL import Image
from small import make_rich_split

from mmjax.data.task import Task
from mmjax.errors import DataError, UnknownNameError
from mmjax.tasks import from_dataset
from mmjax.tasks.readers.mfcc import mfcc
from mmjax.tasks.tfds import PLACE, prepare

COLUMNS = {"picture": "img", "text": "tokens"}


def make_rows(size, start=0):
    rng = np.random.default_rng(start)
    return [
        {
            "img": Image.fromarray(np.full((4, 5), start + row, np.uint8)),
            "tokens": rng.normal(size=(3, 2)).tolist() if row % 4 else None,
            "label": (start + row) % 3,
            "tags": [row % 2, row % 3 % 2],
            "height": row / 2,
            "who": f"speaker {(start + row) // 2}",
        }
        for row in range(size)
    ]


def check(split, rows):
    assert split.size == len(rows)
    for index, row in enumerate(rows):
        want = np.asarray(row["img"])[..., None]
        np.testing.assert_array_equal(split.inputs["picture"][index], want)
        assert split.present["text"][index] == (row["tokens"] is not None)
        if row["tokens"] is not None:
            np.testing.assert_array_equal(split.inputs["text"][index], np.float32(row["tokens"]))
        assert split.target[index] == row["label"]


def test_splits_of_dicts_are_taken_as_they_are():
    parts = {"train": make_rows(9), "validation": make_rows(6, 50), "test": make_rows(7, 90)}
    task = from_dataset(parts, modalities=COLUMNS, target="label", group="who", name="mine")
    assert (task.name, task.shapes) == ("mine", {"picture": (4, 5, 1), "text": (3, 2)})
    for split, rows in zip(task.splits.values(), parts.values(), strict=True):
        check(split, rows)
    assert task.train.group[0] == task.train.group[1] != task.train.group[2]


def test_what_has_no_splits_is_split_and_what_has_no_validation_gives_up_a_part():
    rows = make_rows(60)
    options = {"modalities": COLUMNS, "target": "label", "group": "who"}
    whole = from_dataset(rows, **options)
    assert sum(split.size for split in whole.splits.values()) == 60
    assert not set(whole.train.group) & set(whole.test.group)
    kept = from_dataset({"train": rows, "test": make_rows(7, 90)}, **options)
    check(kept.test, make_rows(7, 90))
    assert kept.train.size + kept.valid.size == 60
    assert kept.valid.size >= 6
    assert not set(kept.train.group) & set(kept.valid.group)


def test_targets_may_be_labels_or_numbers():
    rows, options = make_rows(60), {"modalities": {"picture": "img"}}
    assert from_dataset(rows, target="tags", **options).kind == "labels"
    task = from_dataset(rows, target=["height", "height"], **options)
    assert (task.kind, task.out_dim) == ("numbers", 2)


def test_recordings_become_mfccs():
    waves = [np.sin(np.arange(300 + row) / (2 + row % 3)).astype(np.float32) for row in range(30)]
    rows = [
        {"sound": {"array": wave, "sampling_rate": 4000}, "label": row % 3}
        for row, wave in enumerate(waves)
    ]
    parts = {"train": rows[:15], "val": rows[15:20], "test": rows[20:]}
    task = from_dataset(parts, modalities={"sound": "sound"}, target="label")
    want = mfcc(np.pad(waves[3], (0, 26)), 4000, window=200, hop=105)
    np.testing.assert_allclose(task.train.inputs["sound"][3], want, atol=1e-4)


@pytest.mark.parametrize("form", ["channels first", "channels last", "decoder"])
def test_channels_of_recordings_are_averaged(form):
    """As soundfile has them, as torchaudio has them, and as decoders of torchcodec give them."""

    class Decoder:
        def __init__(self, given):
            self.given = given

        def __getitem__(self, name):
            return self.given[name]

        def get_all_samples(self):
            raise NotImplementedError

    waves = np.random.default_rng(0).normal(size=(9, 2, 300)).astype(np.float32)
    give = {
        "channels first": lambda wave: {"array": wave, "sampling_rate": 4000},
        "channels last": lambda wave: {"array": wave.T, "sampling_rate": 4000},
        "decoder": lambda wave: Decoder({"array": wave.mean(axis=0), "sampling_rate": 4000}),
    }[form]
    rows = [{"s": give(wave), "label": number % 3} for number, wave in enumerate(waves)]
    parts = {"train": rows[:3], "val": rows[3:6], "test": rows[6:]}
    task = from_dataset(parts, modalities={"sound": "s"}, target="label")
    want = mfcc(waves[1].mean(axis=0), 4000, window=200, hop=105)
    np.testing.assert_allclose(task.train.inputs["sound"][1], want, atol=1e-4)


def test_pictures_stand_as_the_camera_was_held():
    """As in folders: a file is one array, whoever opens it."""
    held, shown = Image.Exif(), np.arange(24, dtype=np.uint8).reshape(4, 6)
    held[0x0112] = 8  # a quarter to the left
    file = io.BytesIO()
    Image.fromarray(shown).save(file, "PNG", exif=held)
    rows = [{"img": Image.open(file), "label": number % 2} for number in range(12)]
    task = from_dataset(rows, modalities={"picture": "img"}, target="label")
    np.testing.assert_array_equal(task.train.inputs["picture"][0, ..., 0], np.rot90(shown))


def test_hidden_labels_of_a_test_split_are_none():
    """Many datasets of Hugging Face have -1 for them."""
    hidden = [{**row, "label": -1} for row in make_rows(7, 90)]
    parts = {"train": make_rows(60), "test": hidden}
    task = from_dataset(parts, modalities=COLUMNS, target="label")
    assert not task.test.labelled
    assert task.names == ("0", "1", "2")


def test_rows_of_unequal_length_and_size_make_a_task(capsys):
    rows = make_rows(60)
    for row in rows[::7]:
        row["img"], row["tokens"] = row["img"].resize((9, 8)), [[1.0, 2.0]]
    task = from_dataset(rows, modalities=COLUMNS, target="label")
    assert (task.shapes, task.padded) == ({"picture": (4, 5, 1), "text": (3, 2)}, ("text",))
    assert "column 'img': resized 9 of 60 pictures to 4 x 5" in capsys.readouterr().err
    sized = from_dataset(rows, modalities=COLUMNS, target="label", sizes={"picture": (6, 7)})
    assert sized.shapes["picture"] == (6, 7, 1)
    with pytest.raises(UnknownNameError, match="modality of sizes"):
        from_dataset(rows, modalities=COLUMNS, target="label", sizes={"img": (6, 7)})


WRONG = {
    "an unknown column": (
        {"modalities": {"picture": "image"}}, UnknownNameError, r"of mean: .*Did you mean 'img'"
    ),
    "an unknown target": ({"target": "lable"}, UnknownNameError, "Did you mean 'label'"),
    "text": ({"modalities": {"name": "who"}}, DataError, "column 'who': expected numbers, im"),
    "no rows": ({"dataset": []}, DataError, "at least one row, got none"),
    "a row without a column": (
        {"dataset": [*make_rows(8), {"img": None}]}, UnknownNameError, "column of row 8 of mean: "
    ),
    "a table": ({"dataset": {"img": [1, 2], "label": [0, 1]}}, DataError, r"to_dict\('records'\)"),
    "a generator": ({"dataset": iter(make_rows(8))}, DataError, "mappings, got list_iterator"),
    "modalities as a list": ({"modalities": ["img"]}, DataError, "modalities: expected {modality:"),
    "an unknown split": (
        {"dataset": {"train": make_rows(3), "tset": make_rows(3)}}, UnknownNameError, "'test'"
    ),
    "a mapping": (
        {"dataset": [{"img": {"path": ""}, "label": 0}]}, DataError, "got KeyError: 'array'"
    ),
    "other shapes": (
        {"dataset": [{"img": [1.0] * (row + 1), "label": 0} for row in range(9)]},
        DataError, "column 'img': expected rows of one shape.*state their kind",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_told(case):
    change, error, message = WRONG[case]
    options = {"dataset": make_rows(9), "modalities": {"picture": "img"}, "target": "label"}
    options |= {"name": "mean"}
    with pytest.raises(error, match=message):
        from_dataset(**{**options, **change})


def test_a_data_source_of_tensorflow_datasets_gives_the_same_task(tmp_path):
    rng = np.random.default_rng(0)
    task = Task("some", *(make_rich_split(size, rng) for size in (30, 6, 9)), out_dim=3)
    prepare(task, tmp_path)
    tensorflow_datasets = importlib.import_module("tensorflow_datasets")
    source = tensorflow_datasets.builder_from_directory(tmp_path / PLACE).as_data_source()
    modalities = {name: f"inputs/{name}" for name in task.modalities}
    got = from_dataset(source, modalities=modalities, target="target")
    for role, split in task.splits.items():
        np.testing.assert_array_equal(got.splits[role].target, split.target)
        for name, values in split.inputs.items():
            np.testing.assert_array_equal(got.splits[role].inputs[name], values)


def test_datasets_of_hugging_face_give_the_same_task(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed")
    parts = {"train": make_rows(9), "validation": make_rows(6, 50), "test": make_rows(7, 90)}
    dataset = datasets.DatasetDict(
        {name: datasets.Dataset.from_list(rows) for name, rows in parts.items()}
    )
    task = from_dataset(dataset, modalities=COLUMNS, target="label", group="who")
    for split, rows in zip(task.splits.values(), parts.values(), strict=True):
        check(split, rows)
    one = datasets.Dataset.from_list(make_rows(60))
    whole = from_dataset(one, modalities=COLUMNS, target="label", group="who")
    want = from_dataset(make_rows(60), modalities=COLUMNS, target="label", group="who")
    assert whole.digest() == want.digest()


def test_text_ids_and_tables_are_read_by_their_kinds():
    rows = [
        {"say": f"so {i % 3}", "ids": [i % 4] * (i % 3), "age": i / 2, "city": "Oslo", "ill": i % 2}
        for i in range(40)
    ]
    rows[3]["say"], rows[4]["ids"], rows[5]["age"], rows[5]["city"] = None, None, None, None
    rows[6]["age"], rows[7]["city"] = None, None
    task = from_dataset(
        rows,
        modalities={"say": "say", "ids": "ids", "who": ["age", "city"]},
        target="ill",
        kinds={"say": "words", "ids": "tokens", "who": "table"},
    )
    assert task.shapes == {"ids": (2,), "say": (2,), "who": (2,)}
    assert task.codings["who"].known == (0, 2)
    for name, absent in (("say", 3), ("ids", 4), ("who", 5)):
        ids = np.concatenate([s.meta["id"][~s.present[name]] for s in task.splits.values()])
        assert ids.tolist() == [str(absent)]
    with pytest.raises(DataError, match="expected one column, got age, city"):
        from_dataset(rows, modalities={"x": ["age", "city"]}, target="ill", kinds={"x": "words"})
