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
from mmjax_side import make_model, make_task
from page import fill
from performance_page import TARGETS, describe
from performance_page import main as write_page
from representatives import slow
from roofline_page import main as write_predictions
from speed import TINY, Benchmark
from speed import main as measure
from streaming_page import main as write_streaming_page
from streaming_worker import load
from workloads import Case, make_splits

from mmjax.data.chunks import on_disk
from mmjax.errors import DataError
from mmjax.storage.jsonl import append_rows, read_rows
from mmjax.training.optimiser import Adam
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
    rows = make_task(case).train.batch()
    params = init_params(make_model(name), rows, 0)
    rng = np.random.default_rng(0)  # biases and scales must not be at their zeros and ones
    params = jax.tree.map(lambda x: np.float32(x + 0.1 * rng.normal(size=x.shape)), params)
    model = make_model(name)
    want = model.apply({"params": params}, rows.inputs, rows.present, train=False).prediction
    module = make_module(name)
    copy_params(module, params)
    for side in ("eager", "tuned"):
        audio, image, _ = as_tensors(make_splits(case)[0], side)
        with torch.no_grad():
            got = module.eval()(audio, image).numpy()
        np.testing.assert_allclose(got, want, atol=1e-4)
    assert sum(p.numel() for p in module.parameters()) == sum(map(np.size, jax.tree.leaves(params)))


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
    assert {row["work"] for row in rows} == {case.work for case in TINY}
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
        f"| {describe(target.case)}, against {target.peer} | 2.0 | **2.50 (2.50 to 3.00)** | - |"
        in text
    )
    assert "| 1,280 | 427 |" in text  # samples per second
    assert page.with_suffix(".png").stat().st_size > 1000
    write_page(tmp_path, page)
    assert page.read_text() == text


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
