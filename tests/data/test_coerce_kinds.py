"""What is stated of arrays is done or refused; what is assumed of them is told in one line."""

import ml_dtypes
import numpy as np
import pytest
from commands import run
from layouts import write_labels

from mmjax.comparison.arm import make_arm
from mmjax.data.scale import find_byte_scale
from mmjax.data.task import Split, Task
from mmjax.errors import DataError, UnknownNameError
from mmjax.tasks import from_dataset, load_task
from mmjax.tasks.arrays import arrays, save
from mmjax.tasks.folder import folder
from mmjax.tasks.readers.files import read_table
from mmjax.training.fit import fit
from mmjax.training.recipe import make_model

ROWS = 60
SPLIT = np.array(["train", "val", "test", "train"] * 15)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 4))


def test_half_precision_is_widened_without_a_warning():
    half = X.astype(np.float16)
    task = Task.from_arrays({"x": half}, np.arange(ROWS) % 2, kind="classes", split=SPLIT)
    np.testing.assert_array_equal(task.test.inputs["x"], half[SPLIT == "test"])
    assert task.test.inputs["x"].dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_narrow_numbers_are_targets_if_they_are_finite(dtype):
    target = X[:, 0].astype(dtype)
    task = Task.from_arrays({"x": X}, target, split=SPLIT)
    got = task.scale.restore(task.test.target)[:, 0]
    np.testing.assert_allclose(got, target[SPLIT == "test"], rtol=1e-3, atol=1e-6)
    target[3] = np.inf
    with pytest.raises(DataError, match="infinite or larger ones in row 3"):
        Task.from_arrays({"x": X}, target, split=SPLIT)


def from_rows(inputs, target, **options):
    rows = [
        {**{n: x[i] for n, x in inputs.items()}, "target": target[i]} for i in range(len(target))
    ]
    if "split" in options:
        split = options.pop("split")
        rows = {part: [rows[i] for i in np.flatnonzero(split == part)] for part in np.unique(split)}
    return from_dataset(rows, modalities={n: n for n in inputs}, target="target", **options)


def from_folder(place, target, split=None, **options):
    (place / "x").mkdir()
    for row, values in enumerate(X):
        np.save(place / "x" / f"{row}.npy", values)
    columns = {"id": range(ROWS), "target": target} | ({} if split is None else {"split": split})
    write_labels(place, columns)
    return folder(place, **options)


def three_ways(place, target, **options):
    yield Task.from_arrays({"x": X}, target, **options)
    yield from_rows({"x": X}, target, **options)
    yield from_folder(place, target, **options)


INTEGERS = np.arange(ROWS) % 3
TARGETS = {
    "integers as numbers": (INTEGERS, {"kind": "numbers"}, "numbers", 1),
    "whole floats as classes": (INTEGERS.astype(float), {"kind": "classes"}, "classes", 3),
    "0 and 1 as a label": (INTEGERS % 2, {"kind": "labels"}, "labels", 1),
    "text as numbers": (INTEGERS.astype(str), {"kind": "numbers"}, "numbers", 1),
    "floats of two values": (1.0 + INTEGERS % 2, {}, "classes", 2),
    "fractions": (INTEGERS / 2, {}, "numbers", 1),
    "few whole floats": (INTEGERS + 0.0, {}, "numbers", 1),
}


@pytest.mark.parametrize("case", TARGETS)
def test_a_target_is_what_is_said_and_else_what_is_told(case, tmp_path, capsys):
    target, stated, kind, out_dim = TARGETS[case]
    ways = [Task.from_arrays({"x": X}, target, **stated), from_rows({"x": X}, target, **stated)]
    told = capsys.readouterr().err.splitlines()
    if case != "few whole floats":  # a file does not tell 1.0 from 1 where all are whole
        ways.append(from_folder(tmp_path, target.astype(str), **stated))
    assert {(task.kind, task.out_dim) for task in ways} == {(kind, out_dim)}
    assert len({task.digest() for task in ways}) == 1
    assert len(told) == (0 if stated else 2)
    found = "1 number per row" if (out_dim, kind) == (1, "numbers") else f"{out_dim} {kind}"
    assert all(f"assumed {found}" in line and "kind=" in line for line in told)


