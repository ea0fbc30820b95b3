"""Does what is in a run folder survive kills, full disks, damage, and a second process?

Injects each kind of fault many times. It is survived if all that had been written can be read in
full, and the fault is mended or reported by one error that names the file; else something is lost.

    python benchmarks/faults.py --out runs/faults.jsonl

About five minutes on two CPU cores. The last column must be zero: else the exit code is 1.
"""

import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tyro
from faults_worker import rows_of, text_of

from mmjax.files import locked, write_text
from mmjax.reading import read_npz
from mmjax.report.rows import append_rows, read_rows, write_rows
from mmjax.run_file import RunFile, read_run_file, write_run_file
from mmjax.runs.folder import write_predictions
from mmjax.settings import Settings
from mmjax.verify import Finding, verify_run

WORKER = Path(__file__).with_name("faults_worker.py")


@dataclass(frozen=True)
class Benchmark:
    """What the command line sets.

    Attributes:
        out: file that a JSON row is appended to for each kind of fault.
        times: how often each fault is injected; a line is torn at each of its bytes so often.
        seed: of the places and moments at which faults strike.
    """

    out: Path | None = None
    times: int = 200
    seed: int = 0


def torn_tail(folder: Path, rng: np.random.Generator, times: int) -> Iterator[bool]:
    """Cuts the last line short at every byte; reading passes over it, appending cuts it away."""
    path = folder / "rows.jsonl"
    for _ in range(times):
        rows = [{"strategy": "gmu", "seed": seed, "nll": rng.normal()} for seed in range(3)]
        write_rows(path, rows)
        content = path.read_bytes()
        start = content[:-1].rfind(b"\n") + 1
        for end in range(start, len(content)):
            path.write_bytes(content[:end])
            whole, torn = end == len(content) - 1, start < end < len(content) - 1
            left = rows if whole else rows[:-1]
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                found = read_rows(path)
                append_rows(path, rows[-1:])
            named = len(told) == 2 * torn and all(str(path) in str(w.message) for w in told)
            yield found == left and named and read_rows(path) == [*left, rows[-1]]


def killed_appending(folder: Path, rng: np.random.Generator, times: int) -> Iterator[bool]:
    """Kills a process that appends; there are all rows of each call that was done, none of half."""
    for index in range(times):
        path = folder / f"{index}.jsonl"
        done = _kill(rng, "append", path)
        calls = [[row for call in range(n) for row in rows_of("a", call)] for n in (done, done + 1)]
        found = read_rows(path)
        append_rows(path, [{"more": True}])
        yield found in calls and read_rows(path) == [*found, {"more": True}]


def killed_replacing(folder: Path, rng: np.random.Generator, times: int) -> Iterator[bool]:
    """Kills a process that writes a file over and over; the last text or the next one is there."""
    for index in range(times):
        path = folder / f"{index}.txt"
        done = _kill(rng, "replace", path)
        yield path.read_text() in (text_of("a", done - 1), text_of("a", done))


def appending_at_once(folder: Path, rng: np.random.Generator, times: int) -> Iterator[bool]:
    """Two processes append to one file; the rows of each call are there, in one piece."""
    for index in range(times):
        path = folder / f"{index}.jsonl"
        processes = [_start("append", path, name, 12) for name in "ab"]
        for process in processes:
            process.communicate()
        calls = list(dict.fromkeys((row["name"], row["call"]) for row in read_rows(path)))
        in_turn = [row for call in calls for row in rows_of(*call)]
        wanted = [(name, call) for name in "ab" for call in range(12)]
        yield read_rows(path) == in_turn and sorted(calls) == wanted


def wanting_one_folder(folder: Path, rng: np.random.Generator, times: int) -> Iterator[bool]:
    """Three processes want a folder at once; one gets it, the others say whose it is."""
    for index in range(times):
        out = folder / str(index)
        processes = [_start("hold", out) for _ in range(3)]
        said = [process.stdout.readline() for process in processes]
        refused = [line for line in said if str(out) in line and "has locked" in line]
        for process in processes:
            process.communicate()  # ends its standard input
        yield said.count("locked\n") == 1 and len(refused) == 2 and not list(out.iterdir())


def killed_holder(folder: Path, rng: np.random.Generator, times: int) -> Iterator[bool]:
    """Kills a process that has locked a folder; the next one takes it over at once."""
    for index in range(times):
        out = folder / str(index)
        process = _start("hold", out)
        process.stdout.readline()
        process.kill()
        process.communicate()
        left = (out / "lock").read_text()
        with locked(out):
            yield left != (out / "lock").read_text()


