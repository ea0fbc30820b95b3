"""The LaTeX table of an ablation: the base, and what each change does to it."""

from collections.abc import Iterator

from mmjax.analysis.assessment import Assessment
from mmjax.comparison.ablation import Ablation
from mmjax.report.latex import booktabs, escape, score_head
from mmjax.report.lines import Line, make_lines
from mmjax.types import Metric

_MARKS = {"better": "^{*}", "worse": r"^{\dagger}"}
_FEW = 4  # factors that have a column each


def ablation_table(assessment: Assessment, label: str) -> str:
    r"""A table for the booktabs package: the base first, variants in the order of the design.

    A grid or a fractional design of few factors has a column for each of them.

    Args:
        assessment: of a study with an ablation.
        label: for ``\ref``.
    """
    study, verdict = assessment.study, assessment.verdict
    ablation, metric = study.ablation, study.metric
    assert ablation
    lines = {one.strategy: one for one in make_lines(study, assessment.answers, verdict)}
    shown = {name: lines[name] for name in ablation.points if name in lines}
    factorial = ablation.design in ("grid", "fractional") and len(ablation.factors) <= _FEW
    names = list(ablation.factors) if factorial else ["Variant"]
    best = max(metric.sign * line.score for line in shown.values())
    caption = f"{study.task}. {metric.title}, mean over seeds"
    if verdict.baseline:
        marks = " and ".join(f"${mark}$ {word}" for word, mark in _MARKS.items())
        caption = (
            f"{escape(f'{caption}, and the gain over the base, {verdict.baseline}')}, with "
            rf"95\,\% intervals for new seeds and new groups; {marks} after correction. "
            f"{escape(f'{verdict.sentences[0]} {verdict.rule} {verdict.headline}')}"
        )
    else:
        caption = escape(f"{caption}. {verdict.headline}")
    return booktabs(
        "l" * len(names) + "rlrlr",
        [
            *map(escape, names),
            rf"\multicolumn{{2}}{{l}}{{{score_head(metric)}}}",
            r"\multicolumn{2}{l}{Gain}",
            "Parameters",
        ],
        _body(shown, ablation, metric, best, factorial=factorial),
        caption,
        label,
    )


def _body(
    shown: dict[str, Line], ablation: Ablation, metric: Metric, best: float, *, factorial: bool
) -> Iterator[str]:
    """Lines of cells; changes to different factors are set apart where each variant is one."""
    base, before = ablation.points[ablation.base], None
    for name, line in shown.items():
        point = ablation.points[name]
        changed = [one != other for one, other in zip(point, base, strict=True)]
        if ablation.design == "one-at-a-time" and before not in (None, changed):
            yield r"\addlinespace"
        before = changed
        levels = [words[i] for words, i in zip(ablation.factors.values(), point, strict=True)]
        words = levels if factorial else [name]
        yield " & ".join([*map(escape, words), *_numbers(line, metric, best)]) + r" \\"


def _numbers(line: Line, metric: Metric, best: float) -> list[str]:
    show = lambda value: metric.format_gain(value)
    within = lambda bounds: f"[{metric.format(bounds[0], 1)}, {metric.format(bounds[1], 1)}]"
    score = metric.format(line.score)
    gain, interval = "--", ""
    if line.gain:
        gain = f"${show(line.gain.mean)}{_MARKS.get(line.verdict, '')}$"
        interval = f"$[{show(line.gain.low)}, {show(line.gain.high)}]$"
    return [
        rf"\textbf{{{score}}}" if score == metric.format(metric.sign * best) else score,
        within(line.interval) if line.interval else "",
        gain,
        interval,
        "--" if line.params is None else f"{line.params:,.0f}",
    ]
