"""What the table of a comparison or of an ablation says, for every way to show it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmjax.analysis.assessment import Assessment
from mmjax.analysis.statistics import Estimate
from mmjax.analysis.summary import MAJORITY, Summary, find_majority
from mmjax.comparison.scores import standard_error
from mmjax.metrics import second_metric
from mmjax.types import Metric

_MAJORITY = " Majority class: always predicts the most frequent class of the training split."


class ScoreTable(NamedTuple):
    """A table of strategies.

    Attributes:
        heads: headings of the columns.
        lines: (whether it is dimmed, its cells) of each line.
        numbers: how many of the columns after the first are numbers.
        note: what the columns are.
    """

    heads: tuple[str, ...]
    lines: list[tuple[bool, tuple[str, ...]]]
    numbers: int
    note: str


def table_for(assessment: Assessment) -> ScoreTable:
    """The table of a comparison, or of an ablation."""
    if assessment.study.ablation:
        return ablation_table(assessment)
    return score_table(assessment.summaries)


def score_table(summaries: Sequence[Summary]) -> ScoreTable:
    """Scores and costs, the best first; baselines are dimmed.

    ``MAJORITY`` is included where its scores are known.
    """
    metric = summaries[0].metric
    heads = ("strategy", metric.head, second_metric(metric).label, "parameters", "seconds")
    lines = [(s.goodness, s.unimodal, _cells(s)) for s in summaries]
    if majority := find_majority(summaries):
        score, second = majority
        cells = (MAJORITY, metric.format(score), f"{second:.4f}", "0", "-")
        lines.append((metric.sign * score, True, cells))
    ordered = [line[1:] for line in sorted(lines, key=lambda line: -line[0])]
    note = "Seconds: compilation, training and validation of all seeds."
    return ScoreTable(heads, ordered, 4, note + (_MAJORITY if majority else ""))


def ablation_table(assessment: Assessment) -> ScoreTable:
    """Scores and gains over the base, which comes first; the best of the others next.

    Example:
        >>> from mmjax.analysis.study import Study
        >>> from mmjax.comparison.ablation import Ablation
        >>> row = {"modalities": "a+b", "hidden": "", "seed": 0, "macro_f1": 0.9, "params": 10,
        ...        "seconds": 1.0}
        >>> rows = [{**row, "strategy": name, "accuracy": score, "split": split}
        ...         for name, score in (("gmu", 0.6), ("x", 0.9)) for split in ("valid", "test")]
        >>> ablation = Ablation("gmu", "grid", {"width": ("64", "32")}, {"gmu": (0,), "x": (1,)})
        >>> study = Study("toy", (), rows, [], {}, {}, {}, (), {}, {}, ablation)
        >>> [cells[0] for _, cells in ablation_table(Assessment(study)).lines]
        ['gmu', 'width=32']
    """
    ablation, metric = assessment.study.ablation, assessment.study.metric
    assert ablation
    judged = {one.strategy: one for one in assessment.verdict.against_baseline}
    lines: list[tuple[bool, tuple[str, ...]]] = []
    for summary in sorted(assessment.summaries, key=lambda s: s.strategy != ablation.base):
        one, base = judged.get(summary.strategy), summary.strategy == ablation.base
        gain = _gain(one.pair.difference, metric) if one else "-"
        word = "base" if base else one.verdict if one and one.told else "-"
        score = _score_with_error(summary)
        lines.append((summary.unimodal, (summary.strategy, score, gain, word)))
    if majority := find_majority(assessment.summaries):
        lines.append((True, (MAJORITY, metric.format(majority[0]), "-", "-")))
    note = (
        "Gain over the base, with its 95 % interval; verdict after correction, - where the "
        "two are not distinguishable."
    )
    heads = ("variant", metric.head, "gain", "verdict")
    return ScoreTable(heads, lines, 2, note + (_MAJORITY if majority else ""))


def _gain(difference: Estimate, metric: Metric) -> str:
    mean, _, low, high = difference
    show = metric.format_gain
    return f"{show(mean)} [{show(low)}, {show(high)}]"


def _cells(summary: Summary) -> tuple[str, ...]:
    return (
        summary.strategy,
        _score_with_error(summary),
        _with_error(summary.second, 4),
        f"{summary.params:,}",
        f"{summary.seconds:.1f}",
    )


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
