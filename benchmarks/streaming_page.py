"""Writes what benchmarks/streaming.py measured into docs/streaming.md: tables and a figure.

    python benchmarks/streaming_page.py runs/streaming --page docs/streaming.md

The text of the page is written by hand; what stands between its two markers is replaced.
"""

from pathlib import Path
from statistics import median
from typing import Any

import tyro
from matplotlib.figure import Figure
from page import fill
from workloads import make_arrays

from mmjax.errors import DataError
from mmjax.report.figures.scores_figure import save
from mmjax.report.tables import markdown_table
from mmjax.storage.jsonl import read_rows

BASE = "device"  # the side that the others are held against


def memory_table(rows: list[dict[str, Any]]) -> str:
    """Peak memory of each side, a line for each number of rows."""
    head = ["side", "training rows", "allocated, MiB", "mapped, MiB", "seconds to load"]
    lines = [
        [
            row["side"],
            f"{row['rows']:,}",
            f"{row['peak_anon_mib']:,.0f}",
            f"{row['peak_file_mib']:,.0f}",
            f"{row['load_seconds']:.1f}",
        ]
        for row in sorted(rows, key=lambda row: (row["side"] != BASE, row["side"], row["rows"]))
    ]
    return markdown_table(head, lines)


def growth_line(rows: list[dict[str, Any]]) -> str:
    """How much more each side allocates for more rows, beside what they are."""
    few, many = (pick(row["rows"] for row in rows) for pick in (min, max))
    peaks = {(row["side"], row["rows"]): row["peak_anon_mib"] for row in rows}
    growth = (
        f"{side} {peaks[side, many] - peaks[side, few]:,.0f} MiB"
        for side in dict.fromkeys(row["side"] for row in rows)
    )
    row_bytes = sum(array.nbytes for array in make_arrays(1, seed=0)[:2])
    more = (many - few) * row_bytes / 2**20
    held = f"{many - few:,} more rows hold {more:,.0f} MiB"
    return f"{held}; what is allocated grows by: {', '.join(growth)}."


def speed_table(rows: list[dict[str, Any]]) -> str:
    """Samples per second of each side, and their ratio to ``device`` in the same rounds."""
    (base,) = (row["seconds"] for row in rows if row["side"] == BASE)
    lines = []
    for row in rows:
        ratios = [b / s for b, s in zip(base, row["seconds"], strict=True)]
        speed = f"{row['samples'] / median(row['seconds']):,.0f}"
        spread = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        lines.append([row["side"], speed, spread])
    return markdown_table(["side", "samples per second", "times as fast as device"], lines)


def draw(rows: list[dict[str, Any]]) -> Figure:
    """Peak of the memory that each side has allocated, against the number of rows."""
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    for side in dict.fromkeys(row["side"] for row in rows):
        of_side = sorted((row["rows"], row["peak_anon_mib"]) for row in rows if row["side"] == side)
        axes.plot(*zip(*of_side, strict=True), "o-", label=side)
    axes.set(xlabel="training rows", ylabel="peak of allocated memory, MiB")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xticks(sorted({row["rows"] for row in rows}))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.legend(frameon=False)
    return figure


def main(runs: tyro.conf.Positional[Path], page: Path = Path("docs/streaming.md")) -> None:
    """Replaces the tables of the page, and its figure beside it.

    Raises:
        DataError: there are no rows, or the page has no place for the tables.
    """
    rows = read_rows(runs / "rows.jsonl")
    of = lambda measured: [row for row in rows if row["measured"] == measured]
    if not of("memory") or not of("speed"):
        raise DataError(runs / "rows.jsonl", expected="rows of benchmarks/streaming.py", got="none")
    origin = f"{rows[0]['device']}; {rows[0]['versions']}."
    memory, speed = of("memory"), of("speed")
    parts = [origin, memory_table(memory), growth_line(memory), speed_table(speed)]
    fill(page, "\n\n".join(parts))
    save(draw(memory), page.with_suffix(".png"))


if __name__ == "__main__":
    tyro.cli(main)
