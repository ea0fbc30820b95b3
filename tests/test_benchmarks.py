"""The benchmarks run, compare like with like, and write what they found. Nothing here is timed."""

import csv
import importlib.util
import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest
import streaming
from accelerators_page import compare_peers
from mmjax_side import make_compared, make_model, make_task, save_compared
from page import fill
from performance_page import START_TARGETS, TARGETS, describe, read, start_table
from performance_page import main as write_page
from representatives import slow
from roofline_page import main as write_predictions
from speed import TINY, Benchmark
from speed import main as measure
from streaming_page import main as write_streaming_page
from streaming_worker import load
from workloads import COMPARISONS, CORE, PATIENCE, Case, make_splits

from mmjax.comparison.arm import CORE as CORE_OF_MMJAX
from mmjax.comparison.arm import make_arm
from mmjax.data.chunks import on_disk
from mmjax.errors import DataError
from mmjax.runs.settings import Settings
from mmjax.storage.jsonl import append_rows, read_rows
from mmjax.training.epochs import steps_per_epoch, steps_per_round
from mmjax.training.optimiser import Adam
from mmjax.training.recipe import Recipe
from mmjax.training.step import init_params

BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not TORCH, reason="needs the extra bench")


@needs_torch
@pytest.mark.parametrize("name", ["conv", slow("transformer-8"), slow("bottleneck-8")])
def test_both_sides_compute_the_same(name):
    import torch
    from torch_models import copy_params, make_module
    from torch_side import as_tensors

    case = Case("predict", name, rows=20)
    params, want = _apply(make_model(name), make_task(case).train.batch())
    module = make_module(name)
    copy_params(module, params)
    for side in ("eager", "tuned"):
        audio, image, _ = as_tensors(make_splits(case)[0], side)
        with torch.no_grad():
            got = module.eval()(audio, image).numpy()
        np.testing.assert_allclose(got, want, atol=1e-4)
    assert _size(module) == sum(map(np.size, jax.tree.leaves(params)))


def _apply(model, rows):
    """Parameters, none of them at the zeros or ones of biases and scales; and predictions."""
    rng = np.random.default_rng(0)
    blur = lambda x: np.float32(x + 0.1 * rng.normal(size=x.shape))
    params = jax.tree.map(blur, init_params(model, rows, 0))
    outputs = model.apply({"params": params}, rows.inputs, rows.present, train=False)
    return params, outputs.prediction


def _size(module):
    return sum(p.numel() for p in module.parameters())


_FAST = ("audio_only", "early", "attention_pool")


@needs_torch
@pytest.mark.parametrize(
    "strategy", [*_FAST, *(slow(n) for n in ("image_only", *CORE) if n not in _FAST)]
)
def test_both_sides_of_a_comparison_compute_the_same(strategy):
    import torch
    from torch_side import as_tensors

    case = Case("compare", "digits", rows=20)
    task = make_task(case)
    images = dict(zip(("audio", "image"), as_tensors(make_splits(case)[0], "tuned"), strict=False))
    arm = make_arm(task, strategy)
    inputs = [images[name] for name in arm.task.modalities]
    with torch.no_grad():
        _check_same(strategy, arm, inputs)


@needs_torch
@pytest.mark.parametrize("strategy", ["a_only", "b_only", *COMPARISONS["small"].fusions])
def test_both_sides_of_the_small_comparison_compute_the_same(strategy, tmp_path):
    import torch

    comparison = COMPARISONS["small"]
    task = make_compared(comparison)
    save_compared(comparison, tmp_path / "rows.npz")
    stored = np.load(tmp_path / "rows.npz")
    np.testing.assert_array_equal(stored["target_train"], task.train.target)
    arm = make_arm(task, strategy)
    with torch.no_grad():
        inputs = [torch.from_numpy(stored[f"train_{name}"]) for name in arm.task.modalities]
        _check_same(strategy, arm, inputs)


def _check_same(strategy, arm, inputs):
    from torch_fusions import make_model as make_module

    params, want = _apply(arm.recipe.model, arm.task.train.batch())
    shapes = {n: tuple(x.shape[1:]) for n, x in zip(arm.task.modalities, inputs, strict=True)}
    module = make_module(strategy, shapes, arm.task.out_dim)
    module.copy(params)
    np.testing.assert_allclose(module.eval()(*inputs).numpy(), want, atol=1e-4)
    assert _size(module) == sum(map(np.size, jax.tree.leaves(params)))


