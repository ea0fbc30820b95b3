"""Whatever is wrong with an input, it is told in one clear line: no traceback, no hang."""

import importlib.util
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bad_inputs import BAD, FOLDERS, KINDS, Exceeded, check_good, limits, outcome, try_mutations
from representatives import slow
from small import make_split, make_task

from mmjax.comparison.arm import make_arm
from mmjax.comparison.scores import score
from mmjax.data.task import Task
from mmjax.errors import DataError, UsageError
from mmjax.storage.jsonl import read_rows
from mmjax.storage.reading import reading
from mmjax.training.fit import fit
from mmjax.training.recipe import make_model

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bad_inputs.py"
CASES = [pytest.param(bad, id=f"{bad.kind}: {bad.name}") for bad in BAD]


@pytest.mark.parametrize("bad", CASES)
def test_a_bad_input_is_one_clear_error(bad, tmp_path):
    if bad.kind in KINDS:
        check_good(bad.kind)
    assert outcome(bad.kind, bad.run, tmp_path) == "clear_error"


def test_the_catalogue_is_as_large_as_it_should_be():
    count = lambda kind: sum(bad.kind == kind for bad in BAD)
    assert count("wav") >= 20
    assert all(count(kind) for kind in (*KINDS, "task"))
    assert len({(bad.kind, bad.name) for bad in BAD}) == len(BAD)


def test_the_judge_is_strict(tmp_path):
    """A reader that fails in another way, says little, takes much memory or hangs is found out."""

    def unclear(folder):
        raise DataError("somewhere", expected="more", got="this")

    assert outcome("wav", lambda folder: {}["key"], tmp_path) == "KeyError: 'key'"
    assert outcome("wav", unclear, tmp_path).startswith("unclear")
    assert outcome("wav", lambda folder: bytes(9 << 20), tmp_path) == "Exceeded: 9 MiB"
    with pytest.raises(Exceeded, match="still running"), limits(0.1), reading(__file__, "a file"):
        time.sleep(5)


def test_the_benchmark_counts_what_came(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("benchmark_of_bad_inputs", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "KINDS", {"csv": KINDS["csv"]})
    rows = script.main(script.Benchmark(tmp_path / "rows.jsonl", mutations=20))
    assert [row["kind"] for row in rows] == ["csv", "task"]
    for row in rows:
        bad = sum(bad.kind == row["kind"] for bad in BAD)
        assert row["tried"] == bad + 20 * (row["kind"] == "csv")
        assert row["clear_error"] >= bad
        assert row["other"] == 0
    assert read_rows(tmp_path / "rows.jsonl") == [{**row, "seed": 0} for row in rows]


@pytest.mark.parametrize(("kind", "times"), [(k, 5 if k in FOLDERS else 50) for k in KINDS])
def test_spoilt_files_are_read_or_refused(kind, times, tmp_path):
    """benchmarks/bad_inputs.py does this for longer."""
    for came, which in try_mutations(kind, times, 0, tmp_path):
        assert came in ("clear_error", "accepted"), which


def few_rows():
    """Two rows to train on, fewer than a batch has; one to validate and one to test."""
    splits = [make_split(30, seed) for seed in range(3)]
    first = [np.argmax(splits[0].target == label) for label in range(2)]
    train = splits[0].take(np.array(first))
    valid, test = (split.take(np.flatnonzero(split.target < 2)[:1]) for split in splits[1:])
    return Task("few", train, valid, test, out_dim=2)


def odd_modalities():
    """A vector of bytes, a sequence that never changes, and an image that is never there."""

    def odd(split):
        values = {
            "vector": np.arange(5 * split.size, dtype=np.uint8).reshape(-1, 5),
            "sequence": np.full_like(split.inputs["sequence"], 7),
        }
        return replace(split, inputs={**split.inputs, **values}, present=nowhere(split))

    nowhere = lambda split: {"image": np.zeros(split.size, bool)}
    task = make_task()
    return replace(task, **{role: odd(split) for role, split in task.splits.items()})


@pytest.mark.parametrize("make", [few_rows, slow(odd_modalities)])
def test_odd_tasks_train_all_the_same(make):
    task = make()
    raw = dict.fromkeys(task.modalities, "raw")
    arm = make_arm(task, "concat", raw, steps=2, seeds=(0,))
    scored = score(arm, fit(arm.recipe, task))
    assert np.isfinite(scored.predictions["test"]).all()
    assert {row["split"] for row in scored.rows} == {"valid", "test"}
    assert all(np.isfinite(row["nll"]) for row in scored.rows)


def test_the_mean_of_a_modality_that_is_never_there_is_refused():
    with pytest.raises(
        UsageError, match=r"absent: expected a training row with image, .* got none"
    ):
        make_model(odd_modalities(), "concat", absent="mean")