def test_matrices_are_labels_numbers_or_one_hot_classes():
    matrix = np.eye(3)[INTEGERS]
    make = lambda target, kind=None: Task.from_arrays({"x": X}, target, kind=kind)
    assert make(matrix).kind == make(matrix.astype(int)).kind == "labels"
    assert make(matrix, "numbers").kind == make(matrix + 0.5).kind == "numbers"
    one_hot = make(matrix, "classes")
    assert one_hot.digest() == make(INTEGERS).digest()
    assert make(INTEGERS[:, None], "classes").digest() == one_hot.digest()


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        (np.array(["a", "b"] * 30), "numbers", "target: expected numbers, got text: could not"),
        (np.array(["a", "b"] * 30), "labels", "labels 0 and 1 .*got text"),
        (INTEGERS, "labels", "labels 0 and 1 .*got values from 0 to 2"),
        (X, "classes", r"one class per row, \[rows\], got shape \(60, 4\)"),
        (X + 1j, None, "got complex128 of shape"),
    ],
)
def test_a_target_that_is_not_what_is_said_is_refused(target, kind, message):
    with pytest.raises(DataError, match=message):
        Task.from_arrays({"x": X}, target, kind=kind)


def test_unknown_kinds_are_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="one of classes, labels, numbers, got 'number'"):
        Task.from_arrays({"x": X}, INTEGERS, kind="number")
    with pytest.raises(UnknownNameError, match=r"one of bytes, .*, got 'token'.*'tokens'"):
        Task.from_arrays({"x": X}, INTEGERS, kinds={"x": "token"})
    with pytest.raises(UnknownNameError, match=r"kind of input 'x': .*got 'text'"):
        Task.from_arrays({"x": ["a"] * len(X)}, INTEGERS, kinds={"x": "text"})
    with pytest.raises(DataError, match=r"kinds: expected \{modality: kind\}, got str"):
        Task.from_arrays({"x": X}, INTEGERS, kinds="tokens")
    with pytest.raises(UnknownNameError, match="modality of kinds: expected one of x, got 'y'"):
        Task.from_arrays({"x": X}, INTEGERS, kinds={"y": "tokens"})


def test_classes_that_lack_rows_may_be_numbers():
    target = np.random.default_rng(0).integers(18, 91, 300)
    with pytest.raises(
        DataError, match=r"none of .*If the target is a number, pass kind='numbers'"
    ):
        Task.from_arrays({"x": np.arange(300.0)}, target)


