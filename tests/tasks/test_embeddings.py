"""Precomputed features become what their files hold, joined by ids; what does not fit is told."""

import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from layouts import write_labels
from safetensors.numpy import save_file

from mmjax.errors import DataError, UsageError
from mmjax.tasks import load_task
from mmjax.tasks.embeddings import embeddings
from mmjax.tasks.readers.features import read_features

ROWS = 30
IDS = [f"r{row}" for row in range(ROWS)]
ROLES = ["train"] * 18 + ["valid"] * 6 + ["test"] * 6
VECTORS = np.arange(ROWS * 4, dtype=np.float32).reshape(ROWS, 4) / 8
SEQUENCES = np.arange(ROWS * 6, dtype=np.float32).reshape(ROWS, 3, 2) - 50


def write_npy(path, values, ids=None):
    np.save(path, values)
    if ids is not None:
        path.with_name(f"{path.stem}.ids.txt").write_text("\n".join(ids) + "\n")


def write_npz(path, values, ids=None):
    np.savez_compressed(path, clip=values, **({} if ids is None else {"ids": ids}))


def write_safetensors(path, values, ids=None):
    save_file({"clip": np.ascontiguousarray(values)}, path)
    if ids is not None:
        path.with_name(f"{path.stem}.ids.txt").write_text("\n".join(ids))


def write_parquet(path, values, ids=None):
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    columns = {"clip": values.tolist()} | ({} if ids is None else {"id": ids})
    parquet.write_table(arrow.table(columns), path)


def write_columns(path, values, ids=None):
    """Each feature in a column of its own."""
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    columns = {f"x{n}": column for n, column in enumerate(values.T)}
    parquet.write_table(arrow.table(columns | ({} if ids is None else {"id": ids})), path)


def write_hdf5(path, values, ids=None):
    with pytest.importorskip("h5py").File(path, "w") as file:
        file.create_dataset("clip", data=values, compression="gzip", shuffle=True)
        if ids is not None:
            ids = np.array(ids)
            file["ids"] = ids.astype("S") if ids.dtype.kind == "U" else ids


FORMATS = {
    "npy": write_npy,
    "npz": write_npz,
    "safetensors": write_safetensors,
    "parquet": write_parquet,
    "h5": write_hdf5,
    "hdf5": write_hdf5,
}


