"""The table of a comparison: for the terminal, as plain text, and in Markdown."""

from collections.abc import Iterable, Sequence

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from mmjax.analysis.summary import MAJORITY, Rows, Summary, find_majority, scored_split
from mmjax.comparison.scores import standard_error
from mmjax.metrics import second_metric

MAJORITY_NOTE = "Majority class: always predicts the most frequent class of the training split."


def table_heads(summaries: Sequence[Summary]) -> tuple[str, ...]:
    """The headings of a table."""
    metric = summaries[0].metric
    return ("strategy", metric.head, second_metric(metric).label, "parameters", "seconds")


def table_cells(summary: Summary) -> tuple[str, ...]:
    """A line of a table."""
    return (
        summary.strategy,
        _score_with_error(summary),
        _with_error(summary.second, 4),
        f"{summary.params:,}",
        f"{summary.seconds:.1f}",
    )


def table_lines(summaries: Sequence[Summary]) -> list[tuple[bool, tuple[str, ...]]]:
    """(whether it is a baseline, its cells) for all lines of a table, the best first.

    ``MAJORITY`` is included where its scores are known.
    """
    lines = [(s.goodness, s.unimodal, table_cells(s)) for s in summaries]
    if majority := find_majority(summaries):
        (score, second), metric = majority, summaries[0].metric
        cells = (MAJORITY, metric.format(score), f"{second:.4f}", "0", "-")
        lines.append((metric.sign * score, True, cells))
    return [line[1:] for line in sorted(lines, key=lambda line: -line[0])]


def _with_error(values: np.ndarray, digits: int) -> str:
    error = standard_error(values)
    tail = "" if np.isnan(error) else f" +- {error:.{digits}f}"
    return f"{values.mean():.{digits}f}{tail}"


def _score_with_error(summary: Summary) -> str:
    metric = summary.metric
    return _with_error(metric.factor * summary.score, 2 if metric.percent else 4)


def format_score(summary: Summary) -> str:
    """The score with its standard error."""
    return _score_with_error(summary) + (" %" if summary.metric.percent else "")


def notes(rows: Rows) -> str:
    """What the numbers of the table are, and what produced them."""
    row = next(row for row in rows if row["split"] == scored_split(rows))
    return (
        f"Mean +- standard error over seeds, on {row['rows']} {row['split']} rows "
        f"({row['groups']} groups). Each seed is scored with its best parameters on validation.\n\n"
        f"{_diverged(rows)}{row['versions']}; {row['device']}.\n"
    )


def _diverged(rows: Rows) -> str:
    """A paragraph that lists the seeds that diverged; empty if there are none."""
    lost = dict.fromkeys((r["strategy"], r["seed"]) for r in rows if r.get("diverged"))
    named = ", ".join(f"{strategy} (seed {seed})" for strategy, seed in lost)
    return f"Diverged, and scored with earlier parameters: {named}.\n\n" if lost else ""


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
    """The same table as plain text.

    Example:
        >>> from mmjax.metrics import METRICS
        >>> scores = [np.array([0.8, 0.9])] * 3
        >>> print(plain_table([Summary("sum", False, METRICS["accuracy"], *scores, 1234, 5.0)]))
        strategy      accuracy %          macro F1  parameters  seconds
        sum       85.00 +- 5.00  0.8500 +- 0.0500       1,234      5.0
    """
    rows = [table_heads(summaries), *(cells for _, cells in table_lines(summaries))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pad = lambda row: [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
    return "\n".join("  ".join(pad(row)).rstrip() for row in rows)


def summary_markdown(summaries: Sequence[Summary]) -> str:
    """The same table in Markdown; baselines in italics.

    Example:
        >>> from mmjax.metrics import METRICS
        >>> scores = [np.array([0.8])] * 3
        >>> alone = Summary("image_only", True, METRICS["accuracy"], *scores, 1234, 5.0)
        >>> print(summary_markdown([alone]).splitlines()[2])
        | *image_only* | 80.00 | 0.8000 | 1,234 | 5.0 |
    """
    lines = []
    for baseline, (name, *rest) in table_lines(summaries):
        lines.append([f"*{name}*" if baseline else name, *rest])
    table = markdown_table(table_heads(summaries), lines)
    note = f" {MAJORITY_NOTE}" if find_majority(summaries) else ""
    return f"{table}\n\nSeconds: compilation, training and validation of all seeds.{note}\n"


def markdown_table(
    heads: Sequence[str], lines: Iterable[Sequence[object]], *, text_columns: int = 1
) -> str:
    """A pipe table, without a final newline; empty where there are no lines.

    Args:
        heads: headings of the columns.
        lines: the cells of each line, one per heading.
        text_columns: number of leading columns that are left-aligned; others are right-aligned.

    Example:
        >>> print(markdown_table(["strategy", "accuracy"], [["sum", 0.9]]))
        | strategy | accuracy |
        |---|---:|
        | sum | 0.9 |
    """
    body = [_line(cells) for cells in lines]
    ruler = ["---"] * text_columns + ["---:"] * (len(heads) - text_columns)
    return "\n".join([_line(heads), f"|{'|'.join(ruler)}|", *body]) if body else ""


def _line(cells: Iterable[object]) -> str:
    escaped = (str(cell).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"