@pytest.mark.parametrize("nothing", ["", "nan", "NA", "#N/A", "null", "None", "-1"])
@pytest.mark.parametrize("values", [["0", "1"], ["a", "b"]])
def test_unlabelled_test_rows_of_a_table(tmp_path, values, nothing):
    if (values[0], nothing) == ("a", "-1"):
        return  # which is a class
    target = np.where(SPLIT == "test", nothing, np.array(values)[np.arange(ROWS) // 4 % 2])
    task = from_folder(tmp_path, target, split=SPLIT)
    assert (task.kind, task.names, task.test.labelled) == ("classes", tuple(values), False)


@pytest.mark.parametrize("nothing", [np.nan, None])
@pytest.mark.parametrize("classes", [(0, 1, 2), ("u", "v", "w")])
def test_unlabelled_test_rows_in_python(classes, nothing):
    target = np.array([classes[i] for i in INTEGERS], object)
    target[SPLIT == "test"] = nothing
    given = target.astype(float) if classes[0] == 0 else target
    for column in (target, given, target.tolist()):
        task = Task.from_arrays({"x": X}, column, split=SPLIT)
        assert (task.names, task.test.labelled) == (tuple(map(str, classes)), False)


@pytest.mark.parametrize("kind", [None, "labels", "classes"])
def test_floats_of_unlabelled_rows_are_what_the_others_are(tmp_path, kind):
    labels = np.stack([np.arange(ROWS) // 4 % 2, np.arange(ROWS) // 8 % 2], axis=1)
    target = {"labels": labels, "classes": INTEGERS}.get(kind, labels[:, 0]).astype(float)
    target[SPLIT == "test"] = -1
    task = Task.from_arrays({"x": X}, target, split=SPLIT, kind=kind)
    assert (task.kind, task.test.labelled) == (kind or "classes", False)
    if kind == "labels":
        assert Task.from_arrays({"x": X}, target, split=SPLIT).digest() == task.digest()
        from_folder(tmp_path, INTEGERS)
        cells = dict(zip("ab", target.astype(int).T, strict=True))
        write_labels(tmp_path, {"id": range(ROWS), "split": SPLIT, **cells})
        for stated in (None, kind):
            read = folder(tmp_path, kind=stated)
            assert (read.kind, read.names, read.test.labelled) == (kind, ("a", "b"), False)


def test_numbers_of_unlabelled_rows_are_told(capsys):
    target = np.where(SPLIT == "test", -1, np.arange(ROWS) / 2)
    task = Task.from_arrays({"x": X}, target, split=SPLIT)
    assert (task.kind, task.test.labelled) == ("numbers", False)
    assert "assumed that -1 in all test rows means unlabelled" in capsys.readouterr().err


OTHERS = {
    "text": (np.array(["u", "v"] * 30), ""),
    "text of digits": (np.array(["3", "4"] * 30), "; override by kind='numbers'"),
    "0 and 1": (np.arange(ROWS) % 2, "; override by kind='labels' or kind='numbers'"),
    "labels": (np.ones((ROWS, 2), int) * np.c_[0:ROWS] % 2, "; override by kind='numbers'"),
    "fractions": (np.arange(ROWS) / 2, ""),
}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["yes", "Yes", "no"] * 20, "'Yes' and 'yes' count as different classes"),
        (["low risk", "low  risk"] * 30, "'low  risk' and 'low risk' count as different"),
        (["a", "b"] * 29 + ["b", "c"], "class 'c' has one row"),
        (["a", "b"] * 29 + ["c", "d"], "2 classes, such as 'c', have one row"),
        (["a", "b"] * 30, ""),
    ],
)
def test_classes_that_may_be_mistakes_are_told(names, told, capsys):
    Task.from_arrays({"x": X}, np.array(names), kind="classes")
    line = capsys.readouterr().err
    assert line.count("\n") == bool(told)
    assert told in line


@pytest.mark.parametrize("case", OTHERS)
def test_only_kinds_that_a_target_can_have_are_told(case, capsys):
    target, others = OTHERS[case]
    Task.from_arrays({"x": X}, target)
    assert "".join(capsys.readouterr().err.rstrip().partition(";")[1:]) == others


@pytest.mark.parametrize("cell", ["NA", "#N/A", "n/a", "null", "NaN", ""])
def test_what_is_missing_is_no_class(tmp_path, cell):
    target = np.where(np.arange(ROWS) % 10 == 9, cell, np.arange(ROWS) % 2)
    for make in (lambda: Task.from_arrays({"x": X}, target), lambda: from_folder(tmp_path, target)):
        with pytest.raises(
            DataError, match="a target for each row, got none in 6 rows, first in row 9"
        ):
            make()


def test_groups_that_are_missing_are_not_one_group():
    group = np.array(["a", "b", "NA"] * 20)
    with pytest.raises(DataError, match=r"group: .*got missing values in 20 rows, first in row 2"):
        Task.from_arrays({"x": X}, INTEGERS, group=group)


@pytest.mark.parametrize("heading", ["", "Unnamed: 0"])
def test_row_numbers_of_a_data_frame_are_no_target(tmp_path, heading, capsys):
    (tmp_path / "x").mkdir()
    for row, values in enumerate(X):
        np.save(tmp_path / "x" / f"{row}.npy", values)
    write_labels(tmp_path, {heading: range(ROWS), "id": range(ROWS), "target": INTEGERS})
    assert folder(tmp_path).out_dim == 3
    assert "skipped a column without a name" in capsys.readouterr().err


@pytest.mark.parametrize("heading", ["", "Unnamed: 0", None])
def test_row_numbers_of_a_data_frame_are_no_feature(heading, capsys):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X)
    table.insert(0, heading, np.arange(ROWS))
    task = Task.from_arrays({"x": table}, INTEGERS)
    assert task.digest() == Task.from_arrays({"x": X}, INTEGERS).digest()
    assert "input 'x': skipped a column without a name" in capsys.readouterr().err
    target = pandas.DataFrame({heading: np.arange(ROWS), "a": INTEGERS % 2, "b": INTEGERS // 2})
    assert Task.from_arrays({"x": X}, target).out_dim == 2
    rows = [{"Unnamed: 0": i, "a": X[i, 0], "b": X[i, 1], "y": i % 3} for i in range(ROWS)]
    both = from_dataset(rows, modalities={"x": ["Unnamed: 0", "a", "b"]}, target="y")
    assert both.shapes == {"x": (2,)}
    assert "x: skipped a column without a name" in capsys.readouterr().err


def test_indexes_that_differ_are_told(capsys):
    pandas = pytest.importorskip("pandas")
    table, target = pandas.DataFrame(X), pandas.Series(INTEGERS)
    Task.from_arrays({"x": table}, target, kind="classes")
    assert not capsys.readouterr().err
    Task.from_arrays({"x": table}, target.sample(frac=1, random_state=0), kind="classes")
    told = "mmjax: input 'x' and target: indexes differ, so rows are paired by position"
    assert capsys.readouterr().err.startswith(told)


TABLES = {
    "heading of numbers": ("0,1,2\n0.5,1,7\n", [0.5, 1, 7]),
    "heading of numbers, lines": ("0,1\n0.5,1\n2,3\n", [[0.5, 1], [2, 3]]),
    "row numbers": (",x,y\n0,5,6\n1,7,8\n", [[5, 6], [7, 8]]),
    "row numbers from one": (",x,y\n1,5,6\n2,7,8\n", [[5, 6], [7, 8]]),
    "row and column numbers": (",0,1\n0,5,6\n1,7,8\n", [[5, 6], [7, 8]]),
    "a vector that counts": ("0,1,2\n", [0, 1, 2]),
    "a column of integers": ("0\n1\n0\n", [[0], [1], [0]]),
    "a heading, then numbers that count": ("x,y\n0,1\n5,6\n", [[0, 1], [5, 6]]),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_as_data_frames_write_them(tmp_path, case):
    text, want = TABLES[case]
    (tmp_path / "a.csv").write_text(text)
    np.testing.assert_array_equal(read_table(tmp_path / "a.csv"), want)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,1\n5,6\n7,8\n", "the first line 0,1, which may be a header: name the columns"),
        ("0\n0.5\n0.25\n", "the first line 0, which may be a header"),
        (",x\n5,1\n9,2\n", "an unnamed column that does not count the lines"),
    ],
)
def test_tables_that_can_be_read_in_two_ways_are_refused(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "a.csv")


IDS = RNG.integers(0, 9, (ROWS, 12))
KINDS = {
    "vector": (RNG.normal(size=(ROWS, 5, 3)), (15,)),
    "sequence": (RNG.normal(size=(ROWS, 12)), (12, 1)),
    "image": (RNG.integers(0, 256, (ROWS, 8, 6), np.uint8), (8, 6, 1)),
    "tokens": (IDS, (12,)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_input_is_what_is_said(kind, capsys):
    values, shape = KINDS[kind]
    task = Task.from_arrays({"x": values}, INTEGERS, kinds={"x": kind}, kind="classes")
    assert task.shapes == {"x": shape}
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("sequence", np.zeros((ROWS, 4, 4, 1)), r"sequences \[rows, length, features\]"),
        ("image", X, r"images \[rows, height, width, channels\]"),
        ("tokens", X, r"token ids \[rows, length\], got float64"),
        ("tokens", -IDS, "token ids from 0 to 0, and -1 for padding, got -8 to"),
        ("tokens", IDS + 2**31, "one integer per token"),
    ],
)
def test_an_input_that_is_not_what_is_said_is_refused(kind, values, message):
    with pytest.raises(DataError, match=message):
        Task.from_arrays({"x": values}, INTEGERS, kinds={"x": kind})


def test_integers_that_may_be_tokens_are_told(capsys):
    task = Task.from_arrays({"text": IDS}, INTEGERS, kind="classes")
    assert task.shapes == {"text": (12,)}
    told = capsys.readouterr().err
    assert "'text': assumed that integers up to 8 are numbers; kinds={'text': 'tokens'}" in told


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_that_come_first_are_moved(channels, capsys):
    last = RNG.integers(0, 256, (ROWS, 8, 6, channels), np.uint8)
    moved = Task.from_arrays({"x": np.moveaxis(last, -1, 1)}, INTEGERS, kind="classes")
    made = f"channels first, moved to (8, 6, {channels})"
    assert f"{made}; kinds={{'x': 'image'}}" in capsys.readouterr().err
    assert moved.digest() == Task.from_arrays({"x": last}, INTEGERS).digest()
    stated = Task.from_arrays({"x": np.moveaxis(last, -1, 1)}, INTEGERS, kinds={"x": "image"})
    assert stated.shapes == {"x": (channels, 8, 6)}


def what_a_model_sees(task, name):
    """The training inputs as they come to the encoder."""
    values = task.train.inputs[name]
    x = values / np.float32(255) if values.dtype == np.uint8 else values
    if name not in task.input_scales:
        return x
    mean, deviation = make_model(task, "concat").scales[name]
    return (x - mean) / deviation


MASKS = RNG.integers(0, 2, (ROWS, 8, 6, 1), np.uint8)


@pytest.mark.parametrize("values", [MASKS, MASKS[..., 0]])
@pytest.mark.parametrize("standardise", [True, False])
def test_bytes_of_zero_and_one_stay(tmp_path, values, standardise):
    task = Task.from_arrays({"x": values}, INTEGERS, standardise=standardise)
    save(task, tmp_path)
    for one in (task, arrays(tmp_path)):  # in memory and on disk
        np.testing.assert_array_equal(what_a_model_sees(one, "x"), one.train.inputs["x"])
        assert one.train.inputs["x"].dtype == np.uint8


def test_bytes_are_pictures_only_where_they_look_like_some():
    pictures = RNG.integers(0, 256, (ROWS, 8, 6, 1), np.uint8)
    assert Task.from_arrays({"x": pictures}, INTEGERS).input_scales == {}
    rolls = RNG.integers(0, 100, (ROWS, 8, 6), np.uint8)
    seen = [
        what_a_model_sees(Task.from_arrays({"x": rolls.astype(t)}, INTEGERS), "x")
        for t in (np.uint8, np.float32)
    ]
    np.testing.assert_allclose(*seen, atol=1e-5)
    raw = Task.from_arrays({"x": rolls}, INTEGERS, standardise=False)
    np.testing.assert_allclose(what_a_model_sees(raw, "x"), raw.train.inputs["x"], rtol=1e-6)
    assert find_byte_scale(pictures, np.zeros(ROWS, bool), True) is not None  # of no row


@pytest.mark.slow
def test_the_scale_of_bytes_is_that_of_the_model():
    """The model itself, with masks of 0 and 1 as bytes and as floats."""
    floats, target = MASKS.astype(np.float32), INTEGERS
    losses = []
    for values in (MASKS, floats):
        task = Task.from_arrays({"x": values}, target, standardise=False)
        run = fit(make_arm(task, "concat", steps=3, seeds=(0,)).recipe, task)
        losses.append([float(epoch["loss"][0]) for epoch in run.history])
    np.testing.assert_allclose(*losses, rtol=1e-5)


CLOCK = np.stack([1.7e9 + 20 * (np.arange(ROWS) % 2), RNG.normal(size=ROWS)], axis=1)
START = 1.7e9 + 86400 * np.arange(ROWS)[:, None, None] + np.arange(8.0)[None, :, None]
NANOSECONDS = 1_700_000_000_000_000_000 + np.arange(2 * ROWS).reshape(ROWS, 2)


GAP = np.r_[0, 1.7e9 + np.arange(ROWS - 1)][:, None]
LOST = [
    CLOCK,
    START,
    NANOSECONDS,
    1e-300 * X,
    2**40 + IDS,
    GAP,
    np.r_[0, NANOSECONDS[1:, 0]][:, None],
]


@pytest.mark.parametrize("values", LOST)
def test_what_float32_cannot_tell_apart_is_refused_by_every_path(tmp_path, values):
    (tmp_path / "x").mkdir()
    for row, sample in enumerate(values):
        np.save(tmp_path / "x" / f"{row}.npy", sample)
    write_labels(tmp_path, {"id": range(ROWS), "target": INTEGERS})
    for make in (
        lambda: Task.from_arrays({"x": values}, INTEGERS),
        lambda: from_rows({"x": values}, INTEGERS),
        lambda: folder(tmp_path),
    ):
        with pytest.raises(DataError, match=r"'x': expected values that float32 can tell apart"):
            make()


def test_values_that_differ_by_rounding_alone_are_the_same():
    values = np.where(np.arange(ROWS) % 2 == 0, 0.0, 0.1 + 1e-16 * np.arange(ROWS))
    Task.from_arrays({"x": values}, INTEGERS)
    many = np.linspace(0, 1, 90 * 2048).reshape(90, 2048, 1)
    Task.from_arrays({"x": many}, np.arange(90) % 3)


def test_columns_are_named_and_absent_rows_do_not_hide_a_lost_feature(tmp_path):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(CLOCK, columns=["time", "size"])
    here = np.arange(ROWS) % 5 > 0
    table.loc[~here, "time"] = 0.0
    with pytest.raises(DataError, match=r"in column 'time'. Subtract their mean"):
        Task.from_arrays({"x": table}, INTEGERS, present={"x": here})
    with pytest.raises(DataError, match="got text in column 'sex'"):
        Task.from_arrays({"x": table.assign(sex="f")}, INTEGERS, kinds={"x": "vector"})


@pytest.mark.parametrize("large", [3e38, -2e19])
def test_inputs_whose_squares_float32_cannot_hold_are_refused(large):
    values = np.where(np.arange(ROWS) == 7, large, np.arange(ROWS))
    with pytest.raises(DataError, match=r"values up to 1e.19, got larger ones in row 7"):
        Task.from_arrays({"x": values}, INTEGERS)


@pytest.mark.parametrize("unit", [1e-300, 1e-160, 1e160, 1e299])
def test_numbers_of_any_unit_are_standardised(unit):
    target = unit * np.linspace(-1, 1, ROWS)
    task = Task.from_arrays({"x": X}, target)
    np.testing.assert_allclose(task.train.target.std(), 1, rtol=1e-5)
    scores = task.scores(task.test.target + 1, task.test.target)
    np.testing.assert_allclose(scores["rmse"], task.scale.deviation[0], rtol=1e-6)
    with pytest.raises(
        DataError, match="finite numbers up to 1e300, got infinite or larger ones in row 3"
    ):
        Task.from_arrays({"x": X}, np.where(np.arange(ROWS) == 3, 1e301, target))


def test_imaginary_parts_are_refused_by_every_path(tmp_path):
    (tmp_path / "x").mkdir()
    for row in range(ROWS):
        np.save(tmp_path / "x" / f"{row}.npy", X[row] + 1j)
    write_labels(tmp_path, {"id": range(ROWS), "target": INTEGERS})
    for make in (
        lambda: Task.from_arrays({"x": X + 1j}, INTEGERS),
        lambda: from_rows({"x": X + 1j}, INTEGERS),
        lambda: folder(tmp_path),
    ):
        with pytest.raises(DataError, match=r"numbers.*complex128"):
            make()


DAYS = np.datetime64("2020-01-01") + np.arange(ROWS)
UNREAD = {
    "dates": (DAYS, "dates or durations.*seconds or days"),
    "durations": (DAYS - DAYS[0], "dates or durations.*seconds or days"),
    "objects that are dates": (DAYS.astype(object), "dates or durations.*seconds or days"),
    "complex numbers and None": (np.array([1j, None] * 30), "complex numbers.*Give real and im"),
    "text of digits": (X.astype(str), r"text.*\.astype\(float\)"),
    "text of NumPy": (
        np.array(["u", "v"] * 30),
        "text.*state kinds=.*'words'}, 'bytes' or 'ta",
    ),
}


@pytest.mark.parametrize("case", UNREAD)
def test_what_is_no_number_is_named(case):
    values, message = UNREAD[case]
    for make in (Task.from_arrays, from_rows):
        with pytest.raises(DataError, match=f"'x': expected numbers.*{message}"):
            make({"x": values}, INTEGERS)


def test_dates_beside_text_in_a_table_are_dates():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"day": DAYS, "size": X[:, 0], "sex": "f"})
    for kinds in ({"x": "table"}, {"x": "vector"}):
        with pytest.raises(DataError, match=r"got dates or durations.*seconds or days"):
            Task.from_arrays({"x": table}, INTEGERS, kinds=kinds)
    with pytest.raises(DataError, match="got dates or durations"):
        Task.from_arrays({"x": table[["day"]]}, INTEGERS)


