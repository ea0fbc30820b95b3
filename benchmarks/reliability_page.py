"""Writes what faults, bad inputs and kills have done into docs/reliability.md.

    python benchmarks/faults.py --out runs/reliability/faults.jsonl
    python benchmarks/bad_inputs.py --out runs/reliability/bad_inputs.jsonl
    python benchmarks/kills.py --out runs/reliability/kills.jsonl
    python benchmarks/reliability_page.py runs/reliability --page docs/reliability.md

The text of the page is written by hand; what stands between its two markers is replaced.
"""

from pathlib import Path

import tyro
from page import fill

from mmjax.comparison.scores import versions
from mmjax.report.tables import markdown_table
from mmjax.storage.jsonl import read_rows

TABLES = {
    "faults": ("kind", "injected", "survived", "lost"),
    "bad_inputs": ("kind", "tried", "clear_error", "accepted", "other"),
    "kills": ("kind", "rounds", "identical", "first_step", "last_step"),
}
WORDS = {
    "faults": """\
Faults: each is injected many times, and survived if all that had been written can be read in full,
and the fault is mended or reported by one error that names the file.""",
    "bad_inputs": """\
Bad inputs: files that must be refused, and good ones spoilt at random. Accepted: what is left is a
valid file still. Other: an error that is not mmjax's, ten seconds, or too much memory.""",
    "kills": """\
Kills: a training of 120 steps is killed at random moments and gone on with. Identical: parameters,
optimiser, metrics and keys are, bit by bit, those of a run that nobody disturbed. First and last
step: those of the earliest and the latest checkpoint that a killed process left.""",
}
"""What stands before each table."""


def main(runs: tyro.conf.Positional[Path], page: Path = Path("docs/reliability.md")) -> None:
    """Replaces the tables of the page with those of the rows in a folder."""
    tables = [
        f"{WORDS[name]}\n\n{_table(runs / f'{name}.jsonl', columns)}"
        for name, columns in TABLES.items()
        if (runs / f"{name}.jsonl").exists()
    ]
    fill(page, "\n\n".join([f"{versions()}.", *tables]))


def _table(path, columns):
    rows = read_rows(path)
    lines = [[_cell(row.get(name)) for name in columns] for row in rows]
    return markdown_table([name.replace("_", " ") for name in columns], lines)


def _cell(value):
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    tyro.cli(main)
