"""Writes what benchmarks/speed.py measured into docs/performance.md: tables and a figure.

    python benchmarks/performance_page.py runs/speed --page docs/performance.md

The text of the page is written by hand; what stands between its two markers is replaced.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import tyro
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from page import fill
from workloads import FLOPS, Case

from mmjax.errors import DataError
from mmjax.report.figures.scores_figure import save
from mmjax.report.tables import markdown_table
from mmjax.storage.jsonl import read_rows

OURS = ("mmjax", "mmjax+kernels")


class Row(NamedTuple):
    """One side of a case.

    Attributes:
        case: what it did.
        side: who did it.
        seconds: of one unit of work in each round.
        facts: the whole row.
    """

    case: Case
    side: str
    seconds: tuple[float, ...]
    facts: dict[str, Any]


class Ratio(NamedTuple):
    """How many times as fast as another side: median, least and most of the rounds."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Target:
    """A ratio that is to be reached: ours against a peer's, in one case."""

    case: Case
    peer: str
    ratio: float


_BASE = Case("train", "conv")
TARGETS = (
    Target(_BASE, "eager", 2.2),
    Target(_BASE, "tuned", 1.5),
    Target(_BASE, "tuned+malloc", 1.4),
    Target(Case("train", "conv", 512), "tuned+malloc", 1.4),
    Target(Case("train", "conv", seeds=8), "eager", 2.2),
    *(
        Target(Case("train", f"{fusion}-{width}"), "eager", target)
        for fusion in ("transformer", "bottleneck")
        for width, target in ((64, 1.5), (128, 1.2))
    ),
    Target(Case("predict", "conv"), "tuned", 1.3),
)
# Of whole processes, against eager.
START_TARGETS = {
    Case("first", "conv"): {"cold": 1.2, "warm": 2.0},
    Case("compare", "small"): {"cold": 1.0, "warm": 2.0},
    Case("compare", "digits"): {"cold": 1.5, "warm": 2.5},
}
START_NAMES = {
    Case("first", "conv"): "first result",
    Case("compare", "small"): "comparison of 40 rows",
    Case("compare", "digits"): "mmjax compare on digits",
}
MEMORY_TARGET = 1.2  # at most so many times the peak of eager


def read(path: Path) -> list[Row]:
    """The rows of a benchmark, in its order; those older than a field have its default."""
    names = [field.name for field in fields(Case)]
    return [
        Row(Case(**{n: row[n] for n in names if n in row}), row["side"], tuple(row["seconds"]), row)
        for row in read_rows(path)
    ]


def ratio(ours: Row, theirs: Row) -> Ratio:
    """Ratio of the speeds in the same rounds."""
    each = [b / a for a, b in zip(ours.seconds, theirs.seconds, strict=True)]
    return Ratio(median(each), min(each), max(each))


def describe(case: Case) -> str:
    """A case in words."""
    what = {"train": "training", "predict": "prediction", "first": "first result"}[case.work]
    parts = [what, case.model, f"batch {case.batch_size}"]
    parts += [f"{case.seeds} seeds"] if case.seeds > 1 else []
    parts += [f"{case.rows:,} rows"] if case.rows != _BASE.rows else []
    return ", ".join(parts)


def _table(head: list[str], lines: list[list[str]]) -> str:
    """A table, or nothing without lines."""
    return markdown_table(head, lines) if lines else ""


def target_table(rows: dict[tuple[Case, str], Row]) -> str:
    """Every target with what was reached, without and with the kernels; bold where it is met."""
    lines = []
    for target in TARGETS:
        if (target.case, target.peer) not in rows:
            continue
        cells = [f"{describe(target.case)}, against {target.peer}", f"{target.ratio}"]
        lines.append(cells + [_reached(rows, target, ours) for ours in OURS])
    return _table(["mmjax is so many times as fast", "target", *OURS], lines)


def _reached(rows: dict[tuple[Case, str], Row], target: Target, ours: str) -> str:
    if (target.case, ours) not in rows:
        return "-"
    found = ratio(rows[target.case, ours], rows[target.case, target.peer])
    return f"**{found}**" if found.middle >= target.ratio else str(found)


def speed_table(rows: dict[tuple[Case, str], Row]) -> str:
    """Samples per second of every side in every case of training and prediction."""
    sides = list(dict.fromkeys(side for case, side in rows if case.work in ("train", "predict")))
    cases = dict.fromkeys(case for case, _ in rows if case.work in ("train", "predict"))
    lines = []
    for case in cases:
        values = [rows.get((case, side)) for side in sides]
        speed = lambda row, case=case: f"{case.samples / median(row.seconds):,.0f}"
        lines.append([describe(case), *(speed(row) if row else "-" for row in values)])
    return _table(["samples per second", *sides], lines)