@pytest.mark.parametrize("row", [57, 31, 5])
def test_errors_name_the_rows_that_were_given(tmp_path, row):
    bad = X.copy()
    bad[row, 1] = np.nan
    with pytest.raises(DataError, match=f"'x': .*infinity in row {row}\\."):
        Task.from_arrays({"x": bad}, INTEGERS)
    with pytest.raises(DataError, match=f"infinity in row {row}, id p{row}"):
        Task.from_arrays({"x": bad}, INTEGERS, meta={"id": [f"p{i}" for i in range(ROWS)]})
    named = np.array(["train"] * 40 + ["test"] * 20)
    with pytest.raises(DataError, match=f"id {named[row]} {row % 40}"):
        from_rows({"x": bad}, INTEGERS, split=named)
    (tmp_path / "x").mkdir()
    for index, values in enumerate(bad):
        np.save(tmp_path / "x" / f"r{index}.npy", values)
    write_labels(tmp_path, {"id": [f"r{i}" for i in range(ROWS)], "target": INTEGERS})
    with pytest.raises(DataError, match=f"infinity in row {row}, id r{row}"):
        folder(tmp_path)


def test_without_rows_for_validation_training_gives_up_a_part(tmp_path, capsys):
    split = np.array(["train"] * 40 + ["test"] * 20)
    ways = [*three_ways(tmp_path, INTEGERS, split=split)]
    assert capsys.readouterr().err.count("split: no validation rows given; took 6 of 40") == 3
    for task in ways:
        assert [part.size for part in task.splits.values()] == [34, 6, 20]
    assert len({task.digest() for task in ways[:1] + ways[2:]}) == 1


