"""Text and a table beside numbers: from files to a trained run, its export and new rows."""

import shutil

import numpy as np
import pytest
from commands import run
from layouts import write_labels

from mmjax.errors import DataError, UnknownNameError
from mmjax.runs.export import load_export
from mmjax.runs.trained import load_run
from mmjax.tasks.folder import folder

pandas = pytest.importorskip("pandas")

ROWS = 40
IDS = [f"r{row}" for row in range(ROWS)]
GOOD = np.arange(ROWS) % 2 == 0
REVIEWS = np.where(GOOD, "a good film, really", "what a\nboring evening")
KINDS = "kinds=review=words,patient=table"


def make_frame():
    """As ``patient.csv`` has it; row 3 has no line, and row 5 none in ``review.csv``."""
    frame = pandas.DataFrame({"id": IDS, "age": np.arange(ROWS) / 2, "city": "Oslo"})
    frame.loc[::4, "age"], frame.loc[1::4, "city"] = np.nan, None
    return frame.drop(index=3)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("data")
    write_labels(place, {"id": IDS, "target": np.where(GOOD, "good", "bad")})
    reviews = pandas.DataFrame({"id": IDS, "text": REVIEWS}).drop(index=5)
    reviews.to_csv(place / "review.csv", index=False)
    make_frame().to_csv(place / "patient.csv", index=False)
    (place / "pulse").mkdir()
    for row, name in enumerate(IDS):
        (place / "pulse" / f"{name}.csv").write_text(f"{row},{row % 3}\n")
    return place


@pytest.fixture(scope="module")
def trained(place, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    flags = ("--task", "folder", "--data", place, "--options", KINDS)
    assert run("train", "concat", *flags, "--steps", "3", "--seeds", "2", "--out", out) == 0
    return out


def new_rows(names):
    """As a user has them: text, a frame without the row's id, and numbers."""
    rows = [IDS.index(name) for name in names]
    frame = make_frame().set_index("id").reindex(names)
    pulse = np.array([[row, row % 3] for row in rows], np.float32)
    reviews = [
        None if name == "r5" else REVIEWS[row] for name, row in zip(names, rows, strict=True)
    ]
    lacks = lambda missing: np.array([name != missing for name in names])
    present = {"patient": lacks("r3"), "review": lacks("r5")}
    return {"review": reviews, "patient": frame, "pulse": pulse}, present


def test_files_of_lines_are_modalities_where_kinds_say_so(place):
    task = folder(place, kinds="review=words,patient=table")
    assert task.shapes == {"patient": (2,), "pulse": (2,), "review": (5,)}
    assert task.codings["patient"].known == (0, 2)
    for name, absent in (("patient", "r3"), ("review", "r5")):
        ids = np.concatenate([s.meta["id"][~s.present[name]] for s in task.splits.values()])
        assert ids.tolist() == [absent]
    assert folder(place).modalities == ("pulse",)


@pytest.mark.slow
def test_a_run_reads_new_rows_as_it_read_its_task(trained, tmp_path):
    loaded = load_run(trained)
    for split in loaded.arm.task.splits.values():
        want = loaded.predict(split.inputs, split.present)
        np.testing.assert_allclose(loaded.predict(*new_rows(split.meta["id"])), want, atol=1e-6)
    assert run("predict", trained, "--split", "valid", "--out", tmp_path / "out.csv") == 0
    assert run("export", trained, "--out", tmp_path / "export") == 0
    exported = load_export(tmp_path / "export")
    assert exported.arm.task.codings == loaded.arm.task.codings
    rows = new_rows(IDS)
    np.testing.assert_array_equal(exported.predict(*rows), loaded.predict(*rows))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("review", "id,text\nr99,hello\n", r"review\.csv: .* got a line with the id r99"),
        ("review", "id,text,more\nr1,a,b\n", r"review\.csv: expected one column, got text, more"),
        ("review", "id,text\nr1,a\nr1,b\n", "several rows with the id r1"),
        ("patient", "id\nr1\n", r"patient\.csv: expected a CSV file with a column id and others"),
        ("patient", "id,age\n,3\n", r"got row 1 with cells \['', '3'\]"),
    ],
)
def test_files_of_lines_that_fit_no_labels_are_refused(place, tmp_path, name, content, message):
    write_labels(tmp_path, {"id": IDS, "target": np.where(GOOD, "good", "bad")})
    (tmp_path / f"{name}.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        folder(tmp_path, kinds=KINDS.removeprefix("kinds="))


def test_a_kind_or_a_modality_that_is_misspelt_is_suggested(place):
    with pytest.raises(UnknownNameError, match=r"kind of patient: .*Did you mean 'table'"):
        folder(place, kinds="patient=tabel")
    with pytest.raises(UnknownNameError, match=r"modality of kinds: .*Did you mean 'patient'"):
        folder(place, kinds="patiant=table")


def test_a_table_does_not_hold_the_target(place, tmp_path):
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    frame = make_frame()
    frame.assign(target="good").to_csv(tmp_path / "patient.csv", index=False)
    with pytest.raises(DataError, match="the column target has the name of a target"):
        folder(tmp_path, kinds=KINDS.removeprefix("kinds="))


def test_the_cell_that_makes_numbers_categories_is_named(place, tmp_path, capsys):
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    text = (tmp_path / "patient.csv").read_text().replace("r1,0.5", "r1,<0.5")
    (tmp_path / "patient.csv").write_text(text)
    folder(tmp_path, kinds=KINDS.removeprefix("kinds="))
    told = "age is read as categories, not numbers, because of '<0.5'"
    assert told in capsys.readouterr().err
