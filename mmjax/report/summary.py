"""Rows into one line per strategy, and those into tables and words."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from mmjax.report.markdown import markdown_table
from mmjax.report.tables import SECOND_SCORES
from mmjax.scoring import baselines, standard_error
from mmjax.targets import find_score

Rows = Sequence[Mapping[str, Any]]

MAJORITY = "majority class"
"""The name, in tables, of the answer that is most frequent in training, given for every row."""

MAJORITY_NOTE = "Majority class: the answer that is most frequent in training, given for every row."


@dataclass(frozen=True)
class Summary:
    """A strategy over its seeds, on one split with no modality hidden.

    Attributes:
        strategy: its name.
        unimodal: whether it is a baseline with one modality.
        metric: name of the main score.
        score: [seeds], seeds sorted.
        second: [seeds] macro F1 of classes and labels, root mean squared error of numbers.
        valid_score: [seeds], what choices are made on.
        params: number of parameters.
        seconds: wall time of its training, all seeds together.
        majority: accuracy and macro F1 of ``MAJORITY``, where the rows have them.
    """

    strategy: str
    unimodal: bool
    metric: str
    score: np.ndarray
    second: np.ndarray
    valid_score: np.ndarray
    params: int
    seconds: float
    majority: tuple[float, float] | None = None


def summarise(rows: Rows) -> list[Summary]:
    """One Summary per strategy, best score on the scored split first."""
    split = scored_split(rows)
    by_strategy = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["seed"]):
        if not row["hidden"]:
            by_strategy[row["strategy"]].append(row)
    return sorted(
        (_summarise_one(name, part, split) for name, part in by_strategy.items()),
        key=lambda s: -s.score.mean(),
    )


def scored_split(rows: Rows) -> str:
    """``test``, or ``valid`` where the test rows have no labels."""
    return "test" if any(row["split"] == "test" for row in rows) else "valid"


def _summarise_one(strategy: str, rows: Rows, split: str) -> Summary:
    of = lambda metric, split: np.array([row[metric] for row in rows if row["split"] == split])
    metric = find_score(rows[0])
    scored = next((row for row in rows if row["split"] == split), {})
    majority = scored.get("majority_accuracy"), scored.get("majority_macro_f1")
    return Summary(
        strategy=strategy,
        unimodal=strategy in baselines(rows),
        metric=metric,
        score=of(metric, split),
        second=of(SECOND_SCORES[metric], split),
        valid_score=of(metric, "valid"),
        params=rows[0]["params"],
        seconds=rows[0]["seconds"],
        majority=None if None in majority else majority,
    )


_HEADS = {"accuracy": ("accuracy %", "macro F1"), "r2": ("R2 %", "RMSE")}


def table_heads(summaries: Sequence[Summary]) -> tuple[str, ...]:
    """What the columns of a table are called."""
    return ("strategy", *_HEADS[summaries[0].metric], "parameters", "seconds")


def table_cells(summary: Summary) -> tuple[str, ...]:
    """A line of a table."""
    return (
        summary.strategy,
        _with_error(100 * summary.score, 2),
        _with_error(summary.second, 4),
        f"{summary.params:,}",
        f"{summary.seconds:.1f}",
    )


def table_lines(summaries: Sequence[Summary]) -> list[tuple[bool, tuple[str, ...]]]:
    """(whether it is a baseline, its cells) of all lines of a table, the best first.

    ``MAJORITY`` is among them where its scores are known.
    """
    lines = [(s.score.mean(), s.unimodal, table_cells(s)) for s in summaries]
    if majority := find_majority(summaries):
        score, second = majority
        lines.append((score, True, (MAJORITY, f"{100 * score:.2f}", f"{second:.4f}", "0", "-")))
    return [line[1:] for line in sorted(lines, key=lambda line: -line[0])]


def find_majority(summaries: Sequence[Summary]) -> tuple[float, float] | None:
    """Accuracy and macro F1 of ``MAJORITY``; None of numbers, and of rows that lack them."""
    return next((s.majority for s in summaries if s.majority), None)


def _with_error(values: np.ndarray, digits: int) -> str:
    error = standard_error(values)
    tail = "" if np.isnan(error) else f" +- {error:.{digits}f}"
    return f"{values.mean():.{digits}f}{tail}"


def format_score(summary: Summary) -> str:
    """The score with its standard error, in %."""
    return f"{_with_error(100 * summary.score, 2)} %"


def notes(rows: Rows) -> str:
    """What the table's numbers are, and what made them."""
    row = next(row for row in rows if row["split"] == scored_split(rows))
    return (
        f"Mean +- standard error over seeds, on {row['rows']} {row['split']} rows "
        f"({row['groups']} groups). Each seed is scored with its best parameters on validation.\n\n"
        f"{_diverged(rows)}{row['versions']}; {row['device']}.\n"
    )


def _diverged(rows: Rows) -> str:
    """Which seeds of which strategies were given up, as a paragraph; nothing if there are none."""
    lost = dict.fromkeys((r["strategy"], r["seed"]) for r in rows if r.get("diverged"))
    named = ", ".join(f"{strategy} (seed {seed})" for strategy, seed in lost)
    return f"Diverged, and scored as they were before: {named}.\n\n" if lost else ""


def rich_table(summaries: Sequence[Summary], title: str) -> Table:
    """The table as the terminal shows it; baselines are dimmed."""
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    strategy, *numbers = table_heads(summaries)
    table.add_column(strategy, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    for baseline, cells in table_lines(summaries):
        table.add_row(*cells, style="dim" if baseline else None)
    return table


def plain_table(summaries: Sequence[Summary]) -> str:
    """The same table as plain text."""
    rows = [table_heads(summaries), *(cells for _, cells in table_lines(summaries))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pad = lambda row: [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
    return "\n".join("  ".join(pad(row)).rstrip() for row in rows)


def summary_markdown(summaries: Sequence[Summary]) -> str:
    """The same table in Markdown; baselines are in italics."""
    lines = []
    for baseline, (name, *rest) in table_lines(summaries):
        lines.append([f"*{name}*" if baseline else name, *rest])
    table = markdown_table(table_heads(summaries), lines)
    told = f" {MAJORITY_NOTE}" if find_majority(summaries) else ""
    return f"{table}\n\nSeconds: compilation, training and validation of all seeds.{told}\n"
