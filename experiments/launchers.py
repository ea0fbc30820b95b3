"""Does it matter where the arms of a comparison run?

    python experiments/launchers.py --out runs/launchers

The same comparison in one process and through every launcher: processes on this machine, submitit,
which takes this machine where there is no SLURM, and Ray, which takes this machine unless
RAY_ADDRESS names a cluster. Every field of every row but ``seconds`` is held against that of the
one process, and every array of predictions bit by bit. cost.jsonl is left out: the times in it are
those of workers that share a machine.

The same command goes on where it was stopped. It takes four times what `mmjax compare --fusions
all` takes; with `--fusions concat,gmu --task synthetic --options size=200 --batch-size 20
--steps 20` two minutes on two CPU cores. Expected: no difference.
"""

import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import tyro

from mmjax.comparison.scores import versions
from mmjax.report.tables import markdown_table
from mmjax.runs.settings import Settings, as_flags
from mmjax.storage.jsonl import read_rows
from mmjax.storage.reading import read_npz

TABLES = ("rows", "history", "robustness", "representation", "weights")


@dataclass(frozen=True)
class Study:
    """What the command line sets.

    Attributes:
        out: folder for the comparisons and the summary.
        fusions: as `mmjax compare` takes them.
        launchers: those to be held against one process.
        workers: arms that run at once.
        settings: of the comparison.
    """

    out: Path
    fusions: str = "all"
    launchers: tuple[str, ...] = ("local", "submitit", "ray")
    workers: int = 2
    settings: Annotated[Settings, tyro.conf.arg(name="")] = field(default_factory=Settings)


def main(study: Study) -> None:
    """Compares, holds the comparisons against each other, writes the summary."""
    study.out.mkdir(parents=True, exist_ok=True)
    whole = compare(study, "process")
    lines = []
    for launcher in study.launchers:
        out = compare(study, launcher, "--launcher", launcher, "--workers", str(study.workers))
        arms = len(read_rows(out / "arms.jsonl"))
        found = (arms, *count_lines(whole, out), *count_predictions(whole, out))
        lines.append([launcher, *(f"{number:,}" for number in found)])
    text = _SUMMARY.format(
        table=markdown_table(_HEADS, lines),
        flags=_flags(study),
        workers=study.workers,
        versions=versions(),
    )
    (study.out / "summary.md").write_text(text, encoding="utf-8")
    print(text)


_HEADS = ("launcher", "arms", "lines", "that differ", "predictions", "that differ")


def compare(study: Study, name: str, *options: str) -> Path:
    """Runs a comparison, or goes on with it, in a process of its own as a user would."""
    out = study.out / name
    command = [sys.executable, "-m", "mmjax", "compare", *shlex.split(_flags(study)), "--resume"]
    subprocess.run([*command, "--out", str(out), *options], check=True)
    return out


def count_lines(one: Path, other: Path) -> tuple[int, int]:
    """The number of lines in the tables of two folders, and of those that are not the same."""
    pairs = [
        pair for name in TABLES for pair in zip_longest(_lines(one, name), _lines(other, name))
    ]
    return len(pairs), sum(a != b for a, b in pairs)


def count_predictions(one: Path, other: Path) -> tuple[int, int]:
    """The number of files with predictions, and of those that are not the same bit by bit."""
    names = {path.name for folder in (one, other) for path in (folder / "predictions").glob("*")}
    return len(names), sum(_arrays(one, name) != _arrays(other, name) for name in names)


def _lines(folder: Path, table: str) -> list[dict[str, Any]]:
    return [{**row, "seconds": None} for row in read_rows(folder / f"{table}.jsonl")]


def _arrays(folder: Path, name: str) -> dict[str, tuple[Any, ...]]:
    path = folder / "predictions" / name
    arrays = read_npz(path) if path.exists() else {}
    return {key: (x.dtype, x.shape, x.tobytes()) for key, x in arrays.items()}


def _flags(study: Study) -> str:
    return f"--fusions {study.fusions} {as_flags(study.settings)}".strip()


_SUMMARY = """# Does it matter where the arms of a comparison run?

{table}

Each launcher against one process: `mmjax compare {flags}`, {workers} workers. A line is one of
rows.jsonl, without its seconds, or of the history, robustness, representation or weights; a
prediction is a file with those of one arm, all seeds, validation and test.

{versions}.
"""


if __name__ == "__main__":
    main(tyro.cli(Study))
