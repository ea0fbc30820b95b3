"""What `mmjax verify` says of whole, damaged and unfinished runs."""

from contextlib import suppress

import numpy as np
import pytest
from folders import make_folder
from PIL import Image

from mmjax.cli import main
from mmjax.errors import DataError
from mmjax.runs.run_file import RunFile, write_run_file
from mmjax.runs.settings import Settings
from mmjax.runs.verify import verify_run
from mmjax.storage.manifest import MANIFEST, write_manifest
from mmjax.storage.reading import check_picture, read_npz
from mmjax.training import checkpoint

SKILLS = {"a_only": 1.0, "gmu": 2.0}


@pytest.fixture
def run(tmp_path):
    folder = make_folder(tmp_path / "run", SKILLS, without=("run",))
    write_run_file(folder, RunFile(Settings(), list(SKILLS)))
    return folder


def verify(folder, capsys):
    """The exit code, and the lines."""
    try:
        main(["verify", str(folder)])
    except SystemExit as end:
        return end.code, capsys.readouterr().out.splitlines()
    return 0, capsys.readouterr().out.splitlines()


def draw(path):
    Image.fromarray(np.arange(48, dtype="u1").reshape(4, 4, 3)).save(path)


def test_every_file_of_a_whole_run_is_ok(run, capsys):
    files = ["run.json", "history.jsonl", "rows.jsonl", "labels.npz"]
    files += ["predictions/a_only.npz", "predictions/gmu.npz"]
    code, lines = verify(run, capsys)
    assert (code, lines[:-1]) == (0, [f"ok          {run / name}" for name in files])
    assert lines[-1].startswith(f"unfinished  {run / MANIFEST}: not written yet")
    write_manifest(run, [run / name for name in files])
    assert verify(run, capsys) == (0, [f"ok          {run / name}" for name in sorted(files)])


DAMAGE = {
    "run.json": lambda old: old.replace(b'"seeds": 5', b'"seeds": 6'),
    "rows.jsonl": lambda old: old[:-5],
    "history.jsonl": lambda old: old.replace(b"{", b"(", 2),
    "labels.npz": lambda old: old[:-5],
    "predictions/gmu.npz": lambda old: old[:2000] + bytes([old[2000] ^ 1]) + old[2001:],
}


SPOILT = {
    "missing": None,
    "emptied": lambda old: b"",
    "zeroed": lambda old: bytes(len(old)),
    "shortened": lambda old: old[: len(old) // 2],
    "without its last byte": lambda old: old[:-1],
    "with one more newline": lambda old: old + b"\n",
    "altered": lambda old: old[:-20] + bytes([old[-20] ^ 1]) + old[-19:],
}


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("name", [*DAMAGE, "summary.md", "report.html", "accuracy.png", MANIFEST])
def test_damage_of_a_run_that_is_done_is_named(run, capsys, name, how):
    for drawn in ("summary.md", "report.html"):
        (run / drawn).write_text("x" * 100)
    draw(run / "accuracy.png")
    write_manifest(run, [path for path in run.rglob("*") if path.is_file()])
    path = run / name
    if SPOILT[how]:
        path.write_bytes(SPOILT[how](path.read_bytes()))
    else:
        path.unlink()
    code, lines = verify(run, capsys)
    if (name, how) == (MANIFEST, "missing"):  # as in a run that is not done
        assert code == 0
        assert lines[-1].startswith(f"unfinished  {path}")
        return
    assert code == 1
    (damaged,) = [line for line in lines if not line.startswith("ok ")]
    assert damaged.startswith(f"damaged     {path}")


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("table", ["rows", "history"])
def test_a_flipped_key_is_one_error_with_its_line(run, capsys, table, done):
    if done:
        write_manifest(run, [path for path in run.rglob("*") if path.is_file()])
    path = run / f"{table}.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"seed"', b'"reed"', 2))
    place = f"{path}, line 1: expected a row of {'scores' if table == 'rows' else table}, got no"
    code, lines = verify(run, capsys)
    assert code == 1
    assert [line for line in lines if place in line] == [
        line for line in lines if not line.startswith("ok ")
    ]
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(run), "--out", str(run.parent / "page.html")])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert place in error


