"""The table of a comparison, for the terminal, as plain text and in Markdown."""

from collections.abc import Iterable, Sequence

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from mmjax.analysis.summary import MAJORITY, Rows, Summary, find_majority, scored_split
from mmjax.comparison.scores import standard_error

MAJORITY_NOTE = "Majority class: the answer that is most frequent in training, given for every row."


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


def markdown_table(
    heads: Sequence[str], lines: Iterable[Sequence[object]], *, text_columns: int = 1
) -> str:
    """A pipe table, without a newline at its end; nothing where there are no lines.

    Args:
        heads: of the columns.
        lines: the cells of each, as many as there are heads.
        text_columns: how many of the first columns are to the left; all others are to the right.
    """
    body = [_line(cells) for cells in lines]
    ruler = ["---"] * text_columns + ["---:"] * (len(heads) - text_columns)
    return "\n".join([_line(heads), f"|{'|'.join(ruler)}|", *body]) if body else ""


def _line(cells: Iterable[object]) -> str:
    escaped = (str(cell).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"
