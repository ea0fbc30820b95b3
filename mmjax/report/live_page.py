"""The page of a comparison that is still running."""

from collections.abc import Sequence
from pathlib import Path

from mmjax.analysis.summary import Rows, summarise
from mmjax.report.score_table import format_score
from mmjax.storage.files import write_text

SECONDS = 5
"""After how many seconds a browser reads the page again."""


def write_live_page(rows: Rows, waiting: Sequence[str], out: Path) -> None:
    """Writes a page with the scores so far, which a browser reloads until the report replaces it.

    Args:
        rows: of the strategies that are complete, at least one.
        waiting: the strategies to come.
        out: an HTML file.

    Example:
        >>> row = {"task": "toy", "strategy": "sum", "modalities": "a+b", "hidden": "", "seed": 0,
        ...        "accuracy": 0.9, "macro_f1": 0.9, "params": 10, "seconds": 1.0}
        >>> write_live_page([{**row, "split": "test"}], ["gmu"], Path("report.html"))
        >>> "1 of 2 strategies" in Path("report.html").read_text()
        True
    """
    from mmjax.report.page import render  # Matplotlib takes a second to import

    summaries = summarise(rows)
    lines = [
        (summary.strategy, summary.unimodal, format_score(summary), f"{summary.params:,}")
        for summary in summaries
    ]
    label, total = summaries[0].metric.label, len(lines) + len(waiting)
    content = {"title": rows[0]["task"], "label": label, "lines": lines, "waiting": waiting}
    write_text(out, render("live.html", seconds=SECONDS, total=total, **content))
