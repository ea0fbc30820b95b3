"""Tables: numbers and categories, their gaps, and categories that training rows lack."""

from dataclasses import replace

import numpy as np
import pytest

from mmjax.data.code_table import MAX_CATEGORIES, Column, Table
from mmjax.data.task import Task
from mmjax.errors import DataError, UsageError
from mmjax.tasks.arrays import arrays, save
from mmjax.training.recipe import make_model

pandas = pytest.importorskip("pandas")

ROWS = 60
TARGET = np.arange(ROWS) % 2
RNG = np.random.default_rng(0)
AGE = RNG.normal(50, 9, ROWS)
SPLIT = np.repeat(["train", "valid", "test"], [36, 12, 12])
EVERY = np.ones(ROWS, bool)


def make_frame():
    """A number with gaps, text with gaps, integers, integers that are categories, and booleans."""
    frame = pandas.DataFrame({"age": AGE, "city": np.array(["Rome", "Oslo"])[TARGET]})
    frame = frame.assign(count=np.arange(ROWS), ward=TARGET + 3, seen=np.arange(ROWS) % 3 == 0)
    frame.loc[::7, "age"] = np.nan
    frame.loc[::5, "city"] = None
    return frame.astype({"ward": "category"})


def make(table, **options):
    options = {"split": SPLIT, "kind": "classes", "kinds": {"x": "table"}, **options}
    return Task.from_arrays({"x": table}, TARGET, **options)


def test_columns_are_what_their_types_say(capsys):
    frame = make_frame()
    task = make(frame)
    assert task.codings["x"].columns == (
        Column("age"),
        Column("city", ("Oslo", "Rome")),
        Column("count"),
        Column("ward", ("3", "4")),
        Column("seen", ("False", "True")),
    )
    assert task.codings["x"].known == (0, 3, 0, 3, 3)
    rows = np.concatenate([split.inputs["x"] for split in task.splits.values()])
    np.testing.assert_allclose(rows[:, 0], frame["age"], rtol=1e-6)
    city = frame["city"].map({"Oslo": 1, "Rome": 2}).fillna(0)
    np.testing.assert_array_equal(rows[:, 1], city)
    np.testing.assert_array_equal(
        rows[:, 2:], np.stack([np.arange(ROWS), TARGET + 1, frame["seen"] + 1], 1)
    )
    assert not capsys.readouterr().err


def test_a_frame_with_categories_or_gaps_is_a_table_and_told(capsys):
    frame = make_frame()
    assert make(frame, kinds={}).digest() == make(frame).digest()
    told = capsys.readouterr().err
    assert told == (
        "mmjax: input 'x': assumed a table with 3 columns of categories (city, ward, seen) and 1 "
        "of numbers with gaps (age); kinds={'x': 'table'} states it\n"
    )
    numbers = frame[["age", "count"]]
    assert make(numbers, kinds={}).codings["x"].known == (0, 0)
    plain = make(numbers.fillna(0), kinds={})
    assert plain.codings == {}
    here = numbers["age"].notna().to_numpy()
    assert make(numbers, kinds={}, present={"x": here}).codings == {}


def test_a_structured_array_is_a_table(capsys):
    frame = make_frame()
    rows = frame.astype({"ward": str}).to_records(index=False)
    assert make(rows).digest() == make(frame).digest()
    assert make(np.array(rows[["age", "count"]]), kinds={}).codings["x"].known == (0, 0)
    assert "assumed a table" in capsys.readouterr().err


def test_categories_are_those_of_training_rows_and_others_are_counted(capsys):
    city = np.array(["Rome", "Oslo"] * 30, object)
    city[40:43], city[50] = "Paris", None
    task = make(pandas.DataFrame({"city": city}))
    assert task.codings["x"].columns[0].categories == ("Oslo", "Rome")
    codes = np.concatenate([split.inputs["x"][:, 0] for split in task.splits.values()])
    assert np.flatnonzero(codes == 0).tolist() == [40, 41, 42, 50]
    told = capsys.readouterr().err
    assert told == (
        "mmjax: input 'x.city': 3 cells are none of the 2 categories, such as 'Paris'; "
        "they count as unknown\n"
    )


def test_rare_categories_are_unknown(capsys):
    city = [f"c{row}" for row in range(300)] + ["c7", "c299"]
    every = np.ones(302, bool)
    coding = Table().fit("x", pandas.DataFrame({"city": city}), every, every)
    assert len(coding.columns[0].categories) == MAX_CATEGORIES
    assert {"c7", "c299"} <= {*coding.columns[0].categories}
    assert "kept the 255 most frequent of 300 categories" in capsys.readouterr().err