def full_disk(folder: Path, rng: np.random.Generator, times: int) -> Iterator[bool]:
    """Lets no file grow beyond a random byte: the error names it, and it is what it was."""
    path = folder / "rows.jsonl"
    append_rows(path, rows_of("a", 3))
    for _ in range(times):
        before, added = path.read_bytes(), rows_of("a", int(rng.integers(50)))
        size = len(before) + sum(len(json.dumps(row)) + 1 for row in added)
        try:
            with file_size_limit(int(rng.integers(size))):
                append_rows(path, added)
            yield False
        except OSError as error:
            yield str(path) in str(error) and path.read_bytes() == before


def flipped_arrays(folder: Path, rng: np.random.Generator, times: int) -> Iterator[bool]:
    """Flips a random bit of an .npz file; it is found, or the arrays are the same."""
    write_run_file(folder, RunFile(Settings(), ["gmu"]))
    logits = np.float32(rng.normal(size=(2, 20, 3)))
    write_predictions(folder, "gmu", {"seeds": np.arange(2), "valid": logits, "test": logits})
    path = folder / "predictions" / "gmu.npz"
    before = read_npz(path)
    for _ in _flips(path, rng, times):
        yield _is_reported(path, verify_run(folder)) or _same(before, read_npz(path))


def flipped_settings(folder: Path, rng: np.random.Generator, times: int) -> Iterator[bool]:
    """Flips a random bit of run.json; it is found."""
    write_run_file(folder, RunFile(Settings(), ["gmu"]))
    path = folder / "run.json"
    before = read_run_file(folder)
    for _ in _flips(path, rng, times):
        yield _is_reported(path, verify_run(folder)) or read_run_file(folder) == before


def no_permission(folder: Path, rng: np.random.Generator, times: int) -> Iterator[bool]:
    """Writes to a folder that may not be written to; an error names it, and all is as it was."""
    out = folder / "run"
    out.mkdir()
    append_rows(out / "rows.jsonl", rows_of("a", 3))
    before = _contents(out)
    for path, mode in ((folder, 0o755), (out, 0o555)):
        path.chmod(mode)
    writes = [
        lambda: append_rows(out / "rows.jsonl", rows_of("a", 4)),
        lambda: write_text(out / "run.json", "{}"),
        lambda: ExitStack().enter_context(locked(out)),
    ]
    for index in range(times):
        try:
            with _as_nobody():
                writes[index % len(writes)]()
            yield False
        except OSError as error:
            yield str(out) in str(error) and _contents(out) == before
    out.chmod(0o755)


FAULTS = {
    "last line torn": torn_tail,
    "killed while appending": killed_appending,
    "killed while replacing a file": killed_replacing,
    "two processes append at once": appending_at_once,
    "three processes want one folder": wanting_one_folder,
    "killed while holding a folder": killed_holder,
    "disk full": full_disk,
    "bit flipped in arrays": flipped_arrays,
    "bit flipped in run.json": flipped_settings,
    "folder without permission to write": no_permission,
}


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Lets the kernel stop this process in the middle of a write, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _start(*arguments: object) -> subprocess.Popen:
    command = [sys.executable, str(WORKER), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _kill(rng: np.random.Generator, verb: str, path: Path) -> int:
    """Kills a worker at a random moment; returns how many things it said it had done."""
    with _start(verb, path, "a", 10**6) as process:
        said = process.stdout.readline()
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        return (said + process.stdout.read()).count("\n")


def _flips(path: Path, rng: np.random.Generator, times: int) -> Iterator[None]:
    before = path.read_bytes()
    for bit in rng.integers(8 * len(before), size=times):
        damaged = bytearray(before)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        yield
    path.write_bytes(before)


def _is_reported(path: Path, findings: Sequence[Finding]) -> bool:
    return any(found.state == "damaged" and str(path) in found.about for found in findings)


def _same(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Root, whom no permission binds, is another user for a while; others stay who they are."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def main(benchmark: Benchmark) -> list[dict]:
    """Injects all faults, and returns a row for each kind."""
    rng, rows = np.random.default_rng(benchmark.seed), []
    for kind, inject in FAULTS.items():
        with TemporaryDirectory() as folder:
            survived = list(inject(Path(folder), rng, benchmark.times))
        lost = survived.count(False)
        row = {"kind": kind, "injected": len(survived), "survived": sum(survived), "lost": lost}
        rows.append(row)
        print(f"{kind:<36}{len(survived):>8} injected{lost:>8} lost", flush=True)
    if benchmark.out:
        append_rows(benchmark.out, rows)
    return rows


if __name__ == "__main__":
    sys.exit(any(row["lost"] for row in main(tyro.cli(Benchmark))))
