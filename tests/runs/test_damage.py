"""Run folders that have lost something, and what --resume makes of the rest."""

import os
import shutil
import signal

import pytest
from commands import COMPARE, TINY, run, scores
from faults import file_size_limit
from representatives import slow

import mmjax.comparison.loop
import mmjax.runs.compare
from mmjax.analysis import examine
from mmjax.storage.jsonl import read_rows

TRAIN = ("train", "concat", *TINY, "--seeds", "2")


@pytest.fixture
def out(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


@pytest.fixture
def fitted(monkeypatch):
    """Modalities of the arms that are trained from now on."""
    fit, found = mmjax.comparison.loop.fit, []
    count = lambda recipe, task, **options: (
        found.append("+".join(task.modalities)) or fit(recipe, task, **options)
    )
    monkeypatch.setattr(mmjax.comparison.loop, "fit", count)
    return found


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def resume(out):
    return run("compare", *COMPARE, "--out", out, "--resume")


@pytest.mark.slow
def test_what_follows_from_other_files_is_made_again_without_training(whole, out, fitted, capsys):
    spoilt = ["run.json", "labels.npz", "accuracy.png", "curves.png", "summary.md"]
    spoilt += ["embeddings.svg", "similarity.svg"]  # of which the page has copies
    for name in spoilt:
        (out / name).write_bytes(bytes(10))
    (out / "arms.jsonl").unlink()
    assert run("verify", out) == 1
    told = capsys.readouterr().out.splitlines()
    damaged = [line.split()[1] for line in told if line.startswith("damaged")]
    assert damaged == [f"{out / name}:" for name in sorted([*spoilt, "arms.jsonl"])]
    assert resume(out) == 0
    told = capsys.readouterr().out.splitlines()
    assert {line for line in told if line.startswith("rebuilt")} == {
        f"rebuilt: {out / name}" for name in [*spoilt, "arms.jsonl"]
    }
    assert fitted == []
    assert contents(out) == contents(whole)


@pytest.mark.slow
@pytest.mark.parametrize("manifest", ["damaged", slow("missing")])
def test_pictures_that_no_manifest_lists_are_made_again(whole, out, fitted, manifest, capsys):
    spoilt = ["accuracy.png", "embeddings.svg"]
    if manifest == "missing":
        (out / "manifest.json").unlink()
    for name in spoilt if manifest == "missing" else ["manifest.json", *spoilt]:
        (out / name).write_bytes(bytes(100))
    assert resume(out) == 0
    told = capsys.readouterr().out
    for name in spoilt:
        kind = name[-3:].upper()
        assert f"damaged: {out / name}: expected an intact {kind}" in told
        assert f"rebuilt: {out / name}" in told
    assert fitted == []
    assert contents(out) == contents(whole)


@pytest.mark.slow
def test_a_picture_that_nothing_has_a_copy_of_is_lost(out, capsys):
    for name in ("manifest.json", "embeddings.svg", "report.html"):
        (out / name).write_bytes(bytes(100))
    assert resume(out) == 0
    assert f"not rebuilt: {out / 'embeddings.svg'}" in capsys.readouterr().out
    assert run("verify", out) == 0


@pytest.mark.slow
def test_an_arm_that_has_lost_its_predictions_is_trained_again(whole, out, fitted, capsys):
    path = out / "predictions" / "b_only.npz"
    path.write_bytes(path.read_bytes()[:-1])
    assert resume(out) == 0
    assert "Incomplete, will be rerun: b_only" in capsys.readouterr().out
    assert fitted == ["b"]
    assert scores(out) == scores(whole)
    assert run("verify", out) == 0


@pytest.mark.slow
def test_a_flipped_key_is_named_and_only_its_arm_is_trained_again(whole, out, fitted, capsys):
    (out / "manifest.json").unlink()  # as in a run that was stopped
    lines = (out / "cost.jsonl").read_bytes().splitlines(keepends=True)
    (out / "cost.jsonl").write_bytes(lines[0].replace(b"params", b"qarams") + b"".join(lines[1:]))
    assert run("verify", out) == 1
    place = f"{out / 'cost.jsonl'}, line 1: expected a row of cost, got no params"
    assert place in capsys.readouterr().out
    assert resume(out) == 0
    assert f"damaged: {place}" in capsys.readouterr().out
    assert fitted == ["a"]
    assert scores(out) == scores(whole)


@pytest.mark.slow
def test_a_value_that_was_changed_in_a_run_that_was_stopped_is_found(out, fitted, capsys):
    (out / "manifest.json").unlink()
    path = out / "rows.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"accuracy": 0.', b'"accuracy": 1.', 1))
    assert run("verify", out) == 1
    assert f"{path}: results of a_only are incomplete" in capsys.readouterr().out
    assert resume(out) == 0
    assert fitted == ["a"]


@pytest.mark.slow
@pytest.mark.parametrize("done", [True, slow(False)])
@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"data": "', b'"data": "x'), slow(b'"modalities": "a+b"', b'"modalities": "a"')],
)
def test_one_damaged_row_is_not_other_data(whole, out, fitted, old, new, done):
    if not done:
        (out / "manifest.json").unlink()
    path = out / "rows.jsonl"
    path.write_bytes(new.join(path.read_bytes().rsplit(old, 1)))
    assert resume(out) == 0
    assert fitted == ["a+b"]
    assert scores(out) == scores(whole)
    assert run("verify", out) == 0