def test_a_comparison_is_that_of_the_command():
    default, digits = Settings(), COMPARISONS["digits"]
    assert digits.fusions == CORE == CORE_OF_MMJAX
    assert (digits.task, digits.seeds, digits.steps) == (default.task, default.seeds, default.steps)
    assert (digits.batch_size, PATIENCE) == (default.batch_size, Recipe.patience)
    for rows in (20, 64, 300, 4720):
        per_epoch = steps_per_epoch(rows, min(rows, digits.batch_size))
        assert digits.steps_per_round(rows) == steps_per_round(per_epoch)


@needs_torch
def test_early_stopping_is_that_of_mmjax(monkeypatch):
    from torch import nn
    from torch_side import _Run

    found = iter([(0.5, -1.0), (0.5, -0.9), (0.4, -0.1), *[(0.5, -0.9)] * PATIENCE])
    taken, module = [], nn.Linear(1, 1)
    run = object.__new__(_Run)
    run.module = module

    def take_steps(number):
        taken.append(number)
        nn.init.constant_(module.bias, len(taken))

    monkeypatch.setattr(run, "take_steps", take_steps, raising=False)
    monkeypatch.setattr(run, "validate", lambda rows: next(found))
    run.fit(1000, 9, ())
    assert taken == [9] * (2 + PATIENCE)
    assert module.bias.item() == 2  # the second was the best


@needs_torch
@pytest.mark.parametrize("steps", [1, 7, 40])
def test_both_sides_have_the_same_learning_rate(steps):
    from torch_side import learning_rate_share

    tx = Adam(learning_rate=1.0, clip=1e9).build(steps)
    state, zero = tx.init(np.float32(0)), np.float32(0)
    for step in range(steps):
        update, state = tx.update(np.float32(1), state, zero)
        np.testing.assert_allclose(learning_rate_share(step, steps), -update, atol=1e-5)


@pytest.mark.slow
def test_a_tiny_benchmark_runs_and_goes_on_where_it_was(tmp_path):
    sides = ("mmjax", "eager", "tuned") if TORCH else ("mmjax",)
    benchmark = Benchmark(tmp_path, sides, rounds=1, seconds=0.01, tiny=True)
    measure(benchmark)
    rows = read_rows(tmp_path / "rows.jsonl")
    assert {(row["work"], row["model"]) for row in rows} == {(c.work, c.model) for c in TINY}
    assert all(s > 0 for row in rows for s in row["seconds"])
    if TORCH:
        assert {"eager", "tuned"} < {row["side"] for row in rows}
    measure(benchmark)
    assert read_rows(tmp_path / "rows.jsonl") == rows


def test_the_page_shows_ratios_of_rounds(tmp_path):
    facts = {"device": "a machine", "versions": "none", "matmul_gflops": 100.0, "copy_gb_s": 9.0}
    target = TARGETS[0]
    case = {name: getattr(target.case, name) for name in vars(target.case)}
    seconds = {"mmjax": [0.1, 0.2, 0.1], target.peer: [0.3, 0.5, 0.25]}
    append_rows(
        tmp_path / "rows.jsonl",
        [{**case, "side": s, "seconds": v, "peak_mib": 7, **facts} for s, v in seconds.items()],
    )
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n{BEGIN}\nold\n{END}\nAfter.\n")
    write_page(tmp_path, page)
    text = page.read_text()
    assert text.startswith("Before.")
    assert text.endswith("After.\n")
    assert "old" not in text
    assert (
        f"| {describe(target.case)}, against {target.peer} | {target.ratio} "
        "| **2.50 (2.50 to 3.00)** | - |" in text
    )
    assert "| 1,280 | 427 |" in text  # samples per second
    assert page.with_suffix(".png").stat().st_size > 1000
    write_page(tmp_path, page)
    assert page.read_text() == text


def test_the_page_shows_whole_processes_beside_their_targets(tmp_path):
    seconds = {"mmjax+kernels+cold": [4.0], "mmjax+kernels+warm": [1.0], "eager": [3.0]}
    for case in START_TARGETS:
        lines = [{**vars(case), "side": s, "seconds": v} for s, v in seconds.items()]
        append_rows(tmp_path / "rows.jsonl", lines)
    text = start_table({(row.case, row.side): row for row in read(tmp_path / "rows.jsonl")})
    name = "mmjax compare on digits"
    assert f"| {name} | mmjax+kernels+cold | 4.0 | 4.0 to 4.0 | 1.5 | 0.75 (0.75 to 0.75) |" in text
    assert f"| {name} | mmjax+kernels+warm | 1.0 | 1.0 to 1.0 | 2.5 | **3.00 (3.00" in text
    assert text.count("**3.00") == len(START_TARGETS)