def test_a_folder_of_runs_is_no_modality(tmp_path):
    from_folder(tmp_path, INTEGERS)
    (tmp_path / "runs" / "folder-1").mkdir(parents=True)
    for name in ("mine", "mine/deep"):
        (tmp_path / name).mkdir()
    (tmp_path / "mine" / "deep" / "run.json").touch()
    assert folder(tmp_path).modalities == ("x",)
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "mistaken.npy").touch()
    with pytest.raises(DataError, match="mistaken"):
        folder(tmp_path)


def test_the_command_line_states_kinds_too(tmp_path, capsys):
    from_folder(tmp_path, INTEGERS)
    told = capsys.readouterr().err
    others = "override by kind='numbers'"
    assert told == f"mmjax: target: assumed 3 classes, 0, 1, 2; {others}\n"
    options = ("--options", "kind=numbers", "kinds=x=sequence")
    assert run("data", "--task", "folder", "--data", tmp_path, *options) == 0
    shown = capsys.readouterr()
    assert "1 number," in shown.out
    assert "4x1" in shown.out
    assert not shown.err


def test_built_in_tasks_tell_nothing(capsys):
    load_task("synthetic")
    assert not capsys.readouterr().err


class Tensor:
    """Like a tensor of PyTorch that has a gradient, in bfloat16 or not."""

    layout = "torch.strided"

    def __init__(self, values, dtype="torch.float32", free=False):
        self.values, self.dtype, self.free = values, dtype, free

    def detach(self):
        return Tensor(self.values, self.dtype, free=True)

    def cpu(self):
        return self

    def float(self):
        return Tensor(self.values, free=self.free)

    def numpy(self):
        if not self.free or self.dtype == "torch.bfloat16":
            raise RuntimeError("Use tensor.detach().numpy()")
        return self.values

    def __array__(self, dtype=None, copy=None):
        return self.numpy()

    def __len__(self):
        return len(self.values)


