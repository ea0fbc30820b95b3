"""The table of a comparison: for the terminal, as plain text, and in Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from mmjax.analysis.summary import Rows, scored_split
from mmjax.report.score_table import ScoreTable


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


def rich_table(content: ScoreTable, title: str) -> Table:
    """A table as the terminal shows it."""
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for index, name in enumerate(content.heads):
        number = 0 < index <= content.numbers
        look: Any = {"justify": "right", "no_wrap": True} if number else {"overflow": "fold"}
        table.add_column(name, **look)
    for dimmed, cells in content.lines:
        table.add_row(*cells, style="dim" if dimmed else None)
    return table


def plain_table(content: ScoreTable) -> str:
    """The same table as plain text.

    Example:
        >>> import numpy as np
        >>> from mmjax.analysis.summary import Summary
        >>> from mmjax.metrics import METRICS
        >>> from mmjax.report.score_table import score_table
        >>> scores = [np.array([0.8, 0.9])] * 3
        >>> summary = Summary("sum", False, METRICS["accuracy"], *scores, 1234, 5.0)
        >>> print(plain_table(score_table([summary])))
        strategy      accuracy %          macro F1  parameters  seconds
        sum       85.00 +- 5.00  0.8500 +- 0.0500       1,234      5.0
    """
    rows = [content.heads, *(cells for _, cells in content.lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    number = [0 < index <= content.numbers for index in range(len(widths))]
    pad = lambda cell, width, right: cell.rjust(width) if right else cell.ljust(width)
    return "\n".join("  ".join(map(pad, row, widths, number)).rstrip() for row in rows)


def summary_markdown(content: ScoreTable) -> str:
    """The same table in Markdown; dimmed strategies in italics.

    Example:
        >>> import numpy as np
        >>> from mmjax.analysis.summary import Summary
        >>> from mmjax.metrics import METRICS
        >>> from mmjax.report.score_table import score_table
        >>> scores = [np.array([0.8])] * 3
        >>> alone = Summary("image_only", True, METRICS["accuracy"], *scores, 1234, 5.0)
        >>> print(summary_markdown(score_table([alone])).splitlines()[2])
        | *image_only* | 80.00 | 0.8000 | 1,234 | 5.0 |
    """
    lines = [(f"*{name}*" if dim else name, *rest) for dim, (name, *rest) in content.lines]
    return f"{markdown_table(content.heads, lines)}\n\n{content.note}\n"


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
