"""Each kind of fault that benchmarks/faults.py injects, a few times."""

import os
import shutil
import subprocess

import numpy as np
import pytest
from faults import FAULTS, Benchmark, file_size_limit
from faults import main as inject_all
from representatives import representatives

from mmjax.cli import main
from mmjax.storage.jsonl import append_rows, read_rows

# Of what processes do to one another.
PROCESSES = [kind for kind in FAULTS if kind.startswith(("killed", "two", "three"))]


@pytest.mark.parametrize("kind", representatives(FAULTS, FAULTS.keys() - PROCESSES))
def test_nothing_is_lost(kind, tmp_path):
    survived = list(FAULTS[kind](tmp_path, np.random.default_rng(0), 3))
    assert len(survived) >= 3
    assert all(survived)


@pytest.mark.slow
def test_the_benchmark_writes_a_row_for_each_kind(tmp_path):
    out = tmp_path / "faults.jsonl"
    rows = inject_all(Benchmark(out, times=1))
    assert read_rows(out) == rows
    assert [row["kind"] for row in rows] == list(FAULTS)
    assert all(row["injected"] == row["survived"] > 0 == row["lost"] for row in rows)


def test_a_full_disk_ends_the_command_with_one_line(tmp_path, capsys):
    out = tmp_path / "run"
    tiny = ["--task", "synthetic", "--options", "size=600", "--steps", "3"]
    with pytest.raises(SystemExit) as end, file_size_limit(1200):  # enough for run.json
        main(["compare", *tiny, "--out", str(out)])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{out / 'labels.npz'}: File too large, the file was not changed." in error
    assert [path.name for path in out.iterdir()] == ["run.json"]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs a small disk")
def test_rows_on_a_disk_that_is_really_full(tmp_path):
    options = ["-t", "tmpfs", "-o", "size=64k", "mmjax"]
    if subprocess.run(["mount", *options, str(tmp_path)], capture_output=True).returncode:
        pytest.skip("this user may not mount a disk")
    path, written = tmp_path / "rows.jsonl", []

    def fill():
        for row in range(1000):
            append_rows(path, [{"row": row, "text": "x" * 100}])
            written.append(row)

    try:
        with pytest.raises(
            OSError, match=r"No space left on device, the file was not changed: .*rows"
        ):
            fill()
        assert written
        assert [row["row"] for row in read_rows(path)] == written
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
