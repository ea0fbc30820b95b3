"""Benchmarks of training: what is counted is right, what cannot be is refused, rows are kept."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from accelerators_page import main as write_page

from mmjax.analysis import bench, cost, peaks
from mmjax.cli import main
from mmjax.errors import UsageError
from mmjax.report.figures.roofline import bench_markdown, roofline_figure
from mmjax.runs import measure as bench_folder
from mmjax.runs.measure import make_cases
from mmjax.runs.settings import Settings
from mmjax.storage.jsonl import append_rows, read_rows
from mmjax.training.epochs import Lane, trace_step
from mmjax.types import Batch

TINY = ["--task", "synthetic", "--options", "size=200", "--batch-size", "20"]
AXES = {"seed=2": {"data": 1, "seed": 2}, "data=2": {"data": 2, "seed": 1}}
SETTINGS = Settings(task="synthetic", options=("size=200",), batch_size=20)


@pytest.mark.parametrize(("m", "k", "n"), [(20, 7, 5), (64, 128, 32)])
def test_the_operations_of_a_matrix_product_are_two_for_each_triple(m, k, n):
    def step(state, batch):
        return state, {"y": batch.inputs["x"] @ state}

    rows = Batch({"x": jnp.zeros((2 * m, k))}, {}, jnp.zeros(2 * m))
    traced = trace_step(step, Lane(jnp.zeros((3, k, n)), None), rows, m)
    assert traced.lower().cost_analysis()["flops"] == 2 * m * k * n


@pytest.mark.parametrize("rate", [1e-3, 70.0, 100.0])
def test_a_share_of_the_peak_is_reported(rate):
    assert bench.judge_share(rate, 100.0) == {"share": rate / 100, "refused": ""}


@pytest.mark.parametrize("rate", [100.001, 1e9, np.inf, np.nan, 0.0, -1.0])
def test_a_share_that_cannot_be_is_refused(rate):
    judged = bench.judge_share(rate, 100.0)
    assert judged["share"] is None
    assert "peak of 100 is impossible" in judged["refused"]


def test_peaks_are_operations_and_bytes_per_second(monkeypatch):
    """With a clock that says two seconds for all calls, four for each device."""
    monkeypatch.setattr(peaks, "_SIZES", (8, 16, 32))
    monkeypatch.setattr(peaks, "_FLOATS", 1000)
    called = []

    def time_call(call):
        called.append(len(call()))
        return np.array([2.0, 3.0])

    monkeypatch.setattr(peaks, "time_call", time_call)
    devices = jax.local_devices() * 2
    assert peaks.matmul_gflops("bfloat16", devices) == pytest.approx(2e-9 * 8**3 * 2 / 0.5)
    assert peaks.copy_gb_s(devices) == pytest.approx(1e-9 * 2 * 4 * 1000 * 2 / 0.5)
    assert called == [8, 2]  # no larger product after one that takes so long


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Two types of number, of which one has a peak that cannot be; a step takes 3 ms."""
    out = tmp_path_factory.mktemp("bench")
    tops = {"float32": 1e5, "bfloat16": 1e-6}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "matmul_gflops", lambda dtype, devices: tops[dtype])
        patch.setattr(bench, "copy_gb_s", lambda devices: 10.0)
        patch.setattr(cost, "time_step", lambda *training: np.array([2e-3, 3e-3, 5e-3]))
        flags = ["--strategies", "concat", "--lanes", "2", "--dtypes", "float32", "bfloat16"]
        main(["bench", *TINY, *flags, "--out", str(out)])
    return out


