"""Does memory stay flat while the data grows, and what does streaming cost?

    pip install ".[grain]" && python benchmarks/streaming.py --out runs/streaming

Random rows in the shapes of handwritten and spoken digits (2.8 kB each), a convolutional model,
batches of 128. Sides: ``device``, all rows in memory; ``arrays`` and ``array_record``, streamed
from memory-mapped arrays, and from a prepared task. Each trains for an epoch in a new process, on
few rows and on ten times as many, for its peak memory; and all take turns, round after round, for
their speed. ``rows.jsonl`` has a row per measurement; benchmarks/streaming_page.py makes
docs/streaming.md of it.

Memory is RssAnon of /proc/PID/status, what the process has allocated, looked at every hundredth of
a second. Beside it stands RssFile: pages of mapped files, code among them, of which the system
takes back what it needs without writing anything.

About eight minutes on two CPU cores, which should have nothing else to do.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from mmjax_side import make_task
from rich.progress import track
from speed import device_name
from streaming_worker import BATCH
from workloads import Case

from mmjax.comparison.scores import versions
from mmjax.storage.jsonl import append_rows
from mmjax.tasks.arrays import save
from mmjax.tasks.tfds import prepare

HERE = Path(__file__).parent
SIDES = ("device", "arrays", "array_record")
GROWTH = 10
_SECONDS = 0.01  # between two looks at the memory


@dataclass(frozen=True)
class Benchmark:
    """What the command line sets.

    Attributes:
        out: folder for rows.jsonl.
        rows: training rows, the few.
        rounds: turns of each side.
    """

    out: Path
    rows: int = 20_000
    rounds: int = 9


def main(benchmark: Benchmark) -> None:
    """Measures memory, then speed."""
    benchmark.out.mkdir(parents=True, exist_ok=True)
    facts = {"device": device_name(), "versions": versions()}
    keep = lambda row: append_rows(benchmark.out / "rows.jsonl", [{**row, **facts}])
    with tempfile.TemporaryDirectory() as folder:
        sizes = (benchmark.rows, GROWTH * benchmark.rows)
        for rows in track(sizes, "memory"):
            write(Path(folder), rows)
            for side in SIDES:
                keep({"measured": "memory", "side": side, "rows": rows, **peak(folder, side, rows)})
        epochs = time_epochs(folder, benchmark.rows, benchmark.rounds)
        samples = benchmark.rows // BATCH * BATCH
        for side, seconds in epochs.items():
            row = {"measured": "speed", "side": side, "rows": benchmark.rows}
            keep({**row, "samples": samples, "seconds": seconds})


def write(folder: Path, rows: int) -> None:
    """Writes a task of so many training rows in both formats."""
    task = make_task(Case("train", "conv", rows=rows))
    save(task, folder / f"arrays-{rows}")
    prepare(task, folder / f"array_record-{rows}")


def start(folder: str, side: str, rows: int, stdin: int) -> subprocess.Popen:
    """Starts a side's worker."""
    kind = "array_record" if side == "array_record" else "arrays"
    command = [sys.executable, HERE / "streaming_worker.py", side, Path(folder, f"{kind}-{rows}")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), *sys.path])}
    return subprocess.Popen(
        command, stdin=stdin, stdout=subprocess.PIPE, text=True, env=environment
    )


def peak(folder: str, side: str, rows: int) -> dict[str, float]:
    """The most memory of a process that loads the task and trains for an epoch, in MiB."""
    process, most = start(folder, side, rows, subprocess.DEVNULL), {"anon": 0, "file": 0}
    while process.poll() is None:
        for name, now in memory(process.pid).items():
            most[name] = max(most[name], now)
        time.sleep(_SECONDS)
    said = json.loads(process.stdout.read().splitlines()[-1])
    return {f"peak_{name}_mib": round(kib / 1024, 1) for name, kib in most.items()} | said


def memory(pid: int) -> dict[str, int]:
    """Resident memory of a process in KiB: allocated, ``anon``, and of mapped files, ``file``."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.findall(r"Rss(Anon|File):\s+(\d+) kB", status)  # none of a process that has ended
    return {name.lower(): int(kib) for name, kib in found}


def time_epochs(folder: str, rows: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each side's epochs, one a round, all sides in turns."""
    workers = {side: start(folder, side, rows, subprocess.PIPE) for side in SIDES}
    try:
        for worker in workers.values():
            worker.stdout.readline()
        seconds = {side: [] for side in SIDES}
        for _ in track(range(rounds), "rounds"):
            for side, worker in workers.items():
                print(file=worker.stdin, flush=True)
                seconds[side].append(json.loads(worker.stdout.readline())["seconds"])
        return seconds
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
