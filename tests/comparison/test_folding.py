"""Comparisons by cross-validation, from Python and from the command line."""

from dataclasses import replace

import numpy as np
import pytest
from commands import run as command

import mmjax
from mmjax.comparison.arm import make_arm
from mmjax.comparison.frozen import read_in_units
from mmjax.comparison.frozen_encoder import FrozenEncoder
from mmjax.comparison.loop import compare_arms
from mmjax.comparison.outcomes import unfailing
from mmjax.data.folds import fold_task
from mmjax.encoders import pretrained
from mmjax.errors import UsageError
from mmjax.metrics import METRICS
from mmjax.registry import ENCODERS
from mmjax.storage.jsonl import read_rows
from mmjax.tasks.synthetic import synthetic
from mmjax.training import functions

SOME = {"seeds": 2, "steps": 8, "batch_size": 16, "quiet": True, "folds": 3, "repeats": 2}


@pytest.fixture(scope="module")
def result():
    return mmjax.compare(synthetic(size=60), ["sum"], examine=["missing", "cost"], **SOME)


def test_every_fold_has_its_rows_and_its_own_model(result):
    task = fold_task(synthetic(size=60), folds=3, repeats=2)
    rows = [r for r in result.rows if r["strategy"] == "sum" and r["split"] == "test"]
    shown = [row for row in rows if not row["hidden"]]
    assert len(shown) == 2 * 2 * 3
    assert {(row["repeat"], row["fold"]) for row in rows} == {
        (r, f) for r in (0, 1) for f in range(3)
    }
    assert {row["data"] for row in rows} == {task.digest()}
    stored = result.study.predictions["sum"]
    assert stored["test"].shape == (4, 60, 2)
    assert stored["seeds"].tolist() == [0, 1, 10_000, 10_001]
    for row in shown:
        (fold,) = [f for f in task.folds if (f.repeat, f.index) == (row["repeat"], row["fold"])]
        own = stored["test"][2 * row["repeat"] + row["seed"], fold.rows["test"]]
        assert METRICS["accuracy"].score(own, fold.task.test.target) == row["accuracy"]


def test_a_fold_is_what_it_would_be_alone(result):
    task = fold_task(synthetic(size=60), folds=3, repeats=2)
    fold = task.folds[4]
    arm = make_arm(fold.task, "sum", seeds=(0, 1), steps=8, batch_size=16)
    (alone,) = unfailing(compare_arms([arm]))
    got = result.study.predictions["sum"]["test"][2:, fold.rows["test"]]
    np.testing.assert_allclose(got, alone.predictions["test"], rtol=1e-5, atol=1e-6)


def test_scores_are_those_of_all_rows(result):
    stored, target = result.study.predictions["sum"]["test"], result.study.target
    want = [(one.argmax(axis=1) == target).mean() for one in stored]
    np.testing.assert_allclose(result.study.scores("sum"), want)
    (summary,) = [s for s in result.summaries if s.strategy == "sum"]
    np.testing.assert_allclose(summary.score, want)
    assert "2 seeds and 3 folds, dealt 2 times" in str(result)
    assert len(result.study.tables["cost"]) == 3  # of the first fold only


def test_scores_as_an_array_are_by_repeat_and_fold(result):
    pytest.importorskip("pandas")
    pytest.importorskip("xarray")
    shown = result.to_xarray()["accuracy"]
    for row in result.rows:
        if not row["hidden"]:
            place = {name: row[name] for name in ("strategy", "seed", "split", "repeat", "fold")}
            assert shown.sel(place) == row["accuracy"]


@pytest.mark.slow
def test_folds_share_one_program():
    functions._make.cache_clear()
    mmjax.compare(synthetic(size=60), ["sum"], examine="scores", **SOME)
    found = functions._make.cache_info()
    assert (found.misses, found.hits) == (3, 15)  # three strategies, six folds


def test_it_is_saved_and_read_again(result, tmp_path):
    result.save(tmp_path / "run")
    again = mmjax.load_result(tmp_path / "run")
    assert str(again) == str(result)
    assert "3 folds" in (tmp_path / "run" / "report.html").read_text()
    summary = (tmp_path / "run" / "summary.md").read_text()
    assert summary.startswith("# synthetic/xor, 3 folds, 2 seeds\n")
    with pytest.raises(UsageError, match="Compare without folds"):
        result.best  # noqa: B018