def memory_table(rows: dict[tuple[Case, str], Row]) -> str:
    """Peak memory of each side, how it grows with the data, and ours in units of eager's."""
    cases = [case for case in dict.fromkeys(c for c, _ in rows) if case.work == "train"]
    cases = [c for c in cases if c.model == "conv" and c.batch_size == 128 and c.seeds == 1]
    sides = list(dict.fromkeys(side for case, side in rows if case in cases))
    lines = []
    for case in cases:
        peaks = {s: rows[case, s].facts["peak_mib"] for s in sides if (case, s) in rows}
        cells = [f"{peaks[s]:,}" if s in peaks else "-" for s in sides]
        shares = (f"{peaks[o] / peaks['eager']:.2f}" for o in OURS if {o, "eager"} <= set(peaks))
        lines.append([describe(case), *cells, f"{MEMORY_TARGET}", ", ".join(shares)])
    return _table(["peak memory, MiB", *sides, "target", "ours / eager"], lines)


def start_table(rows: dict[tuple[Case, str], Row]) -> str:
    """Wall time of whole processes, and how many times as fast as PyTorch they are."""
    lines = []
    for (case, side), row in rows.items():
        if case not in START_NAMES:
            continue
        spread = f"{min(row.seconds):.1f} to {max(row.seconds):.1f}"
        against, target = "", START_TARGETS[case].get(side.rpartition("+")[2])
        if target and (case, "eager") in rows:
            found = ratio(row, rows[case, "eager"])
            against = f"**{found}**" if found.middle >= target else str(found)
        middle = f"{median(row.seconds):.1f}"
        lines.append([START_NAMES[case], side, middle, spread, f"{target or ''}", against])
    return _table(
        ["from a new process", "side", "seconds", "range", "target", "against eager"], lines
    )


def share_line(rows: dict[tuple[Case, str], Row]) -> str:
    """How much of the matrix-product peak training reaches."""
    found = {side: rows[_BASE, side] for side in OURS if (_BASE, side) in rows}
    if not found:
        return ""
    parts = []
    for side, row in found.items():
        done = FLOPS * _BASE.samples / median(row.seconds) / 1e9
        parts.append(f"{side} {done / row.facts['matmul_gflops']:.0%}")
    peak = next(iter(found.values())).facts
    return (
        f"Matrix product {peak['matmul_gflops']:.0f} GFLOP/s and copy {peak['copy_gb_s']:.0f} GB/s "
        f"beside it; training at batch 128 reaches of the former: {', '.join(parts)}."
    )


def draw(rows: dict[tuple[Case, str], Row]) -> Figure:
    """Each target as a tick, what was reached as a point with the range of the rounds."""
    shown = [t for t in TARGETS if (t.case, t.peer) in rows]
    figure = Figure(figsize=(8, 0.5 + 0.4 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for y, target in enumerate(shown):
        for o, marker in zip(OURS, "os", strict=True):
            if (target.case, o) in rows:
                r = ratio(rows[target.case, o], rows[target.case, target.peer])
                color = f"C{OURS.index(o)}"
                label = o if y == 0 else None
                axes.plot([r.low, r.high], [y, y], color=color, alpha=0.5)
                axes.plot(r.middle, y, marker, color=color, label=label)
        axes.plot(target.ratio, y, "k|", markersize=14, label="target" if y == 0 else None)
    axes.axvline(1, color="gray", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [f"{describe(t.case)}: {t.peer}" for t in shown])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("times as fast as the peer (log scale)")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def main(runs: tyro.conf.Positional[Path], page: Path = Path("docs/performance.md")) -> None:
    """Replaces the tables of the page, device by device, and the figure of the first beside it.

    Raises:
        DataError: there are no rows, or the page has no place for the tables.
    """
    by_device: dict[str, dict[tuple[Case, str], Row]] = {}
    for row in read(runs / "rows.jsonl"):
        by_device.setdefault(row.facts["device"], {})[row.case, row.side] = row
    if not by_device:
        raise DataError(runs / "rows.jsonl", expected="rows of benchmarks/speed.py", got="none")
    fill(page, "\n\n".join(map(_section, by_device.values())))
    save(draw(next(iter(by_device.values()))), page.with_suffix(".png"))


def _section(rows: dict[tuple[Case, str], Row]) -> str:
    facts = next(iter(rows.values())).facts
    makers = (target_table, share_line, speed_table, start_table, memory_table)
    tables = filter(None, (make(rows) for make in makers))
    return "\n\n".join([f"### {facts['device']}", f"{facts['versions']}.", *tables])


if __name__ == "__main__":
    tyro.cli(main)
