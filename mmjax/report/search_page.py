"""Output of a hyperparameter search: progress, the best trials, a page."""

import base64
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mmjax.analysis.summary import Rows
from mmjax.metrics import METRICS, metric_of
from mmjax.report.page import render
from mmjax.report.progress import time_left
from mmjax.storage.files import write_text

_STATES = ("complete", "pruned", "fail")
_FACTS = ("metric", "nll", "rows", "best_step", "retry_of", "error", "worker", "versions")
"""Columns of trials.jsonl that tables omit."""


class TrialsProgress:
    """A live bar over all trials of a study, and a line for each trial that this process completes.

    The remaining time is the mean time per trial completed since the start, by any process, times
    the trials to come.
    """

    def __init__(self, done: int, total: int, console: Console) -> None:
        self._before, self._total = done, total
        self._start = time.monotonic()
        self._bar = Progress(
            TextColumn("trials"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total, completed=done)

    def __enter__(self) -> "TrialsProgress":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def on_trial(self, row: Mapping[str, Any], done: int) -> None:
        """Call when a trial has ended, with the number of all trials that have."""
        left = time_left(self._start, done - self._before, self._total - self._before)
        metric = metric_of(row)
        score = "" if row[metric.name] is None else metric.show(row[metric.name])
        state = row["error"] or row["state"]
        self._bar.console.print(
            f"trial {row['trial']:<4} {row['fusion']:<20}{score:>9}  {state}"
            f"   {done} of {self._total}, {left} left",
            soft_wrap=True,
        )
        self._bar.update(self._task, completed=done)


def _columns(rows: Rows) -> list[str]:
    """Columns of a table of trials, including every parameter that any of them has."""
    names = dict.fromkeys(name for row in rows for name in row if name not in _FACTS)
    return [*(name for name in names if name != "seconds"), "seconds"]


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in METRICS:
        return METRICS[name].format(value)
    if name == "seconds":
        return f"{value:.1f}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def trials_table(rows: Rows, title: str) -> Table:
    """The trials as the terminal shows them, in the order given."""
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    table.add_column("trial", justify="right")
    score = metric_of(rows[0]).name
    table.add_column(metric_of(rows[0]).head, justify="right", no_wrap=True)
    table.add_column("fusion", overflow="fold")
    table.add_column("parameters")
    named = ("trial", score, "fusion")
    others = [name for name in _columns(rows) if name not in (*named, "state", "seconds")]
    for row in rows:
        cells = {name: _cell(name, row.get(name)) for name in (*named, *others)}
        shown = ", ".join(f"{n.replace('_', ' ')} {cells[n]}" for n in others if cells[n])
        table.add_row(*(cells[name] for name in named), shown)
    return table


def write_trials_report(
    out: Path, title: str, rows: Rows, command: str, plots: Mapping[str, str]
) -> None:
    """Writes a self-contained page.

    Args:
        out: folder with the plots, where report.html is written.
        title: name of the task.
        rows: all trials, the best first.
        command: the command that trains the best one.
        plots: {name of a PNG file without its suffix: caption}.
    """
    names = _columns(rows)
    encode = lambda name: base64.b64encode((out / f"{name}.png").read_bytes()).decode()
    text = render(
        "trials.html",
        title=title,
        command=command,
        best=rows[0],
        metric=metric_of(rows[0]),
        names=names,
        lines=[[(row.get(n), _cell(n, row.get(n))) for n in names] for row in rows],
        states={state: sum(row["state"] == state for row in rows) for state in _STATES},
        plots=[(name.replace("_", " "), text, encode(name)) for name, text in plots.items()],
        versions=rows[0]["versions"],
    )
    write_text(out / "report.html", text)
