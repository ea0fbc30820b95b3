"""Tables in LaTeX."""

from collections.abc import Iterable, Sequence

from mmjax.analysis.statistics import VERDICTS
from mmjax.metrics import METRICS, second_metric
from mmjax.report.lines import Line
from mmjax.types import Metric

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def escape(text: str) -> str:
    r"""Escapes the characters that are special in LaTeX.

    Example:
        >>> print(escape("50 % of a_b"))
        50 \% of a\_b
    """
    return "".join(_SPECIAL.get(character, character) for character in text)


def latex_table(
    lines: Sequence[Line], caption: str, label: str, metric: Metric = METRICS["accuracy"]
) -> str:
    r"""A table for the booktabs package: baselines in italics, significant gains in bold.

    Args:
        lines: from ``make_lines``.
        caption: plain text.
        label: for ``\ref``.
        metric: of the scores.

    Example:
        >>> line = Line("late_mean", alone=False, score=0.875, nll=0.25)
        >>> text = latex_table([line], "Results", "tab:results")
        >>> print(next(row for row in text.splitlines() if "late" in row))
        late\_mean & 87.50 &  & -- & -- & 0.250 & -- & -- \\
    """
    heads = ["Strategy", *_heads(metric)]
    body = (" & ".join(_cells(line, metric)) + r" \\" for line in lines)
    return booktabs("lrl" + "r" * (len(heads) - 2), heads, body, escape(caption), label)


def booktabs(
    columns: str, heads: Iterable[str], body: Iterable[str], caption: str, label: str
) -> str:
    """A table of lines of LaTeX.

    Args:
        columns: the alignment of each.
        heads: headings of all columns, of which one may span several.
        body: the lines between the rules.
        caption: as LaTeX.
        label: of the table.
    """
    return _TABLE.format(
        columns=columns,
        heads=" & ".join(heads),
        body="\n".join(body),
        caption=caption,
        label=label,
    )


_TABLE = r"""\begin{{table}}
\centering
\caption{{{caption}}}
\label{{{label}}}
\begin{{tabular}}{{{columns}}}
\toprule
{heads} \\
\midrule
{body}
\bottomrule
\end{{tabular}}
\end{{table}}
"""


def _heads(metric: Metric) -> list[str]:
    """All headings but the first."""
    second = _in_math(second_metric(metric).title)
    beside = [second] + ["NLL", "ECE"] * (metric.kinds != ("numbers",))
    return [rf"\multicolumn{{2}}{{l}}{{{score_head(metric)}}}", "Gain", *beside, "Parameters"]


def score_head(metric: Metric) -> str:
    """The heading of a column of scores."""
    return _in_math(escape(metric.title)) + r" (\%)" * metric.percent


def _in_math(label: str) -> str:
    return label.replace(" F1", " $F_1$").replace("R2", "$R^2$")


def _cells(line: Line, metric: Metric) -> list[str]:
    name = escape(line.strategy)
    percent = lambda value, digits: "--" if value is None else f"{100 * value:.{digits}f}"
    between = lambda bounds: f"[{metric.format(bounds[0], 1)}, {metric.format(bounds[1], 1)}]"
    significant = line.verdict in VERDICTS[:2]
    number = lambda value: "--" if value is None else f"{value:.3f}"
    second = second_metric(metric)
    beside = ["--" if line.second is None else second.format(line.second)]
    if metric.kinds != ("numbers",):
        beside += [number(line.nll), percent(line.ece, 1)]
    gain = f"${metric.format_gain(line.gain.mean)}$" if line.gain else "--"
    return [
        rf"\emph{{{name}}}" if line.alone else name,
        metric.format(line.score),
        between(line.interval) if line.interval else "",
        rf"\boldmath{gain}" if significant else gain,
        *beside,
        "--" if line.params is None else f"{line.params:,.0f}",
    ]
