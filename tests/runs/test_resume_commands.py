"""Commands that are stopped or fail in part, and go on with --resume."""

import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from commands import COMPARE, TINY, command, run, run_apart, scores
from rich.console import Console

import mmjax.comparison.loop
from mmjax.comparison.arm import make_arm
from mmjax.data.task import Task
from mmjax.runs.arms import run_arms_in
from mmjax.storage.jsonl import append_rows, read_rows, write_rows
from mmjax.tasks.arrays import save
from mmjax.tasks.synthetic import synthetic


def test_a_failing_arm_is_recorded_the_rest_goes_on_and_resume_makes_up_for_it(
    whole, tmp_path, monkeypatch, capsys
):
    out, fit = tmp_path / "run", mmjax.comparison.loop.fit

    def fail(recipe, task, **options):
        if len(task.modalities) == 1 and task.modalities[0] == "b":
            raise RuntimeError("out of luck\nand more")
        return fit(recipe, task, **options)

    monkeypatch.setattr(mmjax.comparison.loop, "fit", fail)
    words = ("compare", *COMPARE, "--examine", "missing", "--out", out)  # all of rows.jsonl
    assert run(*words) == 1
    said = capsys.readouterr()
    assert "1 of 3 arms failed: b_only" in said.err
    assert "b_only" in said.out
    ended = {row["strategy"]: row["error"] for row in read_rows(out / "arms.jsonl")}
    assert ended == {"a_only": None, "b_only": "RuntimeError: out of luck", "concat": None}
    assert "b_only failed: RuntimeError: out of luck" in (out / "summary.md").read_text()
    assert "b_only failed: RuntimeError: out of luck" in (out / "report.html").read_text()

    fitted = []
    count = lambda recipe, task, **options: fitted.append(task) or fit(recipe, task, **options)
    monkeypatch.setattr(mmjax.comparison.loop, "fit", count)
    assert run(*words, "--resume") == 0
    assert [task.modalities for task in fitted] == [("b",)]
    by_strategy = lambda rows: sorted(
        rows, key=lambda r: (r["strategy"], r["split"], r["hidden"], r["seed"])
    )
    assert by_strategy(scores(out)) == by_strategy(scores(whole))
    assert not (out / "checkpoints").exists()


def test_rows_of_an_arm_that_was_not_finished_are_not_kept(whole, tmp_path):
    out = tmp_path / "run"
    assert run("train", "concat", *TINY, "--seeds", "2", "--out", out) == 0
    rows = scores(out)
    (out / "arms.jsonl").unlink()
    append_rows(out / "rows.jsonl", rows[:1])
    assert run("train", "concat", *TINY, "--seeds", "2", "--out", out, "--resume") == 0
    assert scores(out) == rows
    assert run("train", "concat", *TINY, "--seeds", "2", "--out", out, "--resume") == 0
    assert scores(out) == rows


def test_resume_refuses_the_folder_of_another_run_and_names_the_difference(whole, capsys):
    assert run("compare", *COMPARE[:-1], "3", "--out", whole, "--resume") == 2
    assert "seeds 2, not 3" in capsys.readouterr().err
    assert run("compare", *COMPARE, "--resume") == 2
    assert "--out" in capsys.readouterr().err


@pytest.mark.slow
def test_resume_refuses_other_data(tmp_path, capsys):
    """Arms of one comparison that were trained on different data would be no comparison."""
    data, out = tmp_path / "data", tmp_path / "run"
    flags = ("--task", "arrays", "--data", data, *TINY[4:], "--seeds", "1", "--fusions", "sum")
    inputs = {"a": np.arange(60.0), "b": np.arange(60.0)[::-1]}
    save(Task.from_arrays(inputs, np.arange(60) % 2), data)
    assert run("compare", *flags, "--out", out) == 0
    ended = read_rows(out / "arms.jsonl")
    write_rows(out / "arms.jsonl", [row for row in ended if row["strategy"] != "sum"])
    shutil.rmtree(data)
    save(Task.from_arrays(inputs, np.arange(60) // 2 % 2), data)
    before = (out / "labels.npz").read_bytes()
    assert run("compare", *flags, "--out", out, "--resume") == 2
    assert "resume: the data of" in capsys.readouterr().err
    assert (out / "labels.npz").read_bytes() == before


def test_resume_of_a_finished_comparison_leaves_it_as_it_is(whole, capsys):
    before = {path: path.read_bytes() for path in whole.rglob("*.*")}
    assert run("compare", *COMPARE, "--out", whole, "--resume") == 0
    assert "Already complete" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in whole.rglob("*.*")} == before


@pytest.mark.slow
def test_resume_in_a_new_folder_begins(tmp_path):
    assert run("train", "concat", *TINY, "--seeds", "2", "--out", tmp_path / "new", "--resume") == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_work_and_resume_goes_on_bit_by_bit(tmp_path, number):
    long = [*TINY[:-1], "3000", "--seeds", "2"]
    out, want = tmp_path / "run", tmp_path / "want"
    words = command("train", "concat", *long, "--out", out)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (out / "run.json").exists():
        time.sleep(0.05)
    time.sleep(2)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + number, said
    assert "--resume" in said
    assert len(list((out / "checkpoints" / "concat" / "steps").iterdir())) == 1
    assert run_apart("train", "concat", *long, "--out", out, "--resume") == 0
    assert run_apart("train", "concat", *long, "--out", want) == 0
    assert scores(out) == scores(want)
    history = lambda folder: read_rows(folder / "history.jsonl")
    assert history(out) == history(want)


@pytest.mark.slow
def test_a_running_comparison_has_a_page_of_what_is_done(tmp_path):
    task, seen = synthetic(size=80), []
    arms = [make_arm(task, name, steps=2, seeds=(0,)) for name in ("a_only", "concat")]
    page = tmp_path / "report.html"
    also = lambda outcome: seen.append(page.read_text() if page.exists() else "")
    run_arms_in(tmp_path, task, arms, Console(quiet=True), examine=(), also=also)
    first, second = seen
    assert first == ""
    assert "1 of 2 strategies" in second
    assert "Still to come: concat" in second
    assert 'http-equiv="refresh"' in second
    assert "2 of 2 strategies" in page.read_text()
