"""A comparison whose arms are commands of their own gives what it gives in one process."""

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

import numpy as np
import pytest
from commands import COMPARE, command, run, run_apart, scores

import mmjax.comparison.loop
from mmjax.runs import folder
from mmjax.runs.columns import read_table
from mmjax.storage.jsonl import read_rows

STRATEGIES = ["a_only", "b_only", "concat"]
PATIENCE = 300.0  # seconds


def assert_same(out, whole):
    """All but times is the same, and what only the arms needed is gone."""
    assert scores(out) == scores(whole)
    for name in ("history", "robustness", "representation", "weights"):
        assert read_table(out, name) == read_table(whole, name)
    done = lambda place: [(row["strategy"], row["error"]) for row in read_table(place, "arms")]
    assert done(out) == done(whole)
    for name in ("labels", *(f"predictions/{strategy}" for strategy in STRATEGIES)):
        got, want = (np.load(place / f"{name}.npz") for place in (out, whole))
        assert got.files == want.files
        assert all(got[key].tobytes() == want[key].tobytes() for key in want.files)
    assert [row["strategy"] for row in read_rows(out / "cost.jsonl")] == STRATEGIES
    assert sorted(os.listdir(out)) == sorted(os.listdir(whole))


def start_comparison(out, launcher):
    """In a process of its own: Ray forks, and in this one JAX has threads."""
    words = command("compare", *COMPARE, "--out", out, "--launcher", launcher, "--workers", "2")
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def whole_apart(tmp_path_factory):
    """The folder of a comparison that nothing disturbed, in a process of its own."""
    out = tmp_path_factory.mktemp("apart") / "run"
    assert run_apart("compare", *COMPARE, "--out", out) == 0
    return out


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["submitit", "ray"])
def test_a_cluster_gives_the_rows_of_one_process(launcher, whole_apart, tmp_path):
    pytest.importorskip(launcher)
    process = start_comparison(tmp_path / "run", launcher)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert_same(tmp_path / "run", whole_apart)