def test_new_rows_are_read_by_the_names_of_columns():
    frame = make_frame()
    coding = make(frame).codings["x"]
    want = coding.encode("x", frame)
    np.testing.assert_array_equal(coding.encode("x", frame.iloc[:, ::-1].assign(more=1)), want)
    np.testing.assert_array_equal(coding.encode("x", want), want)  # coded already
    # Integers beside missing ones are floats, and may come as text.
    ward = pandas.DataFrame({**frame, "ward": [3.0, np.nan] * 30})
    assert coding.encode("x", ward)[:2, 3].tolist() == [1, 0]
    with pytest.raises(DataError, match="'x': expected a column 'city', got age, count, ward, s"):
        coding.encode("x", frame.drop(columns="city"))


@pytest.mark.parametrize("standardise", [True, False])
def test_numbers_are_standardised_over_known_cells_and_categories_are_not(standardise):
    task = make(make_frame(), standardise=standardise)
    if not standardise:
        assert task.input_scales == {}
        return
    mean, deviation = task.input_scales["x"]
    known = task.train.inputs["x"][:, 0]
    np.testing.assert_allclose(mean, [np.nanmean(known), 0, 17.5, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(deviation[0], np.nanstd(known), rtol=1e-5)
    assert deviation[[1, 3, 4]].tolist() == [1, 1, 1]
    means = make_model(task, "concat", absent="mean").means["x"]
    np.testing.assert_array_equal(means, mean)


def test_a_column_without_any_number_is_missing_throughout():
    task = make(make_frame().assign(age=np.nan))
    assert np.isnan(task.train.inputs["x"][:, 0]).all()
    assert np.isfinite(task.input_scales["x"]).all()


def test_absent_rows_are_never_read():
    frame, here = make_frame(), np.arange(ROWS) % 4 > 0
    task = make(frame, present={"x": here})
    frame.loc[~here, "city"], frame.loc[~here, "age"] = "Nowhere", np.inf
    again = make(frame, present={"x": here})
    assert again.digest() == task.digest()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (make_frame().assign(age=np.inf), "column 'age': expected numbers up to 1e.19, got others"),
        (make_frame().assign(age=1e300), "'x.age': expected values below 3.4e38"),
        (make_frame().assign(age=1e9 + AGE), "'x.age': expected values that float32 can tell ap"),
        (make_frame().assign(age=AGE + 1j), "'x.age': expected numbers, got complex numbers"),
        (make_frame().iloc[1:], "expected 60 rows, as in the target, got 59"),
        (make_frame().rename(columns={"age": "city"}), "rows, in columns with different names"),
        (make_frame().assign(age=[np.zeros(2)] * ROWS), "'x.age': expected a number per row"),
        (np.zeros(ROWS, [("age", float, 2)]), "rows, in columns with different names"),
        (np.zeros((ROWS, 3)), "expected a pandas DataFrame or a structured array, got ndarray"),
        ([["a", 1]] * ROWS, "expected a pandas DataFrame or a structured array, got list"),
    ],
)
def test_what_is_no_table_is_refused(table, message):
    with pytest.raises(DataError, match=message):
        make(table)


@pytest.mark.parametrize(
    "columns",
    [
        (("a", None), ("a", None)),
        (("a", ("u", "u")),),
        (("a", (1, 2)),),
        ((7, None),),
        (("a", tuple(map(str, range(MAX_CATEGORIES + 1)))),),
    ],
)
def test_tables_that_make_no_sense_are_refused(columns):
    with pytest.raises(UsageError, match="expected"):
        Table(columns)


@pytest.mark.parametrize("code", [-1, 3, 0.5, np.nan, np.inf])
def test_a_task_checks_its_codes(code):
    task = make(make_frame())
    bad = task.valid.inputs["x"].copy()
    bad[2, 1] = code
    with pytest.raises(DataError, match="column 'city': expected codes from 0 to 2, got others in"):
        replace(task, valid=replace(task.valid, inputs={"x": bad}))


def test_a_saved_table_comes_back(tmp_path):
    task = make(make_frame())
    save(task, tmp_path)
    again = arrays(tmp_path)
    assert again.codings == task.codings
    assert replace(again, name="own").digest() == task.digest()
    for about in ('"kind": "tabel"', '"kind": "words"'):
        path = tmp_path / "task.json"
        path.write_text(path.read_text().replace('"kind": "table"', about))
        with pytest.raises(DataError, match=r"task\.json: expected a file that `save` wrote"):
            arrays(tmp_path)