NARROW = X.astype(np.float32)
FORMS = {
    "tensor with a gradient": lambda: Tensor(NARROW),
    "tensor of bfloat16": lambda: Tensor(NARROW, "torch.bfloat16"),
    "tensors in a list": lambda: [*map(Tensor, NARROW)],
    "lists in a list": lambda: NARROW.tolist(),
    "arrays in a column": lambda: as_column(NARROW),
}


def as_column(cells):
    column = np.empty(len(cells), object)
    for row, cell in enumerate(cells):
        column[row] = cell
    return column


@pytest.mark.parametrize("form", FORMS)
def test_arrays_of_many_kinds_are_read(form):
    want = Task.from_arrays({"x": NARROW}, INTEGERS).digest()
    given = FORMS[form]()
    assert Task.from_arrays({"x": given}, INTEGERS).digest() == want
    if isinstance(given, list):
        assert from_rows({"x": given}, INTEGERS).digest() == want


@pytest.mark.slow
def test_real_tensors_are_read():
    torch = pytest.importorskip("torch")
    want = Task.from_arrays({"x": NARROW}, INTEGERS).digest()
    given = torch.tensor(NARROW, requires_grad=True)
    assert Task.from_arrays({"x": given}, torch.tensor(INTEGERS)).digest() == want
    with pytest.raises(DataError, match="a dense array, got Tensor, which is sparse"):
        Task.from_arrays({"x": torch.tensor(NARROW).to_sparse()}, INTEGERS)