def process_of(out, strategy):
    """The process that works on an arm, once there is one."""
    lock, deadline = out / "arms" / strategy / "lock", time.monotonic() + PATIENCE
    while not (lock.exists() and lock.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(lock.read_text().split()[1])


@pytest.mark.slow
def test_the_arm_of_a_killed_worker_runs_again(whole_apart, tmp_path):
    process = start_comparison(tmp_path / "run", "local")
    os.kill(process_of(tmp_path / "run", "a_only"), signal.SIGKILL)
    printed, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert re.findall(r"(\w+) +restarted", printed) == ["a_only"]
    assert_same(tmp_path / "run", whole_apart)


@pytest.mark.slow
def test_a_signal_ends_the_workers_and_resume_goes_on(whole_apart, tmp_path):
    out = tmp_path / "run"
    process = start_comparison(out, "local")
    workers = [process_of(out, strategy) for strategy in STRATEGIES[:2]]
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM, said
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
    options = ("--launcher", "local", "--workers", "2", "--resume")
    assert run_apart("compare", *COMPARE, "--out", out, *options) == 0
    assert_same(out, whole_apart)


class Ended:
    """A job that has run already."""

    def __init__(self, code):
        self.code = code

    def poll(self):
        return self.code

    def terminate(self):
        pass


@pytest.fixture
def here(monkeypatch):
    """A launcher that runs commands in this process, whose parts can be replaced; what it ran."""
    started = []

    def start(words, log):
        _, _, _, _, *arguments = words
        started.append(arguments[-1])
        return Ended(run(*arguments))

    @contextmanager
    def open_launcher(launch):
        yield start

    monkeypatch.setattr("mmjax.runs.launching.open_launcher", open_launcher)
    monkeypatch.setattr("mmjax.runs.launchers.jobs.PAUSE", 0.0)
    return started


LAUNCH = ("--launcher", "local", "--workers", "2")


@pytest.mark.slow
def test_a_failing_arm_is_recorded_and_resume_makes_up_for_it(here, whole, tmp_path, monkeypatch):
    out, fit = tmp_path / "run", mmjax.comparison.loop.fit

    def fail(recipe, task, **options):
        if task.modalities == ("b",):
            raise RuntimeError("out of luck\nand more")
        return fit(recipe, task, **options)

    monkeypatch.setattr(mmjax.comparison.loop, "fit", fail)
    assert run("compare", *COMPARE, "--out", out, *LAUNCH) == 1
    assert here == STRATEGIES
    ended = {row["strategy"]: row["error"] for row in read_rows(out / "arms.jsonl")}
    assert ended == {"a_only": None, "b_only": "RuntimeError: out of luck", "concat": None}
    assert "b_only failed: RuntimeError: out of luck" in (out / "summary.md").read_text()

    monkeypatch.setattr(mmjax.comparison.loop, "fit", fit)
    here.clear()
    assert run("compare", *COMPARE, "--out", out, *LAUNCH, "--resume") == 0
    assert here == ["b_only"]
    key = lambda row: (row["strategy"], row["split"], row["hidden"], row["seed"])
    assert sorted(scores(out), key=key) == sorted(scores(whole), key=key)


def test_an_arm_whose_worker_ends_says_its_last_words(tmp_path, monkeypatch, capsys):
    @contextmanager
    def open_launcher(launch):
        def start(words, log):
            log.write_text('Traceback ...\n  File "x.py"\nImportError: no \x1b[31mluck\n\n')
            return Ended(1)

        yield start

    monkeypatch.setattr("mmjax.runs.launching.open_launcher", open_launcher)
    monkeypatch.setattr("mmjax.runs.launchers.jobs.PAUSE", 0.0)
    assert run("compare", *COMPARE, "--out", tmp_path / "run", *LAUNCH) == 1
    why = r"its worker ended with exit code 1: ImportError: no \x1b[31mluck; see "
    assert capsys.readouterr().out.count(f"failed: {why}") == len(STRATEGIES)


@pytest.mark.slow
def test_a_comparison_that_ends_while_it_merges_merges_once(here, whole, tmp_path, monkeypatch):
    out, end_arm = tmp_path / "run", folder.end_arm

    def stop(place, strategy, error=None):
        if place == out and strategy == "b_only":
            raise KeyboardInterrupt  # its rows are there, but not the line that says so
        end_arm(place, strategy, error)

    monkeypatch.setattr(folder, "end_arm", stop)
    assert run("compare", *COMPARE, "--out", out, *LAUNCH) == 128 + signal.SIGINT
    assert {row["strategy"] for row in read_rows(out / "rows.jsonl")} == {"a_only", "b_only"}
    monkeypatch.setattr(folder, "end_arm", end_arm)
    here.clear()
    assert run("compare", *COMPARE, "--out", out, "--resume") == 0  # no launcher is needed now
    assert here == []
    assert_same(out, whole)


def test_an_arm_that_is_done_is_not_run_again(whole, tmp_path, capsys):
    shutil.copy(whole / "run.json", tmp_path)
    assert run("arm", tmp_path, "concat") == 0
    own = tmp_path / "arms" / "concat"
    assert scores(own) == [row for row in scores(whole) if row["strategy"] == "concat"]
    before = (own / "rows.jsonl").read_bytes()
    capsys.readouterr()
    assert run("arm", tmp_path, "concat") == 0
    assert "Already complete" in capsys.readouterr().out
    assert (own / "rows.jsonl").read_bytes() == before
    assert run("verify", tmp_path) == 0
    assert f"ok          {own / 'rows.jsonl'}" in capsys.readouterr().out


def test_an_arm_of_another_comparison_is_refused(tmp_path, capsys, whole):
    assert run("arm", whole, "gmu") == 2
    assert "a_only, b_only, concat" in capsys.readouterr().err
    assert run("arm", tmp_path, "concat") == 2
    assert "run.json" in capsys.readouterr().err
    assert not (tmp_path / "arms").exists()
