"""Is mmjax faster than PyTorch, and than its own earlier self? Every claim as a ratio in one run.

    pip install ".[bench]" && python benchmarks/speed.py --out runs/speed

Each side works in a process of its own; all sides of a case take turns, round after round, so that
a machine that slows down slows all of them. Sides: ``mmjax``, without its C++ kernels;
``mmjax+kernels``; and PyTorch ``eager``, ``tuned`` and ``compile``, each with the memory allocator
as it comes and tuned (``+malloc``). ``rows.jsonl`` has a row per case and side; a benchmark that
was stopped goes on where it was. benchmarks/performance_page.py makes docs/performance.md of it.

Some hours on two CPU cores, which should have nothing else to do; ``--cases small digits`` takes
the comparisons only. benchmarks/gpu.sh runs it with ``--platform cuda``: other cases, on an NVIDIA
GPU.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from matplotlib import get_cachedir
from mmjax_side import save_compared
from rich.progress import track
from workloads import COMPARISONS, Case

from mmjax.comparison.scores import versions
from mmjax.layers.kernels.build import build
from mmjax.storage.jsonl import append_rows, read_rows

HERE = Path(__file__).parent
OURS = ("mmjax", "mmjax+kernels")
PEERS = ("eager", "tuned", "compile")
SIDES = (*OURS, *PEERS, *(f"{peer}+malloc" for peer in PEERS))
ENVIRONMENT = {
    "kernels": {"MMJAX_KERNELS": "1"},  # off without it
    # Large arrays stay with the process instead of going back to the system after each step.
    "malloc": {
        "MALLOC_MMAP_THRESHOLD_": "4294967296",
        "MALLOC_TRIM_THRESHOLD_": "8589934592",
        "MALLOC_TOP_PAD_": "134217728",
    },
    "cold": {},  # the cache of compiled programs, see measure_processes
    "warm": {},
}

# All sides at once would not fit in memory with more rows than these.
MANY_ROWS, FEW_SIDES = 100_000, ("mmjax", "eager", "tuned")

CASES = (
    *(Case("train", "conv", size) for size in (32, 128, 512)),
    Case("train", "conv", seeds=8),
    *(Case("train", f"{f}-{width}") for f in ("transformer", "bottleneck") for width in (64, 128)),
    *(Case("predict", "conv", size) for size in (32, 128, 512)),
    *(Case("predict", f"{f}-64") for f in ("transformer", "bottleneck")),
    Case("train", "conv", rows=600_000),
    Case("first", "conv"),
    Case("compare", "small"),
    Case("compare", "digits"),
)
CUDA_CASES = tuple(
    Case("train", model, batch_size, seeds, dtype=dtype, platform="cuda")
    for model, batch_size, dtype, seeds in product(
        ("conv", "transformer-64", "bottleneck-64"),
        (128, 1024),
        ("float32", "bfloat16"),
        (1, 8, 64),
    )
)
TINY = (
    Case("train", "conv", batch_size=4, rows=12),
    Case("train", "conv", batch_size=4, rows=12, seeds=2, dtype="bfloat16"),
    Case("predict", "transformer-8", batch_size=500, rows=1000),
    Case("first", "bottleneck-8", batch_size=4, rows=12),
    Case("compare", "tiny"),
    Case("compare", "tiny-small"),
)


@dataclass(frozen=True)
class Benchmark:
    """What the command line sets.

    Attributes:
        out: folder for rows.jsonl.
        sides: what is timed.
        rounds: turns of each side.
        seconds: what a turn takes at least.
        platform: where; it determines the cases.
        cases: what is done, or with which model, such as small digits; by default everything.
        tiny: a few rows and small batches, to see that everything runs.
    """

    out: Path
    sides: tuple[str, ...] = SIDES
    rounds: int = 9
    seconds: float = 1.0
    platform: Literal["cpu", "cuda"] = "cpu"
    cases: tuple[str, ...] = ()
    tiny: bool = False


def main(benchmark: Benchmark) -> None:
    """Times every case that has no rows yet, and appends its rows."""
    benchmark.out.mkdir(parents=True, exist_ok=True)
    path = benchmark.out / "rows.jsonl"
    done = {_key(row) for row in read_rows(path)} if path.exists() else set()
    chosen = CUDA_CASES if benchmark.platform == "cuda" else CASES
    if benchmark.tiny:
        chosen = [replace(case, platform=benchmark.platform) for case in TINY]
    cases = [case for case in chosen if _key(asdict(case)) not in done]
    if benchmark.cases:
        cases = [case for case in cases if {case.work, case.model} & set(benchmark.cases)]
    device = gpu_name() if benchmark.platform == "cuda" else device_name()
    facts = {"versions": f"{versions()}, torch {_torch_version()}", "device": device}
    for case in track(cases, "cases"):
        peaks = machine_peaks()
        measure = measure_turns if case.work in ("train", "predict") else measure_processes
        rows = measure(benchmark, case)
        append_rows(path, [{**asdict(case), **row, **peaks, **facts} for row in rows])


def _key(row: dict[str, Any]) -> tuple:
    return tuple(row.get(field.name, field.default) for field in fields(Case))


def _torch_version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return "not installed"


def device_name() -> str:
    """The processor and the number of its cores."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.exists() else []
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def gpu_name() -> str:
    """The first NVIDIA GPU."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]


def machine_peaks() -> dict[str, float]:
    """What the machine reaches now: float32 matrix product, and copy, read and write together."""
    square, block = np.ones((2048, 2048), np.float32), np.ones(1 << 26, np.float32)
    target = np.empty_like(block)
    matmul = min(_seconds(lambda: square @ square) for _ in range(9))
    copy = min(_seconds(lambda: np.copyto(target, block)) for _ in range(5))
    return {
        "matmul_gflops": round(2 * 2048**3 / matmul / 1e9, 1),
        "copy_gb_s": round(2 * block.nbytes / copy / 1e9, 1),
    }


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Worker:
    """A process that does one side's work on demand."""

    def __init__(self, side: str, case: Case) -> None:
        command, environment = worker_process(side, case)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=pipe, text=True, bufsize=1
        )
        self.side = side

    def wait(self) -> None:
        """Until all is compiled and has run once."""
        self._answer()

    def run(self, times: int) -> dict[str, float]:
        """Does the work so many times: ``seconds`` and ``peak_mib``."""
        self.process.stdin.write(f"{times}\n")
        return self._answer()

    def close(self) -> None:
        with self.process:  # closes both pipes, and waits
            pass

    def _answer(self) -> dict[str, float]:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.side} ended with exit code {self.process.wait()}")
        return json.loads(line)