def test_a_metric_without_a_value_on_a_fold_is_refused_before_training():
    inputs = {name: np.random.default_rng(0).normal(size=(40, 3)) for name in "ab"}
    task = mmjax.Task.from_arrays(inputs, (np.arange(40) % 8 == 0).astype(int), kind="classes")
    once = {**SOME, "seeds": 1, "repeats": 1, "folds": 4, "examine": "scores"}
    with pytest.raises(UsageError, match=r"value on the \d+ valid rows of fold \d, got auroc"):
        mmjax.compare(task, ["sum"], metric="auroc", **once)


def test_the_majority_class_is_scored_on_all_folds(result):
    (summary,) = [s for s in result.summaries if s.strategy == "sum"]
    share = max(np.bincount(result.study.target)) / 60
    rows = [row for row in result.rows if row["strategy"] == "sum" and row["split"] == "test"]
    first = [row for row in rows if row["repeat"] == 0 and row["seed"] == 0 and not row["hidden"]]
    want = np.average([r["majority_accuracy"] for r in first], weights=[r["rows"] for r in first])
    assert summary.majority[0] == pytest.approx(want)
    assert want <= share


@pytest.mark.slow
def test_the_command_resumes_at_the_strategy_that_is_missing(tmp_path, capsys):
    asked = ["compare", "--task", "synthetic", "--options", "size=60", "--fusions", "sum"]
    asked += ["--seeds", "2", "--steps", "8", "--folds", "3", "--examine", "scores"]
    asked += ["--out", tmp_path / "run"]
    assert command(*asked) == 0
    rows = read_rows(tmp_path / "run" / "rows.jsonl")
    arms = (tmp_path / "run" / "arms.jsonl").read_text().splitlines()
    (tmp_path / "run" / "arms.jsonl").write_text("\n".join(arms[:2]) + "\n")
    (tmp_path / "run" / "manifest.json").unlink()
    capsys.readouterr()
    assert command(*asked, "--resume") == 0
    told = capsys.readouterr()
    assert "rerun: sum" in told.out + told.err
    timed = ("seconds",)
    plain = lambda rows: [{k: v for k, v in row.items() if k not in timed} for row in rows]
    assert plain(read_rows(tmp_path / "run" / "rows.jsonl")) == plain(rows)
    assert command("verify", tmp_path / "run") == 0


@pytest.mark.slow
def test_a_frozen_encoder_runs_once_and_reads_the_units_of_the_task(monkeypatch):
    task, ran = synthetic(size=60), []
    features = FrozenEncoder.features

    def count(self, values, present):
        ran.append(np.asarray(values))
        return features(self, values, present)

    monkeypatch.setattr(FrozenEncoder, "features", count)
    frozen = pretrained(lambda w, x: x @ w, np.ones((12, 5), np.float32))
    found = mmjax.compare(task, ["sum"], encoders={"a": frozen}, examine="scores", **SOME)
    assert not found.failed
    assert len(ran) == 1  # for the fusion, the baseline and all folds
    pool = np.concatenate([split.inputs["a"] for split in task.splits.values()])
    np.testing.assert_array_equal(ran[0], pool)


def make_frozen():
    return pretrained(lambda w, x: x @ w, np.ones((12, 5), np.float32))


@pytest.mark.slow
def test_encoders_that_a_function_makes_read_the_units_of_the_task_too(monkeypatch):
    task, given = replace(synthetic(size=60), standardise=True), {"a": make_frozen}
    assert read_in_units(given) == {"a"}
    once = {**SOME, "repeats": 1, "seeds": 1, "steps": 2, "examine": "scores"}
    one, other = (
        mmjax.compare(task, ["sum"], encoders=encoders, **once).study.predictions["sum"]["test"]
        for encoders in (given, {"a": make_frozen()})
    )
    np.testing.assert_array_equal(one, other)
    monkeypatch.setitem(ENCODERS._own, "frozen", make_frozen)
    with pytest.raises(UsageError, match="reads its own units, but its input is standardised"):
        mmjax.compare(task, ["sum:a=frozen"], **once)
