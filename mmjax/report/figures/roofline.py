"""Results of a benchmark: a table and a roofline figure."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from rich.box import SIMPLE_HEAD
from rich.table import Table

from mmjax.comparison.scores import Row
from mmjax.report.figures.style import PALETTE, Figure, legend_below, plain_text
from mmjax.report.tables import markdown_table

_COLUMNS = {
    "strategy": "{strategy}",
    "batch": "{batch_size}",
    "type": "{dtype}",
    "lanes": "{lanes}",
    "devices": "{devices}",
    "how": "{how}",
    "compile s": "{compile_seconds:.1f}",
    "step ms": "{step_ms:.3g}",
    "quartiles": "{step_ms_low:.3g} to {step_ms_high:.3g}",
    "samples/s": "{samples_per_second:,.0f}",
    "GFLOP/s": "{gflops:,.1f}",
    "peak GFLOP/s": "{matmul_gflops:,.0f}",
    "share >=": "{share:.1%}",
    "MiB": "{mib:,.1f}",
}
_TOO_WIDE = ("devices", "quartiles", "GFLOP/s", "peak GFLOP/s")  # for a terminal
_MARKERS = "osD^v"


def bench_table(rows: Sequence[Row]) -> Table:
    """The rows as the terminal shows them, with a dash for missing values."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown = [name for name in _COLUMNS if name not in _TOO_WIDE]
    for name in shown:
        table.add_column(name, justify="right", no_wrap=name in ("strategy", "type"))
    for row in rows:
        table.add_row(*(_cell(row, name) for name in shown))
    return table


def bench_markdown(rows: Sequence[Row]) -> str:
    """The same table in Markdown, and below it the refused cases.

    Example:
        >>> case = {"strategy": "sum", "batch_size": 8, "dtype": "float32", "lanes": 2}
        >>> table = bench_markdown([{**case, "how": "map", "refused": "out of memory"}])
        >>> print(table.splitlines()[-1])
        Refused: sum, batch 8, float32, 2 lanes, map: out of memory.
    """
    lines = [[_cell(row, name) for name in _COLUMNS] for row in rows]
    table = markdown_table(list(_COLUMNS), lines)
    return "\n\n".join([table, *refusals(rows)]) + "\n"


def refusals(rows: Sequence[Row]) -> list[str]:
    """A sentence for each row without a share."""
    name = "{strategy}, batch {batch_size}, {dtype}, {lanes} lanes, {how}"
    return [f"Refused: {name.format(**row)}: {row['refused']}." for row in rows if row["refused"]]


def _cell(row: Row, column: str) -> str:
    known = {name: value for name, value in row.items() if value is not None}
    if "peak_bytes" in known:
        known["mib"] = known["peak_bytes"] / 2**20
    try:
        return _COLUMNS[column].format(**known)
    except KeyError:
        return "-"


@plain_text
def roofline_figure(rows: Sequence[Row]) -> Figure:
    """Operations per second against operations per byte, below the roof of the devices.

    Each strategy has a colour; each dtype and number of devices has a marker and a roof, the
    highest that was measured. Refused cases have no point.
    Reference: Williams et al., Roofline (Communications of the ACM 52, 2009).
    """
    known = [row for row in rows if row.get("share") is not None]
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log")
    machines = list(dict.fromkeys((row["dtype"], row["devices"]) for row in known))
    strategies = list(dict.fromkeys(row["strategy"] for row in known))
    for row in known:
        machine = machines.index((row["dtype"], row["devices"]))
        color = PALETTE[strategies.index(row["strategy"]) % len(PALETTE)]
        axes.plot(row["intensity"], row["gflops"], _MARKERS[machine % len(_MARKERS)], color=color)
    for index, (dtype, devices) in enumerate(machines):
        members = [row for row in known if (row["dtype"], row["devices"]) == (dtype, devices)]
        label = f"{dtype}, {devices} device{'s' * (devices > 1)}"
        _draw_roof(axes, members, label, _MARKERS[index % len(_MARKERS)])
    for index, strategy in enumerate(strategies):
        axes.plot([], [], "s", color=PALETTE[index % len(PALETTE)], label=strategy)
    axes.set_xlabel("arithmetic intensity of a train step (FLOP/byte)")
    axes.set_ylabel("GFLOP/s")
    axes.grid(alpha=0.3)
    if known:
        legend_below(figure)
    return figure


def _draw_roof(axes: Axes, rows: Sequence[Row], label: str, marker: str) -> None:
    """The lower of the memory and the arithmetic bound, over the range of all points."""
    matmul = max(row["matmul_gflops"] for row in rows)
    copy = max(row["copy_gb_s"] for row in rows)
    corner = matmul / copy
    known = [corner, *(row["intensity"] for row in rows)]
    x = np.array([min(known) / 4, corner, max(known) * 4])
    y = np.minimum(matmul, copy * x)
    axes.plot(x, y, color="black", lw=0.8, marker=marker, markevery=[1], mfc="white", label=label)