@pytest.mark.slow
@pytest.mark.parametrize("lost", [["weights.jsonl"], slow(["weights.jsonl", "manifest.json"])])
def test_an_empty_table_is_written_again(whole, out, fitted, lost, capsys):
    assert (out / "weights.jsonl").read_bytes() == b""
    for name in lost:
        (out / name).unlink()
    assert resume(out) == 0
    assert "not rebuilt: " not in capsys.readouterr().out
    assert fitted == []
    assert contents(out) == contents(whole)


def test_rows_of_other_data_are_refused(out, capsys):
    path = out / "rows.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"data": "', b'"data": "x'))
    before = contents(out)
    assert resume(out) == 2
    assert "have changed since the run" in capsys.readouterr().err
    assert contents(out) == before


@pytest.mark.parametrize("emptied", [False, True])
def test_nothing_is_erased_before_its_replacement_is_there(out, emptied, monkeypatch, capsys):
    """Of a run that was stopped, and cannot say any more which arms are done."""
    (out / "manifest.json").unlink()
    (out / "arms.jsonl").write_bytes(b"") if emptied else (out / "arms.jsonl").unlink()
    before = contents(out)

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(mmjax.comparison.loop, "fit", stop)
    assert resume(out) == 130
    assert "Incomplete, will be rerun: a_only, b_only, concat" in capsys.readouterr().out
    assert contents(out) == before


def test_a_comparison_that_is_killed_while_it_tidies_up_is_done(whole, out, monkeypatch, capsys):
    for name in ("checkpoints", "arms"):
        (out / name / "concat").mkdir(parents=True)  # embeddings are gone already
    assert resume(out) == 0
    assert "Already complete" in capsys.readouterr().out
    assert contents(out) == contents(whole)
    assert not (out / "checkpoints").exists()
    assert not (out / "arms").exists()


@pytest.mark.parametrize("done", [True, slow(False)])
def test_what_a_killed_process_had_begun_to_write_goes(whole, out, done):
    if not done:
        (out / "manifest.json").unlink()
    for place in (out, out / "predictions"):
        (place / ".rows.jsonl.4321.part").write_bytes(b"{")
    assert resume(out) == 0
    assert contents(out) == contents(whole)


@pytest.mark.slow
def test_a_signal_while_the_last_arm_is_examined_is_heeded_at_once(whole, tmp_path, monkeypatch):
    out, rows = tmp_path / "run", examine.robustness_rows

    def send(arm, *arguments):
        if arm.strategy == "concat":
            os.kill(os.getpid(), signal.SIGTERM)
        found = rows(arm, *arguments)
        assert arm.strategy != "concat", "the signal has not been heeded"
        return found

    monkeypatch.setattr(examine, "robustness_rows", send)
    assert run("compare", *COMPARE, "--out", out) == 143
    monkeypatch.undo()
    assert resume(out) == 0
    assert scores(out) == scores(whole)
    assert run("verify", out) == 0


@pytest.mark.slow
def test_a_signal_while_figures_are_drawn_is_one_line(out, monkeypatch, capsys):
    send = lambda *arguments: os.kill(os.getpid(), signal.SIGTERM)
    monkeypatch.setattr(mmjax.runs.compare, "write_summary", send)
    (out / "summary.md").unlink()
    assert resume(out) == 143
    assert "--resume" in capsys.readouterr().err
    monkeypatch.undo()
    assert resume(out) == 0
    assert run("verify", out) == 0


# Training


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs [1] *") / "what?"
    assert run(*TRAIN, "--out", out) == 0
    return out


def test_parameters_come_back_from_a_folder_with_any_name(trained, capsys):
    assert run("verify", trained) == 0
    assert run("evaluate", trained) == 0
    assert capsys.readouterr().out.count('"accuracy":') == 4


@pytest.mark.parametrize(
    "name", [slow("rows.jsonl"), slow("history.jsonl"), "checkpoint/arrays/manifest.ocdbt"]
)
def test_a_training_that_has_lost_something_is_done_again(trained, tmp_path, name, capsys):
    out = shutil.copytree(trained, tmp_path / "run")
    (out / name).write_bytes((out / name).read_bytes()[:-9])
    assert run("verify", out) == 1
    assert run(*TRAIN, "--out", out, "--resume") == 0
    told = capsys.readouterr().out
    assert f"damaged: {out / name}" in told
    assert "Incomplete, will be rerun: concat" in told
    assert f"rebuilt: {out / name}" in told
    assert scores(out) == scores(trained)
    assert run("verify", out) == 0


def test_settings_that_cannot_be_made_again_are_an_error(trained, tmp_path, capsys):
    out = shutil.copytree(trained, tmp_path / "run")
    (out / "run.json").unlink()
    other = [*TRAIN[:-1], "3"]
    assert run(*other, "--out", out, "--resume") == 2
    assert f"{out / 'run.json'}: the file is damaged" in capsys.readouterr().err
    assert run(*TRAIN, "--out", out, "--resume") == 0
    assert contents(out) == contents(trained)


def test_a_disk_that_is_full_at_the_last_checkpoint_is_one_line(tmp_path, capsys):
    out = tmp_path / "run"
    with file_size_limit(2000):  # enough for run.json
        assert run(*TRAIN, "--out", out) == 2
    assert capsys.readouterr().err == f"mmjax: {out / 'checkpoint'}: File too large.\n"
    assert run(*TRAIN, "--out", out, "--resume") == 0
    assert run("verify", out) == 0
    assert len(read_rows(out / "rows.jsonl")) == 4
