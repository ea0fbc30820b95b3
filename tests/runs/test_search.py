"""`mmjax tune`: what it leaves, and its workers."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import pytest

from mmjax.cli import main
from mmjax.runs.search import database as storage
from mmjax.runs.search import worker as folder
from mmjax.runs.search.shared_study import SharedStudy
from mmjax.storage.jsonl import read_rows

pytest.importorskip("optuna")

TASK = ["--task", "synthetic", "--options", "size=200", "--steps", "5"]
SMALL = ["--fusions", "early", "--widths", "8", "16", "--depths", "1", "--batch-sizes", "20"]
TUNE = ["tune", *TASK, *SMALL, "--lanes", "2", "--trials", "4"]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "run"
    main([*TUNE, "--out", str(out)])
    return out


def test_verify_reads_a_study_and_finds_its_damage(tuned, tmp_path, capsys):
    main(["verify", str(tuned)])
    printed = capsys.readouterr().out
    assert f"ok          {tuned / 'study.db'}" in printed
    assert f"ok          {tuned / 'trials.jsonl'}" in printed
    copy = tmp_path / "copy"
    copy.mkdir()
    content = bytearray((tuned / "study.db").read_bytes())
    (copy / "study.db").write_bytes(content)
    main(["verify", str(copy)])
    assert "unfinished" in capsys.readouterr().out
    content[4096:12288] = bytes(8192)  # two pages
    (copy / "study.db").write_bytes(content)
    with pytest.raises(SystemExit, match="1"):
        main(["verify", str(copy)])
    assert "expected an intact SQLite database" in capsys.readouterr().out


def test_tune_leaves_trials_figures_and_a_page(tuned, capsys):
    rows = read_rows(tuned / "trials.jsonl")
    assert sorted(row["trial"] for row in rows) == [0, 1, 2, 3]
    assert {row["state"] for row in rows} <= {"complete", "pruned"}
    completed = [row["accuracy"] for row in rows if row["state"] == "complete"]
    assert rows[0]["accuracy"] == max(completed)
    assert all(1e-5 <= row["weight_decay"] <= 0.1 for row in rows)
    page = (tuned / "report.html").read_text()
    assert "mmjax train" in page
    assert page.count("data:image/png") >= 2
    assert (tuned / "optimization_history.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_command_it_names_trains_the_best_trial(tuned, tmp_path, capsys):
    page = (tuned / "report.html").read_text()
    (command,) = re.findall(r"<code>mmjax (.*?)</code>", page)
    out = tmp_path / "best"
    main([*shlex.split(command), "--seeds", "1", "--out", str(out)])
    best = read_rows(tuned / "trials.jsonl")[0]
    scores = {row["split"]: row for row in read_rows(out / "rows.jsonl")}
    assert scores["valid"]["accuracy"] == best["accuracy"]
    assert scores["valid"]["nll"] == pytest.approx(best["nll"], rel=1e-3)


@pytest.mark.slow
def test_a_search_goes_on_to_more_trials_and_not_with_other_settings(tuned, capsys):
    more = [*TUNE[:-1], "6", "--out", str(tuned)]
    with pytest.raises(SystemExit):
        main(more)
    assert "expected a new or empty folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*more, "--resume", "--objective", "mse"])
    assert "objective None, not 'mse'" in capsys.readouterr().err
    main([*more, "--resume"])
    assert len(read_rows(tuned / "trials.jsonl")) == 6


def test_a_study_rebuilds_what_follows_from_its_database(tuned, tmp_path, capsys):
    out = shutil.copytree(tuned, tmp_path / "run")  # the study has the folder's name
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    trials = str(len(read_rows(out / "trials.jsonl")))
    more = [*TUNE[:-1], trials, "--out", str(out), "--resume"]
    (out / "trials.jsonl").write_bytes(whole["trials.jsonl"].replace(b'"state"', b'"rtate"', 1))
    (out / "report.html").unlink()
    with pytest.raises(SystemExit, match="1"):
        main(["verify", str(out)])
    told = capsys.readouterr().out
    assert f"{out / 'trials.jsonl'}, line 1: expected a row of trials, got no state" in told
    assert f"damaged     {out / 'report.html'}" in told
    main(more)
    told = capsys.readouterr().out
    assert f"rebuilt: {out / 'trials.jsonl'}" in told
    assert f"rebuilt: {out / 'report.html'}" in told
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".db"} == {
        name: content for name, content in whole.items() if not name.endswith(".db")
    }
    main(["verify", str(out)])
    capsys.readouterr()
    (out / "study.db").write_bytes(b"")
    for command in (["verify", str(out)], more):
        with pytest.raises(SystemExit):
            main(command)
    told = capsys.readouterr()
    assert f"damaged     {out / 'study.db'}" in told.out
    assert f"{out / 'study.db'}: expected" in told.err
    assert (out / "trials.jsonl").read_bytes() == whole["trials.jsonl"]


DIE = """
import os, signal
from mmjax.cli import main
from mmjax.runs.search.shared_study import SharedStudy
SharedStudy.report = lambda *args, **more: os.kill(os.getpid(), signal.SIGKILL)
main({args})
"""


@pytest.mark.slow
def test_trials_of_a_killed_worker_are_trained_again(tmp_path, monkeypatch):
    out = tmp_path / "run"
    args = [*TUNE, "--out", str(out), "--resume"]
    killed = subprocess.run([sys.executable, "-c", DIE.format(args=args)])
    assert killed.returncode == -signal.SIGKILL
    monkeypatch.setattr(storage, "BEAT_SECONDS", 1)
    monkeypatch.setattr(storage, "GRACE_SECONDS", 1)
    main(args)
    rows = {row["trial"]: row for row in read_rows(out / "trials.jsonl")}
    assert {number for number, row in rows.items() if row["state"] == "fail"} == {0, 1}
    assert {row["retry_of"] for row in rows.values()} == {None, 0, 1}
    done = [row for row in rows.values() if row["state"] in ("complete", "pruned")]
    assert len(done) == 4
    again = {row["retry_of"]: row for row in done}
    for number in (0, 1):
        assert again[number]["learning_rate"] == rows[number]["learning_rate"]


@pytest.mark.slow
def test_a_signal_ends_a_worker_and_its_trials_wait(tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(SharedStudy, "report", lambda *args, **more: True)  # none falls behind
        patch.setattr(SharedStudy, "note", lambda *args: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit) as end:
            main([*TUNE, "--out", str(out)])
    assert end.value.code == 128 + signal.SIGTERM
    main([*TUNE, "--out", str(out), "--resume"])
    rows = read_rows(out / "trials.jsonl")
    assert {row["retry_of"] for row in rows if row["state"] != "fail"} >= {0, 1}


def test_without_a_completed_trial_there_is_no_best(tmp_path, monkeypatch, capsys):
    def fail(*args):
        raise RuntimeError("no memory")

    monkeypatch.setattr(folder, "_make_arm", fail)
    with pytest.raises(SystemExit) as end:
        main([*TUNE, "--out", str(tmp_path / "run")])
    assert end.value.code == 1
    assert "none of 4 trials completed: RuntimeError: no memory" in capsys.readouterr().err


def test_without_optuna_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SystemExit):
        main([*TUNE, "--out", str(tmp_path / "run")])
    assert 'pip install "mmjax[tune]"' in capsys.readouterr().err


@pytest.mark.slow
def test_two_workers_share_a_study_and_one_is_killed(tmp_path):
    """The benchmark, tiny."""
    from load_script import load_script

    script = load_script("study_workers", "benchmarks")
    task = {"task": "synthetic", "options": ("size=200",), "fusions": "early,sum", "steps": 5}
    pace = {"trials": 8, "lanes": 2, "beat": 1, "grace": 5}
    row = script.main(script.Benchmark(tmp_path / "run", **task, **pace))
    assert row["complete"] + row["pruned"] == 8
    assert row["left_by_the_killed"] == row["of_these_trained_again"] > 0
    assert json.loads((tmp_path / "run" / "workers.jsonl").read_text()) == row
