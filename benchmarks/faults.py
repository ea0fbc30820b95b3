"""Does what is in a run folder survive kills, full disks, damage, and a second process?

Injects each kind of fault many times. It is survived if all that had been written can be read in
full, and the fault is mended or reported by one error that names the file; else something is lost.

    python benchmarks/faults.py --out runs/faults.jsonl

About half an hour on two CPU cores; a second call does what is not in the file yet. The last column
must be zero: else the exit code is 1.
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
from rich.console import Console

from mmjax.errors import DataError
from mmjax.runs.columns import COLUMNS, salvage_table
from mmjax.runs.damage import begin_changes
from mmjax.runs.folder import end_arm, finished_arms, write_predictions
from mmjax.runs.run_file import RunFile, read_run_file, write_run_file
from mmjax.runs.settings import Settings
from mmjax.runs.studies import read_studies
from mmjax.runs.verify import Finding, verify_run
from mmjax.storage.files import write_npz, write_text
from mmjax.storage.jsonl import append_rows, read_rows, write_rows
from mmjax.storage.locks import locked
from mmjax.storage.manifest import write_manifest
from mmjax.storage.reading import read_npz
from mmjax.training import checkpoint

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from folders import make_folder

SKILLS = {"a_only": 1.0, "b_only": 1.6, "gmu": 2.7}
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


def flipped_key(folder: Path, rng: np.random.Generator, times: int) -> Iterator[bool]:
    """Flips a bit of a key of a row; whoever reads it names the file and the line."""
    make_folder(folder, SKILLS)
    for index in range(times):
        name = ("rows", "history")[index % 2]
        path = folder / f"{name}.jsonl"
        before = path.read_bytes()
        lines = before.splitlines(keepends=True)
        number = int(rng.integers(len(lines)))
        written = json.loads(lines[number]) if name == "rows" else COLUMNS[name]
        key = str(rng.choice(list(written))).encode()
        spoilt = bytes([key[0] ^ 1]) + key[1:]
        lines[number] = lines[number].replace(b'"' + key + b'"', b'"' + spoilt + b'"', 1)
        path.write_bytes(b"".join(lines))
        place = f"{path}, line {number + 1}: "
        told = [str(fault) for fault in salvage_table(folder, name)[1]]
        told += [found.about for found in verify_run(folder) if found.state == "damaged"]
        try:
            read_studies([folder])
        except DataError as error:
            told.append(str(error))
        yield len(told) == 3 and all(text.startswith(place) for text in told)
        path.write_bytes(before)


def damaged_run(folder: Path, rng: np.random.Generator, times: int) -> Iterator[bool]:
    """Spoils a file of a run that is done, in one of five ways; verify names it, and it alone."""
    make_folder(folder, SKILLS)
    for name in ("summary.md", "report.html", "accuracy.png"):
        (folder / name).write_bytes(rng.bytes(1000))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    write_manifest(folder, files)
    for index in range(times):
        path = files[int(rng.integers(len(files)))]
        before = path.read_bytes()
        _spoil(path, index % 5, rng)
        yield [found.state == "damaged" for found in verify_run(folder)] == [
            other == path for other in files
        ] and _is_reported(path, verify_run(folder))
        path.write_bytes(before)


def _spoil(path: Path, how: int, rng: np.random.Generator) -> None:
    """Removes, empties, zeroes or shortens a file, or flips a bit of it."""
    content = bytearray(path.read_bytes())
    place = int(rng.integers(len(content)))
    if how == 4:
        content[place] ^= 1 << int(rng.integers(8))
    path.write_bytes([b"", b"", bytes(len(content)), content[:place], content][how])
    if how == 0:
        path.unlink()


def lost_notes(folder: Path, rng: np.random.Generator, times: int) -> Iterator[bool]:
    """Loses arms.jsonl of a run that was stopped; its tables stay until they are replaced."""
    make_folder(folder, SKILLS)
    for strategy in SKILLS:
        end_arm(folder, strategy)
    notes, console = (folder / "arms.jsonl").read_bytes(), Console(quiet=True)
    tables = {n: (folder / f"{n}.jsonl").read_bytes() for n in ("rows", "history")}
    for index in range(times):
        whole = finished_arms(folder) == list(SKILLS)
        (folder / "arms.jsonl").write_bytes(notes[: int(rng.integers(len(notes)))])
        if index % 2:
            (folder / "arms.jsonl").unlink()
        begin_changes(folder, {}, console)
        known = finished_arms(folder)  # of the others, nothing is believed and nothing removed
        same = all((folder / f"{n}.jsonl").read_bytes() == old for n, old in tables.items())
        yield whole and known == list(SKILLS)[: len(known)] and len(known) < len(SKILLS) and same
        (folder / "arms.jsonl").write_bytes(notes)


def killed_saving(folder: Path, rng: np.random.Generator, times: int) -> Iterator[bool]:
    """Kills a process that saves checkpoints, in a folder named [1] *?; the last one is whole."""
    like = {"kernel": np.zeros((100, 100), np.float32)}
    for index in range(times):
        out = folder / f"[{index}] *?"
        done = _kill(rng, "save", out)
        steps = sorted(out.glob("[0-9]*"), key=lambda path: int(path.name))
        kernel = checkpoint.restore(steps[-1], like).tree["kernel"]
        step = int(steps[-1].name)
        yield step in (done - 1, done) and bool((kernel == step).all())


def names_of_one_file(folder: Path, rng: np.random.Generator, times: int) -> Iterator[bool]:
    """Writes arrays under names that NumPy or a file system takes for others; all come back."""
    for index in range(times):
        names = ["file", "allow_pickle", "arr_0", "self", f"a{index}", f"A{index}"]
        arrays = {name: rng.normal(size=3) for name in rng.permutation(names).tolist()}
        write_npz(folder / "a.npz", arrays)
        yield _same(arrays, read_npz(folder / "a.npz"))


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
    "bit flipped in a key of a row": flipped_key,
    "file of a run that is done lost or spoilt": damaged_run,
    "notes of the arms that are done lost": lost_notes,
    "killed while saving a checkpoint": killed_saving,
    "arrays named as keywords of NumPy": names_of_one_file,
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
    """Injects all faults, but for kinds that the file has, and returns a row for each kind."""
    done = read_rows(benchmark.out) if benchmark.out and benchmark.out.exists() else []
    rows = {row["kind"]: row for row in done}
    for index, (kind, inject) in enumerate(FAULTS.items()):
        if kind in rows:
            continue
        rng = np.random.default_rng([benchmark.seed, index])
        with TemporaryDirectory() as folder:
            survived = list(inject(Path(folder), rng, benchmark.times))
        lost = survived.count(False)
        row = {"kind": kind, "injected": len(survived), "survived": sum(survived), "lost": lost}
        rows[kind] = row
        if benchmark.out:
            append_rows(benchmark.out, [row])
        print(f"{kind:<44}{len(survived):>8} injected{lost:>8} lost", flush=True)
    return [rows[kind] for kind in FAULTS]


if __name__ == "__main__":
    sys.exit(any(row["lost"] for row in main(tyro.cli(Benchmark))))
