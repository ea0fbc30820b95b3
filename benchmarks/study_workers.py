"""Two workers share a study, and one of them is killed: does every trial come to its end?

    python benchmarks/study_workers.py --out runs/study_workers

Both run `mmjax tune` in the same folder. One is killed by SIGKILL while it trains. The other goes
on alone and, once the silence has lasted, trains again what the killed one had. The row appended
to workers.jsonl in the folder counts trials; the table shows who has trained what.
"""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from mmjax.runs.search.database import import_optuna
from mmjax.storage.jsonl import append_rows, read_rows


@dataclass(frozen=True)
class Benchmark:
    """What the command line sets.

    Attributes:
        out: new folder for the study.
        trials: of the study.
        lanes: trials that train as one program.
        beat: seconds between two signs of life of a worker.
        grace: seconds of silence after which a worker is taken for dead.
        fusions: that trials choose among.
        task: name of the task.
        options: of the task, as NAME=VALUE.
        steps: train steps of a trial.
        storage: URL of a database, in place of a file in the folder.
    """

    out: Path
    trials: int = 16
    lanes: int = 2
    beat: int = 10
    grace: int = 60
    fusions: str = "concat,sum,gmu"
    task: str = "digits"
    options: tuple[str, ...] = ()
    steps: int = 200
    storage: str | None = None


def main(benchmark: Benchmark) -> dict:
    """Starts two workers, kills one, waits for the other; appends a row, prints a table."""
    with _start(benchmark) as killed, _start(benchmark) as other:
        try:
            _stop_within_a_trial(benchmark, killed)
            killed.kill()
            start = time.monotonic()
            printed, _ = other.communicate()
        finally:
            killed.kill()
            other.kill()
    if other.returncode:
        raise SystemExit(printed)
    rows = read_rows(benchmark.out / "trials.jsonl")
    row = _count(rows, killed.pid, benchmark)
    row["seconds_after_the_kill"] = round(time.monotonic() - start, 1)
    append_rows(benchmark.out / "workers.jsonl", [row])
    Console().print(_table(rows, killed.pid), row)
    return row


def _start(benchmark: Benchmark) -> subprocess.Popen:
    args = ["tune", "--resume", "--out", str(benchmark.out), "--options", *benchmark.options]
    for name in ("trials", "lanes", "fusions", "task", "steps"):
        args += [f"--{name}", str(getattr(benchmark, name))]
    if benchmark.storage:
        args += ["--storage", benchmark.storage]
    code = (
        "from mmjax.cli import main; from mmjax.runs.search import database as storage\n"
        f"storage.BEAT_SECONDS, storage.GRACE_SECONDS = {benchmark.beat}, {benchmark.grace}\n"
        f"main({args})"
    )
    shown = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], **shown)


def _stop_within_a_trial(benchmark: Benchmark, worker: subprocess.Popen) -> None:
    """Returns with the worker stopped, and one of its trials not ended."""
    optuna = import_optuna()  # which takes a while, in which much would be trained
    printed = worker.stdout.readline()
    url = benchmark.storage or f"sqlite:///{(benchmark.out / 'study.db').resolve()}"
    study = optuna.load_study(study_name=benchmark.out.name, storage=url)
    while worker.poll() is None:
        if _trains(study, worker):
            worker.send_signal(signal.SIGSTOP)  # else it could end the trial before it is killed
            try:
                if _trains(study, worker):
                    return
            except optuna.exceptions.StorageInternalError:
                pass  # stopped while it had the lock of the database
            worker.send_signal(signal.SIGCONT)
        time.sleep(0.01)
    raise SystemExit(f"the worker has ended too early: {printed}{worker.stdout.read()}")


def _trains(study, worker: subprocess.Popen) -> bool:
    trials = study.get_trials(deepcopy=False)
    own = [trial for trial in trials if _is_of(trial.user_attrs, worker.pid)]
    return "RUNNING" in {trial.state.name for trial in own}


def _is_of(facts: dict, pid: int) -> bool:
    return str(facts.get("worker")).endswith(f":{pid}")


def _count(rows: Sequence[dict], killed: int, benchmark: Benchmark) -> dict:
    states = Counter(row["state"] for row in rows)
    left = [row["trial"] for row in rows if row["state"] == "fail" and _is_of(row, killed)]
    again = {row["retry_of"] for row in rows if row["state"] in ("complete", "pruned")}
    return {
        "trials": benchmark.trials,
        "complete": states["complete"],
        "pruned": states["pruned"],
        "left_by_the_killed": len(left),
        "of_these_trained_again": len(again & set(left)),
        "versions": rows[0]["versions"],
    }


def _table(rows: Sequence[dict], killed: int) -> Table:
    table = Table("trial", "state", "retry of", "fusion", "accuracy %", "worker")
    for row in sorted(rows, key=lambda row: row["trial"]):
        accuracy = "" if row["accuracy"] is None else f"{100 * row['accuracy']:.2f}"
        retry = "" if row["retry_of"] is None else str(row["retry_of"])
        worker = "killed" if _is_of(row, killed) else "other"
        table.add_row(str(row["trial"]), row["state"], retry, row["fusion"], accuracy, worker)
    return table


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