def test_a_report_refuses_a_value_that_was_changed(run, capsys):
    write_manifest(run, [path for path in run.rglob("*") if path.is_file()])
    path = run / "rows.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"params": 1000', b'"params": 1001', 1))
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(run), "--out", str(run.parent / "page.html")])
    assert f"{path}: expected the file as it was written" in capsys.readouterr().err


def test_a_page_that_is_written_again_stays_true_to_the_manifest(run, capsys):
    (run / "report.html").write_text("old")
    write_manifest(run, [path for path in run.rglob("*") if path.is_file()])
    main(["report", str(run), "--out", str(run / "report.html")])
    assert "<html" in (run / "report.html").read_text()
    assert verify(run, capsys)[0] == 0


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(run, capsys, name):
    path = run / name
    old = path.read_bytes()
    path.write_bytes(DAMAGE[name](old))
    code, lines = verify(run, capsys)
    assert code == 1
    (damaged,) = [line for line in lines if not line.startswith("ok ")]
    assert damaged.startswith(f"damaged     {path}")


def test_a_run_that_is_not_done_is_not_damaged(run, capsys):
    write_run_file(run, RunFile(Settings(), [*SKILLS, "sum", "mean"]))
    code, lines = verify(run, capsys)
    assert code == 0
    assert lines[-1] == f"unfinished  {run / 'rows.jsonl'}: no rows for sum, mean"


def test_a_trained_run_has_a_checkpoint(tmp_path, capsys):
    folder = make_folder(tmp_path / "run", {"gmu": 1.0}, without=("run", "predictions", "labels"))
    write_run_file(folder, RunFile(Settings(), ["gmu"]))
    code, lines = verify(folder, capsys)
    assert (code, lines[-1][:10]) == (1, "damaged   ")
    (folder / "checkpoint").touch()
    assert verify(folder, capsys)[0] == 1
    (folder / "checkpoint").unlink()
    checkpoint.save(folder / "checkpoint", {"kernel": np.ones(3)})
    assert verify(folder, capsys)[0] == 0
    (folder / "checkpoint" / "manifest.json").write_text("{}")
    assert verify(folder, capsys)[0] == 1


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_folder_that_is_no_run_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="it is not the folder of a run"):
        verify_run(tmp_path / name)


@pytest.mark.parametrize("listed", ["nowhere", "in a manifest that is damaged"])
def test_a_picture_that_is_not_listed_is_whole_or_named(run, capsys, listed):
    draw(run / "accuracy.png")
    draw(run / "curves.png")
    if listed != "nowhere":
        (run / MANIFEST).write_bytes(bytes(100))
    assert f"ok          {run / 'curves.png'}" in verify(run, capsys)[1]
    (run / "curves.png").write_bytes(bytes(100))
    code, lines = verify(run, capsys)
    assert code == 1
    assert f"ok          {run / 'accuracy.png'}" in lines
    assert any(line.startswith(f"damaged     {run / 'curves.png'}: ") for line in lines)


def test_no_bit_of_a_picture_changes_unseen(tmp_path):
    path = tmp_path / "a.png"
    draw(path)
    check_picture(path)
    whole = path.read_bytes()
    flipped = [
        whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
        for at in range(len(whole))
        for bit in range(8)
    ]
    for content in (*flipped, whole + b"\n", whole[:-1], b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match="an intact PNG"):
            check_picture(path)


@pytest.mark.slow
def test_no_bit_of_an_array_file_changes_it_unseen(tmp_path):
    path, arrays = tmp_path / "a.npz", {"seeds": np.arange(2), "test": np.eye(3, dtype="f4")}
    np.savez_compressed(path, **arrays)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with suppress(DataError):  # else it is a date, or what else nobody reads
            found = read_npz(path)
            assert found.keys() == arrays.keys()
            for name, array in arrays.items():
                np.testing.assert_array_equal(found[name], array, strict=True)