def test_a_page_without_a_place_for_the_tables_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(DataError, match=BEGIN):
        fill(page, "measured")
    assert page.read_text() == "nothing"


def test_a_page_is_not_made_of_no_rows(tmp_path):
    append_rows(tmp_path / "rows.jsonl", [])
    with pytest.raises(DataError, match="expected rows of"):
        write_page(tmp_path, tmp_path / "page.md")


def test_a_case_survives_the_way_to_its_worker():
    case = Case("train", "conv", seeds=2)
    assert Case(**json.loads(json.dumps(vars(case)))) == case


def test_the_page_of_accelerators_compares_with_each_peer(tmp_path):
    facts = {"device": "a GPU", "versions": "none"}
    case = vars(Case("train", "conv", platform="cuda", seeds=8))
    seconds = {"mmjax": [0.1, 0.2, 0.1], "eager": [0.3, 0.5, 0.25], "compile": [0.1, 0.1, 0.1]}
    rows = [{**case, "side": s, "seconds": v, **facts} for s, v in seconds.items()]
    append_rows(tmp_path / "rows.jsonl", rows)
    table = compare_peers(tmp_path)
    assert "| conv | 128 | float32 | 8 | 10,240 | 2.50 (2.50 to 3.00) | - | 1.00 (" in table
    (tmp_path / "rows.jsonl").write_text("")
    with pytest.raises(DataError, match="rows of training"):
        compare_peers(tmp_path)


@pytest.mark.slow
def test_operations_of_a_step_are_counted_and_bound_its_time(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- predicted -->\n<!-- /predicted -->\n")
    write_predictions(page, ("early",))
    assert "| early | 0.05 | " in page.read_text()
    with (tmp_path / "page-predicted.csv").open(newline="") as file:
        one, eight, _ = csv.DictReader(file)
    assert float(eight["flops"]) == pytest.approx(8 * float(one["flops"]), rel=1e-4)
    # Two dense layers, the gradients of their kernels, and of the input of the second.
    dense = 128 * (4 * (39 * 13 + 28 * 28) * 64 + 6 * 64 * 10)
    assert dense < float(one["flops"]) < 1.3 * dense
    assert float(one["least_bytes"]) < float(one["most_bytes"])
    assert float(one["H200 least ms"]) < float(one["H100 least ms"])


@pytest.mark.slow
def test_every_side_of_streaming_has_the_same_rows(tmp_path):
    streaming.write(tmp_path, 20)
    tasks = [
        load(side, tmp_path / ("array_record-20" if side == "array_record" else "arrays-20"))
        for side in streaming.SIDES
    ]
    assert len({task.digest() for task in tasks}) == 1
    assert [on_disk(task.train.inputs["image"]) for task in tasks] == [False, True, True]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_allocated_memory_is_told_from_mapped(tmp_path):
    # Arrays of more than 32 MiB are never in memory that was freed before.
    np.save(tmp_path / "a.npy", np.ones(8 << 20))
    before = streaming.memory(os.getpid())
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert mapped.sum() == 8 << 20
    now = streaming.memory(os.getpid())
    assert now["file"] - before["file"] > 60 << 10
    assert abs(now["anon"] - before["anon"]) < 8 << 10
    allocated = np.ones(8 << 20)
    assert streaming.memory(os.getpid())["anon"] - now["anon"] > 60 << 10
    assert allocated.nbytes == mapped.nbytes


def test_the_page_of_streaming_shows_ratios_of_rounds(tmp_path):
    facts = {"device": "a machine", "versions": "none"}
    memory = {"measured": "memory", "peak_file_mib": 5.0, "load_seconds": 1.0, **facts}
    speed = {"measured": "speed", "samples": 1000, "rows": 10, **facts}
    append_rows(
        tmp_path / "rows.jsonl",
        [
            *(
                {**memory, "side": s, "rows": r, "peak_anon_mib": 7.0}
                for s in "ab"
                for r in (9, 90)
            ),
            {**speed, "side": "device", "seconds": [1.0, 2.0, 1.0]},
            {**speed, "side": "arrays", "seconds": [1.25, 2.0, 2.0]},
        ],
    )
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    write_streaming_page(tmp_path, page)
    text = page.read_text()
    assert "| arrays | 500 | 0.80 (0.50 to 1.00) |" in text
    assert text.count("| a | 9") == 2
    assert page.with_suffix(".png").stat().st_size > 1000