@pytest.mark.slow
def test_a_row_is_flat_and_its_figures_agree(measured):
    row, _ = read_rows(measured / "bench.jsonl")
    names = ("strategy", "batch_size", "dtype", "lanes", "devices", "how", "platform")
    assert [row[name] for name in names] == ["concat", 20, "float32", 2, 1, "map", "cpu"]
    assert not any(isinstance(value, list | dict) for value in row.values())
    shares = [row[name] for name in ("step_ms_low", "step_ms", "step_ms_high")]
    assert shares == [1.0, 1.5, 2.5]
    assert row["samples_per_second"] == pytest.approx(20 / 1.5e-3)
    assert row["gflops"] == pytest.approx(row["step_flops"] / 1.5e-3 / 1e9)
    assert row["share"] == pytest.approx(row["gflops"] / 1e5)
    assert row["intensity"] == pytest.approx(row["step_flops"] / row["step_bytes"])
    assert row["compile_seconds"] > 0
    assert row["flops_are"] == "a lower bound"


@pytest.mark.slow
def test_the_operations_of_a_step_are_mostly_its_matrix_products(measured):
    row, _ = read_rows(measured / "bench.jsonl")
    first, rest = 2 * 12 * 128, 2 * 128 * 64 + 128 * 64 + 64 * 2
    products = 2 * 20 * (2 * first + 3 * rest)  # no gradient of the inputs
    assert products < row["step_flops"] < 1.5 * products


@pytest.mark.slow
def test_what_is_refused_is_shown_with_its_reason_and_without_a_share(measured):
    *_, row = read_rows(measured / "bench.jsonl")
    assert (row["dtype"], row["share"]) == ("bfloat16", None)
    text = (measured / "bench.md").read_text()
    assert "Refused: concat, batch 20, bfloat16, 2 lanes, map: " in text
    assert text.count("| - |") == 1
    assert (measured / "roofline.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_page_has_the_table_and_the_figure(measured, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- measured -->\nold\n<!-- /measured -->\nAfter.\n")
    write_page(measured, page)
    text = page.read_text()
    assert text.startswith("Before.")
    assert text.endswith("After.\n")
    assert "old" not in text
    assert (measured / "bench.md").read_text().strip() in text
    assert page.with_suffix(".png").read_bytes() == (measured / "roofline.png").read_bytes()


@pytest.mark.slow
def test_cases_with_rows_are_not_run_again(measured, tmp_path, monkeypatch, capsys):
    rows = read_rows(measured / "bench.jsonl")
    path = tmp_path / "bench.jsonl"
    append_rows(path, rows)
    called = []

    def measure(arm):
        called.append(arm.recipe.dtype)
        return {**rows[0], **bench.identify_case(arm)}

    monkeypatch.setattr(bench_folder, "measure", measure)
    run = lambda *flags: main(["bench", *TINY, *flags, "--out", str(tmp_path)])
    both = ("--strategies", "concat", "--lanes", "2", "--dtypes", "float32", "bfloat16")
    run(*both)
    assert (called, read_rows(path)) == ([], rows)
    path.write_text(json.dumps(rows[0]) + "\n")
    with pytest.raises(SystemExit, match="2"):
        run(*both)
    assert f"{path}: expected the file as it was written" in capsys.readouterr().err
    assert called == []
    (tmp_path / "manifest.json").unlink()  # as the error says
    (tmp_path / "bench.md").unlink()
    run(*both)
    assert called == ["bfloat16"]
    main(["verify", str(tmp_path)])
    assert f"ok          {tmp_path / 'bench.md'}" in capsys.readouterr().out
    run(*both, "--learning-rate", "0.1")  # another recipe
    assert called == ["bfloat16", "float32", "bfloat16"]


def make_row(strategy, share, **facts):
    row = {"strategy": strategy, "batch_size": 2, "dtype": "float32", "lanes": 1, "devices": 1}
    row |= {"how": "map"}
    row |= {"refused": "" if share else "too fast", "intensity": 3.0, "share": share}
    row |= {"gflops": (share or 2) * 100, "matmul_gflops": 100.0, "copy_gb_s": 20.0}
    return {**row, **facts}


