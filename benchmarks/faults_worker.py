"""The process that benchmarks/faults.py kills, or lets compete with others of its kind.

    python benchmarks/faults_worker.py append FILE NAME CALLS
    python benchmarks/faults_worker.py replace FILE NAME CALLS
    python benchmarks/faults_worker.py save FOLDER NAME CALLS
    python benchmarks/faults_worker.py hold FOLDER

Prints a line after each thing that it has done. But for `save` it imports no JAX, so that
hundreds can be started.
"""

import shutil
import sys
from pathlib import Path

from mmjax.errors import UsageError
from mmjax.storage.files import write_text
from mmjax.storage.jsonl import append_rows
from mmjax.storage.locks import locked


def rows_of(name: str, call: int) -> list[dict]:
    """What a call of ``append`` adds: from one short row to fifty long ones."""
    size = 1 + call * 7 % 50
    return [{"name": name, "call": call, "row": row, "text": "x" * size} for row in range(size)]


def text_of(name: str, call: int) -> str:
    """What a call of ``replace`` writes: up to 200 kB."""
    return f"{name} {call}\n" * (1 + call * 7919 % 20_000)


def append(path: str, name: str, calls: str) -> None:
    """Appends the rows of one call after another."""
    for call in range(int(calls)):
        append_rows(Path(path), rows_of(name, call))
        print(call, flush=True)


def replace(path: str, name: str, calls: str) -> None:
    """Writes one text after another to the same file."""
    for call in range(int(calls)):
        write_text(Path(path), text_of(name, call))
        print(call, flush=True)


def save(folder: str, name: str, calls: str) -> None:
    """Saves one checkpoint after another, each in place of the one before the last."""
    import numpy as np

    from mmjax.training import checkpoint

    for call in range(int(calls)):
        checkpoint.save(Path(folder, str(call)), {"kernel": np.full((100, 100), call, np.float32)})
        shutil.rmtree(Path(folder, str(call - 2)), ignore_errors=True)
        print(call, flush=True)


def hold(folder: str) -> None:
    """Locks a folder until the standard input ends, or prints why it cannot."""
    try:
        with locked(Path(folder)):
            print("locked", flush=True)
            sys.stdin.read()
    except UsageError as error:
        print(error, flush=True)


if __name__ == "__main__":
    {"append": append, "replace": replace, "save": save, "hold": hold}[sys.argv[1]](*sys.argv[2:])
