"""Results for a paper: a LaTeX table, and figures as PDF."""

import re
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from matplotlib import rc_context

from mmjax.analysis.assessment import Assessment
from mmjax.analysis.statistics import VERDICTS
from mmjax.metrics import METRICS, second_metric
from mmjax.report.across import over_tasks
from mmjax.report.extras import Drawing
from mmjax.report.lines import Line, make_lines
from mmjax.report.sections import make_drawings
from mmjax.storage.files import whole_file, write_text
from mmjax.types import Metric

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
_EMBEDDED: Any = {"pdf.fonttype": 42}  # TrueType: publishers reject type 3


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
    body = "\n".join(" & ".join(_cells(line, metric)) + r" \\" for line in lines)
    heads = _heads(metric)
    columns = "r" * (heads.count("&") - 1)
    return _TABLE.format(
        caption=escape(caption), label=label, body=body, heads=heads, columns=columns
    )


_TABLE = r"""\begin{{table}}
\centering
\caption{{{caption}}}
\label{{{label}}}
\begin{{tabular}}{{lrl{columns}}}
\toprule
Strategy & {heads} \\
\midrule
{body}
\bottomrule
\end{{tabular}}
\end{{table}}
"""


def _heads(metric: Metric) -> str:
    score = escape(f"{metric.label[0].upper()}{metric.label[1:]}") + r" (\%)" * metric.percent
    second = second_metric(metric).label
    second = f"{second[0].upper()}{second[1:]}".replace(" F1", " $F_1$").replace("R2", "$R^2$")
    beside = second if metric.kinds == ("numbers",) else f"{second} & NLL & ECE"
    score = score.replace(" F1", " $F_1$").replace("R2", "$R^2$")
    return rf"\multicolumn{{2}}{{l}}{{{score}}} & Gain & {beside} & Parameters"


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


def write_paper(assessments: Sequence[Assessment], out: Path) -> None:
    """Writes table.tex and a PDF of each figure, in one folder per task if there are several.

    Args:
        assessments: one per task.
        out: a folder, created if necessary; files of the same names are replaced.

    Example:
        >>> from mmjax.analysis.study import Study
        >>> rows = [{"strategy": name, "modalities": used, "split": split, "hidden": "", "seed": 0,
        ...          "accuracy": score, "macro_f1": score, "params": 10, "seconds": 1.0}
        ...         for name, used, score in (("a_only", "a", 0.6), ("sum", "a+b", 0.9))
        ...         for split in ("valid", "test")]
        >>> write_paper([Assessment(Study("toy", (), rows, [], {}, {}, {}, (), {}, {}))], Path("."))
        >>> sorted(path.name for path in Path(".").iterdir())
        ['accuracy.pdf', 'table.tex']
    """
    studies = [assessment.study for assessment in assessments]
    names = _file_names([study.task for study in studies])
    for assessment, name in zip(assessments, names, strict=True):
        place = out if len(studies) == 1 else out / name
        place.mkdir(parents=True, exist_ok=True)
        write_text(place / "table.tex", table_of(assessment, name))
        _save(list(make_drawings(assessment)), place)
    _save(over_tasks(studies), out)


def table_of(assessment: Assessment, name: str) -> str:
    """The table of a study, labelled ``tab:NAME``, with the verdict in its caption."""
    study, verdict = assessment.study, assessment.verdict
    lines = make_lines(study, assessment.answers, verdict)
    metric = study.metric
    gain = _GAIN.format("points" if metric.percent else metric.label)
    caption = f"{study.task}. {metric.label[0].upper()}{metric.label[1:]} {gain} {verdict.headline}"
    return latex_table(lines, caption, f"tab:{name}", metric)


_GAIN = (
    "with 95 % intervals for new seeds and new groups; gain in {} over the best unimodal "
    "baseline, in bold where significant."
)


def _save(drawings: Sequence[Drawing], folder: Path) -> None:
    names = _file_names([drawing.title for drawing in drawings])
    with rc_context(_EMBEDDED):
        for drawing, name in zip(drawings, names, strict=True):
            with whole_file(folder / f"{name}.pdf") as file:
                drawing.figure.savefig(file, format="pdf", metadata={"CreationDate": None})


def _file_names(texts: Sequence[str]) -> list[str]:
    """A distinct file name for each text, portable across file systems."""
    names: list[str] = []
    for text in texts:
        plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unnamed"
        numbered = (f"{plain}-{number}" for number in count(2))
        names.append(next(name for name in chain([plain], numbered) if name not in names))
    return names