def test_the_roofline_has_a_point_for_each_case_and_a_roof_for_each_machine():
    rows = [make_row("a$", 0.5), make_row("b", 0.25), make_row("a$", 0.1, dtype="bfloat16")]
    figure = roofline_figure([*rows, make_row("b", None)])
    lines = figure.axes[0].lines
    points = [line.get_xydata()[0].tolist() for line in lines if len(line.get_xdata()) == 1]
    assert points == [[3.0, 50.0], [3.0, 25.0], [3.0, 10.0]]
    roofs = [line.get_xydata() for line in lines if len(line.get_xdata()) == 3]
    assert len(roofs) == 2
    for x, y in np.concatenate(roofs):
        assert y == min(100.0, 20.0 * x)


def test_a_figure_of_no_case_can_be_drawn():
    assert not roofline_figure([make_row("a", None)]).axes[0].lines


def test_a_case_without_enough_memory_is_a_row(monkeypatch):
    def exhaust(*args):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory\nmore")

    monkeypatch.setattr(bench, "compile_recipe", exhaust)
    (arm,) = make_cases(SETTINGS, ["concat"])
    row = bench.measure(arm)
    assert (row["refused"], row["lanes"]) == ("RESOURCE_EXHAUSTED: out of memory", 5)
    assert "| concat | 20 | float32 | 5 | 1 | map | - | - |" in bench_markdown([row])


def test_cases_are_combined_with_meshes_that_divide_them(monkeypatch):
    monkeypatch.setattr(bench_folder, "make_mesh", lambda mesh: SimpleNamespace(shape=AXES[mesh]))
    sizes = {"batch_sizes": (15, 20), "lanes": (1, 2)}
    cases = make_cases(SETTINGS, ["concat"], **sizes, meshes=("seed=2", "data=2"))
    found = [(arm.recipe.batch_size, len(arm.recipe.seeds), arm.recipe.mesh) for arm in cases]
    assert found == [(15, 2, "seed=2"), (20, 1, "data=2"), (20, 2, "seed=2"), (20, 2, "data=2")]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (
            {"batch_sizes": (20, 121)},
            "batch_size: expected at most 120, the number of training rows",
        ),
        ({"meshes": ("seed=99",)}, "mesh: expected a mesh of the available devices"),
        ({"meshes": ("place=1",)}, "axis of a mesh: expected one of data, model, seed"),
        ({"dtypes": ("float16",)}, "dtype: expected one of bfloat16, float32"),
        ({"lanes": (0,)}, "seeds: expected at least 1"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(options, what):
    with pytest.raises(UsageError, match=what):
        make_cases(SETTINGS, ["concat"], **options)


def test_a_benchmark_of_no_case_is_refused(monkeypatch):
    monkeypatch.setattr(bench_folder, "make_mesh", lambda mesh: SimpleNamespace(shape=AXES[mesh]))
    with pytest.raises(UsageError, match="mesh: expected one that divides"):
        make_cases(SETTINGS, ["concat"], lanes=(1, 3), meshes=("seed=2",))


ON_TWO_DEVICES = """
import sys
from mmjax.analysis import peaks
from mmjax.cli import main

peaks._SIZES, peaks._FLOATS = (64,), 2**16
flags = ["bench", *sys.argv[1:], "--strategies", "a_only", "--lanes", "2"]
main([*flags, "--meshes", "seed=1", "seed=2", "data=2"])
main(flags)
"""


@pytest.mark.slow
def test_two_devices_are_measured_beside_one(tmp_path):
    command = [sys.executable, "-c", ON_TWO_DEVICES, *TINY, "--out", str(tmp_path)]
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "2"}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    rows = read_rows(tmp_path / "bench.jsonl")
    found = [(row["devices"], row["how"]) for row in rows]
    assert found == [(1, "seed=1"), (2, "seed=2"), (2, "data=2"), (2, "shard")]
    assert len({row["step_flops"] for row in rows}) == 1
    assert rows[1]["peak_bytes"] < rows[0]["peak_bytes"]  # of each device
    assert all(row["matmul_gflops"] > 0 and row["copy_gb_s"] > 0 for row in rows)