def worker_process(side: str, case: Case) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a side's process."""
    name, *settings = side.split("+")
    environment = dict(
        os.environ,
        PYTHONPATH=str(HERE.parent),
        JAX_PLATFORMS=case.platform,
        MMJAX_KERNELS="0",
    )
    for setting in settings:
        environment |= ENVIRONMENT[setting]
    command = [sys.executable, str(HERE / "worker.py"), name, json.dumps(asdict(case))]
    return command, environment


def measure_turns(benchmark: Benchmark, case: Case) -> list[dict[str, Any]]:
    """A row for each side: ``seconds`` of one unit of the work in each round, ``peak_mib``."""
    workers = []
    try:
        for side in benchmark.sides:
            if case.rows <= MANY_ROWS or side in FEW_SIDES:
                workers.append(Worker(side, case))
        for worker in workers:
            worker.wait()
        often = {worker: _how_often(worker, benchmark.seconds) for worker in workers}
        turns = [{w: w.run(often[w]) for w in workers} for _ in range(benchmark.rounds)]
    finally:
        for worker in workers:
            worker.close()
    return [
        {
            "side": worker.side,
            "seconds": [turn[worker]["seconds"] / often[worker] for turn in turns],
            "peak_mib": turns[-1][worker]["peak_mib"],
        }
        for worker in workers
    ]


def _how_often(worker: Worker, seconds: float) -> int:
    return max(1, round(seconds / worker.run(1)["seconds"]))


def measure_processes(benchmark: Benchmark, case: Case) -> list[dict[str, Any]]:
    """A row for each side: ``seconds`` from the start of a process to its end, in each round.

    mmjax takes two turns in a round: ``cold`` with no compiled programs in its cache, and ``warm``
    with those of the turn before. The kernels, which a machine compiles once, are there for both,
    and so is Matplotlib's list of fonts, except in the first turn on a machine.
    """
    ours = [f"{o}+{start}" for o in OURS if o in benchmark.sides for start in ("cold", "warm")]
    peers = [side for side in ("eager", "tuned") if side in benchmark.sides]
    seconds, rows = defaultdict(list), benchmark.out / "rows.npz"
    if case.work == "compare":
        save_compared(COMPARISONS[case.model], rows)
    for _ in range(benchmark.rounds):
        with tempfile.TemporaryDirectory() as folder:
            if "mmjax+kernels" in benchmark.sides:
                shutil.copytree(build().parent, Path(folder, "mmjax+kernels", "mmjax", "kernels"))
            for side in ours + peers:
                command, environment = worker_process(side, case)
                if case.work == "compare" and side in peers:
                    command.append(str(rows))
                elif case.work == "compare" and COMPARISONS[case.model].task != "small":
                    command = _compare_command(case, Path(folder, "results", side))
                environment["MPLCONFIGDIR"] = get_cachedir()
                environment["XDG_CACHE_HOME"] = str(Path(folder, side.rpartition("+")[0]))
                run = partial(subprocess.run, command, env=environment, check=True)
                seconds[side].append(
                    _seconds(partial(run, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
                )
    return [{"side": side, "seconds": values} for side, values in seconds.items()]


def _compare_command(case: Case, out: Path) -> list[str]:
    """The default comparison of a task as a command, its page included."""
    task, fusions, seeds, steps, batch_size = COMPARISONS[case.model]
    command = [sys.executable, "-m", "mmjax", "compare", "--task", task, "--out", str(out)]
    command += ["--fusions", ",".join(fusions), "--seeds", str(seeds), "--steps", str(steps)]
    return [*command, "--batch-size", str(batch_size)]


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