def labelled(place, **columns):
    place.mkdir(exist_ok=True)
    write_labels(
        place, {"id": IDS, "mood": ["good", "bad"] * (ROWS // 2), "split": ROLES, **columns}
    )
    return place


def joined(task, get):
    return np.concatenate([get(split) for split in task.splits.values()])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("values", [VECTORS, SEQUENCES], ids=["vectors", "sequences"])
def test_every_format_holds_the_arrays_that_were_written(form, values, tmp_path):
    place = labelled(tmp_path / "mine")
    order = np.random.default_rng(0).permutation(ROWS)
    FORMATS[form](place / f"face.{form}", values[order], [IDS[row] for row in order])
    task = load_task("embeddings", place)
    assert (task.name, task.names, task.modalities) == (
        "embeddings/mine", ("bad", "good"), ("face",)
    )  # fmt: skip
    assert [split.size for split in task.splits.values()] == [18, 6, 6]
    np.testing.assert_array_equal(joined(task, lambda split: split.inputs["face"]), values)
    np.testing.assert_array_equal(joined(task, lambda split: split.target), [1, 0] * (ROWS // 2))
    assert joined(task, lambda split: split.meta["id"]).tolist() == IDS
    assert joined(task, lambda split: split.present["face"]).all()


def test_columns_of_numbers_are_features(tmp_path):
    write_columns(tmp_path / "face.parquet", VECTORS, IDS)
    np.testing.assert_array_equal(read_features(tmp_path / "face.parquet").values, VECTORS)


@pytest.mark.parametrize("dtype", ["f2", "f8", ">f4", "i4", "u1", "bool"])
@pytest.mark.parametrize("form", ["npy", "npz", "h5"])
def test_features_of_any_number_become_float32(form, dtype, tmp_path):
    values = (VECTORS > 3).astype(dtype)
    FORMATS[form](labelled(tmp_path) / f"face.{form}", values, IDS)
    got = joined(load_task("embeddings", tmp_path), lambda split: split.inputs["face"])
    np.testing.assert_array_equal(got, values.astype(np.float32))


def test_bfloat16_and_integer_ids_of_safetensors_are_read(tmp_path):
    values = VECTORS.astype(ml_dtypes.bfloat16)
    place = labelled(tmp_path, id=range(ROWS))
    tensors = {"ids": np.arange(ROWS)[::-1].copy(), "x": values[::-1].copy()}
    save_file(tensors, place / "face.safetensors")
    got = joined(load_task("embeddings", place), lambda split: split.inputs["face"])
    np.testing.assert_array_equal(got, values.astype(np.float32))


def test_arrays_stay_on_disk_until_they_are_joined(tmp_path):
    write_npy(tmp_path / "face.npy", VECTORS, IDS)
    assert isinstance(read_features(tmp_path / "face.npy").values, np.memmap)


def test_ids_join_modalities_and_say_what_is_absent(tmp_path, capsys):
    place = labelled(tmp_path / "mine")
    write_npz(place / "face.npz", VECTORS[::-1], IDS[::-1])
    others = np.concatenate([SEQUENCES[10:], SEQUENCES[:3]])
    write_npz(place / "steps.npz", others, [*IDS[10:], "x", "y", "z"])
    task = embeddings(place)
    present = joined(task, lambda split: split.present["steps"])
    np.testing.assert_array_equal(present, np.arange(ROWS) >= 10)
    got = joined(task, lambda split: split.inputs["steps"])
    np.testing.assert_array_equal(got[present], SEQUENCES[10:])
    assert not got[~present].any()
    np.testing.assert_array_equal(joined(task, lambda split: split.inputs["face"]), VECTORS)
    assert [line for line in capsys.readouterr().err.splitlines() if ".npz" in line] == [
        f"mmjax: {place}/steps.npz: 10 of 30 rows in labels.csv lack steps; add them to have it",
        f"mmjax: {place}/steps.npz: dropped 3 of 23 rows; add them to labels.csv to use them",
    ]


@pytest.mark.parametrize("form", ["npz", "parquet", "h5"])
def test_integers_are_ids_as_their_digits(form, tmp_path):
    FORMATS[form](tmp_path / f"face.{form}", VECTORS, np.arange(ROWS))
    assert read_features(tmp_path / f"face.{form}").ids == [str(row) for row in range(ROWS)]


def test_the_order_of_rows_is_stated_or_an_error(tmp_path):
    write_npy(labelled(tmp_path) / "face.npy", VECTORS)
    with pytest.raises(DataError, match=r"face\.npy: .* face\.ids\.txt, one a line; or .* order=l"):
        embeddings(tmp_path)
    task = load_task("embeddings", tmp_path, {"order": "labels"})
    np.testing.assert_array_equal(joined(task, lambda split: split.inputs["face"]), VECTORS)
    with pytest.raises(UsageError, match="order: expected labels"):
        embeddings(tmp_path, order="rows")
    np.save(tmp_path / "face.npy", VECTORS[1:])
    with pytest.raises(DataError, match=r"face\.npy: expected 30 rows, as in labels\.csv, got 29"):
        embeddings(tmp_path, order="labels")


def test_an_option_that_has_no_effect_is_refused(tmp_path):
    write_npz(labelled(tmp_path / "table") / "face.npz", VECTORS, IDS)
    with pytest.raises(DataError, match=r"labels\.csv has columns of them"):
        embeddings(tmp_path / "table", target="mood")
    (tmp_path / "pickle").mkdir()
    (tmp_path / "pickle" / "a.pkl").write_bytes(b"N.")
    with pytest.raises(UsageError, match="order: is of files without ids"):
        embeddings(tmp_path / "pickle", order="labels")


def test_groups_and_numbers_are_those_of_the_table(tmp_path):
    labelled(tmp_path, mood=np.linspace(-3, 3, ROWS), group=[row // 3 for row in range(ROWS)])
    write_npz(tmp_path / "face.npz", VECTORS, IDS)
    task = embeddings(tmp_path)
    assert (task.kind, task.names) == ("numbers", ("mood",))
    np.testing.assert_array_equal(joined(task, lambda split: split.group), np.arange(ROWS) // 3)


def test_data_says_what_is_read(tmp_path, capsys):
    place = labelled(tmp_path / "mine")
    write_npz(place / "face.npz", VECTORS, IDS)
    write_npz(place / "steps.npz", SEQUENCES[3:], IDS[3:])
    assert run("data", "--task", "embeddings", "--data", place, "--options", "kind=classes") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    shapes = {(line[0], line[3]) for line in lines if "train" in line[2:3]}
    assert shapes == {("face", "4"), ("steps", "3x2")}


@given(st.lists(st.integers(0, ROWS + 10), unique=True, min_size=1).filter(lambda r: min(r) < ROWS))
def test_any_rows_in_any_order_are_joined_by_their_ids(rows):
    """Rows from 30 on are unknown to the table."""
    with tempfile.TemporaryDirectory() as folder:
        place = labelled(Path(folder, "mine"))
        write_npz(place / "face.npz", VECTORS, IDS)
        values = np.float32([[row, -row] for row in rows])
        write_npz(place / "some.npz", values, [f"r{row}" for row in rows])
        task = embeddings(place)
        present = joined(task, lambda split: split.present["some"])
        np.testing.assert_array_equal(present, np.isin(np.arange(ROWS), rows))
        got = joined(task, lambda split: split.inputs["some"])
        want = np.arange(ROWS)[:, None] * present[:, None] * [1, -1]
        np.testing.assert_array_equal(got, want)


def both(place):
    write_npy(place / "face.npy", VECTORS, IDS)


DAMAGES = {
    "ids that are repeated": (
        lambda p: write_npz(p / "face.npz", VECTORS, ["r1", "r1", "r2", "r2", *IDS[4:]]),
        r"face\.npz: .* got several rows with the id r1, r2",
    ),
    "ids of others": (
        lambda p: write_npz(p / "face.npz", VECTORS, [f"{row:03}" for row in range(ROWS)]),
        r"face\.npz: expected ids of labels\.csv, such as r0, got other ids, such as 000",
    ),
    "fewer ids than rows": (
        lambda p: write_npy(p / "face.npy", VECTORS, IDS[1:]), r"face\.npy: .* 29 ids for 30 rows"
    ),
    "a blank id": (lambda p: write_npy(p / "face.npy", VECTORS, ["", *IDS[1:]]), "the id ''"),
    "ids that are fractions": (
        lambda p: write_npz(p / "face.npz", VECTORS, np.arange(ROWS) / 2), "the id 0.0"
    ),
    "ids alone": (
        lambda p: (p / "face.ids.txt").write_text("r0\n"),
        r"face\.ids\.txt: expected features of the same name, got none",
    ),
    "one value a row": (
        lambda p: write_npz(p / "face.npz", VECTORS[:, 0], IDS), r"face\.npz: .* of shape \(30,\)"
    ),
    "images": (
        lambda p: write_npz(p / "face.npz", VECTORS[:, :, None, None], IDS), r"\(30, 4, 1, 1\)"
    ),
    "text": (lambda p: write_npz(p / "face.npz", VECTORS.astype(str), IDS), r"face\.npz: .* <U"),
    "two arrays": (
        lambda p: np.savez(p / "face.npz", ids=IDS, a=VECTORS, b=VECTORS), "arrays a, b"
    ),
    "NaN": (
        lambda p: write_npz(p / "face.npz", np.full_like(VECTORS, np.nan), IDS),
        r"NaN or infinity in 30 rows, first in row 0, id r0",
    ),
    "two files of a modality": (
        lambda p: (both(p), write_npz(p / "face.npz", VECTORS, IDS)),
        r"face\.npz: expected one file per modality, got face\.npy, too",
    ),
    "an unknown file": (lambda p: (p / "face.mat").touch(), r"face\.mat: expected one of \.npy, "),
    "no features": (lambda p: None, r"expected features of a modality, .* got only labels\.csv"),
    "no labels": (lambda p: (both(p), (p / "labels.csv").unlink()), r"expected labels\.csv"),
    "a pickle beside labels": (
        lambda p: (p / "all.pkl").write_bytes(b"N."), "expected a pickle alone"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGES)
def test_what_does_not_fit_is_told(case, tmp_path):
    damage, message = DAMAGES[case]
    damage(labelled(tmp_path / "mine"))
    with pytest.raises(DataError, match=message):
        embeddings(tmp_path / "mine")


PARQUETS = {
    "lists of two lengths": ({"id": ["a", "b"], "x": [[1.0], [1.0, 2.0]]}, "lists of 2 lengths"),
    "a list that is missing": ({"id": ["a", "b"], "x": [[1.0], None]}, "lists of 2 lengths"),
    "a number that is missing": ({"id": ["a", "b"], "x": [[1.0], [None]]}, "1 missing values in x"),
    "lists beside numbers": ({"id": ["a", "b"], "x": [[1.0], [2.0]], "y": [1, 2]}, "lists beside"),
    "text": ({"id": ["a", "b"], "x": ["1", "2"]}, "object of shape"),
    "no features": ({"id": ["a", "b"]}, "face.parquet: expected"),
    "an id that is missing": ({"id": ["a", None], "x": [1, 2]}, "the id None"),
    "an index without a name": (
        {"__index_level_0__": [4, 7], "x": [1, 2]}, r"call it id by table\.rename_axis\('id'\)"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PARQUETS)
def test_a_table_that_is_no_features_is_told(case, tmp_path):
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    columns, message = PARQUETS[case]
    parquet.write_table(arrow.table(columns), tmp_path / "face.parquet")
    with pytest.raises(DataError, match=message):
        read_features(tmp_path / "face.parquet")


HDF5S = {
    "a link to another file": (
        lambda h5py, file: file.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/x")),
        "x, which is a link",
    ),
    "another link": (lambda h5py, file: file.__setitem__("x", h5py.SoftLink("/y")), "x, which is"),
    "a group": (lambda h5py, file: file.create_group("x"), "x, which is no array"),
    "values of another file": (
        lambda h5py, file: file.create_dataset(
            "x", (3, 4), "u1", external=[("/etc/passwd", 0, 12)]
        ),
        "x, which is kept in another file",
    ),
    "values of a virtual file": (
        lambda h5py, file: file.create_virtual_dataset("x", layout(h5py)),
        "x, which is kept in another file",
    ),
    "gigabytes that nobody wrote": (
        lambda h5py, file: file.create_dataset("x", (10**9, 4), "f4", chunks=(1000, 4)),
        "x, most of which was never written",
    ),
    "text of any length": (
        lambda h5py, file: file.__setitem__("ids", ["a", "b"]), r"write text by numpy\.array\(ids"
    ),
}  # fmt: skip


def layout(h5py):
    virtual = h5py.VirtualLayout((3, 4), "u1")
    virtual[:] = h5py.VirtualSource("/tmp/other.h5", "x", (3, 4))
    return virtual


@pytest.mark.parametrize("case", HDF5S)
def test_an_hdf5_file_reads_nothing_but_itself(case, tmp_path):
    h5py = pytest.importorskip("h5py")
    write, message = HDF5S[case]
    with h5py.File(tmp_path / "face.h5", "w") as file:
        write(h5py, file)
    with pytest.raises(DataError, match=message):
        read_features(tmp_path / "face.h5")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("damage", [b"", b"\x1b[31mtext", None], ids=["empty", "text", "cut"])
def test_a_damaged_file_is_one_error_that_names_it(form, damage, tmp_path):
    path = labelled(tmp_path) / f"face.{form}"
    FORMATS[form](path, VECTORS, IDS)
    path.write_bytes(path.read_bytes()[:-40] if damage is None else damage)
    with pytest.raises(DataError, match=rf"face\.{form}: expected .*, got "):
        embeddings(tmp_path)


@pytest.mark.parametrize("form", ["safetensors", "parquet", "h5"])
def test_a_missing_package_is_named(form, tmp_path, monkeypatch):
    FORMATS[form](labelled(tmp_path) / f"face.{form}", VECTORS, IDS)

    def import_module(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr("mmjax.errors.import_module", import_module)
    with pytest.raises(UsageError, match=r'pip install "mmjax\[embeddings\]"'):
        embeddings(tmp_path)