def test_bfloat16_and_text_of_numpy_2_are_read():
    narrow = NARROW.astype(ml_dtypes.bfloat16)
    want = Task.from_arrays({"x": narrow.astype(np.float32)}, INTEGERS).digest()
    assert Task.from_arrays({"x": narrow}, INTEGERS).digest() == want
    text = np.array(["u", "v", "w"], dtype=np.dtypes.StringDType())[INTEGERS]
    task = Task.from_arrays({"x": X}, text, group=np.repeat(text[:20], 3))
    assert task.names == ("u", "v", "w")


@pytest.mark.parametrize("as_given", [list, as_column])
def test_cells_that_do_not_fit_are_named(as_given):
    wider = as_given([np.zeros((5, 2 + row % 3)) for row in range(ROWS)])
    with pytest.raises(
        DataError, match=r"frames: .* one shape, got \(2,\) in row 0 and \(3,\) in row 1"
    ):
        Task.from_arrays({"x": wider}, INTEGERS)
    gap = as_given([None, *X[1:]])
    with pytest.raises(DataError, match=r"infinity in row 0. .*present="):
        Task.from_arrays({"x": gap}, INTEGERS)
    here = np.arange(ROWS) > 0
    task = Task.from_arrays({"x": gap}, INTEGERS, present={"x": here})
    assert sum(split.present["x"].sum() for split in task.splits.values()) == ROWS - 1


@pytest.mark.parametrize("as_given", [list, tuple, as_column])
def test_masks_of_rows_are_those_of_the_array(as_given):
    masked, bare = np.ma.masked_greater(X, 0), np.ma.masked_array(X)
    want = Task.from_arrays({"x": X}, INTEGERS).digest()
    assert Task.from_arrays({"x": as_given(bare)}, INTEGERS).digest() == want
    for make in (Task.from_arrays, from_rows):
        with pytest.raises(DataError, match="without a mask, got masked values"):
            make({"x": as_given(masked)}, INTEGERS)
    cells = [[row] for row in masked]
    with pytest.raises(DataError, match="without a mask, got masked values"):
        from_rows({"x": cells}, INTEGERS)


def test_columns_of_a_dataset_join_and_may_be_missing():
    rows = [{"age": float(i), "size": 2.0 * i, "y": INTEGERS[i]} for i in range(ROWS)]
    rows[4] |= {"age": None, "size": np.nan}
    task = from_dataset(rows, modalities={"table": ["age", "size"], "age": "age"}, target="y")
    assert task.shapes == {"age": (1,), "table": (2,)}
    for name in task.modalities:
        absent = [s.meta["id"][~s.present[name]] for s in task.splits.values()]
        assert np.concatenate(absent).tolist() == ["4"]
    rows[5] |= {"age": None}
    with pytest.raises(DataError, match=r"'table': .*infinity in row 5, id 5"):
        from_dataset(rows, modalities={"table": ["age", "size"]}, target="y")


def test_what_a_dataset_lacks_is_told():
    rows = [
        {"a": {"array": [0.1] * 200 * (i != 3), "sampling_rate": 200}, "y": i % 2} for i in range(9)
    ]
    with pytest.raises(
        DataError, match=r"recordings with samples, got an empty one in row 3. Drop"
    ):
        from_dataset(rows, modalities={"a": "a"}, target="y")
    rows[3]["a"] = {"array": [1j] * 200, "sampling_rate": 200}
    with pytest.raises(DataError, match=r"recordings .*got complex numbers, complex128 in row 3"):
        from_dataset(rows, modalities={"a": "a"}, target="y")
    with pytest.raises(
        ValueError, match="target: expected the name of a column, or several, got None"
    ):
        from_dataset(rows, modalities={"a": "a"}, target=None)


def test_a_task_of_ones_own_is_checked_and_scaled_too():
    """Bytes in arrays that never went through ``from_arrays``."""
    split = Split({"x": MASKS}, INTEGERS, np.arange(ROWS))
    task = Task("mine", split, split, split, out_dim=3)
    np.testing.assert_array_equal(what_a_model_sees(task, "x"), MASKS)
