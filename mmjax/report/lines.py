"""The table of a study: one line per strategy."""

from typing import NamedTuple

import numpy as np

from mmjax.analysis.answers import Answers
from mmjax.analysis.calibration import reliability
from mmjax.analysis.statistics import Estimate, bootstrap_interval
from mmjax.analysis.study import Study
from mmjax.analysis.summary import MAJORITY, find_majority, summarise
from mmjax.analysis.verdicts import UNTESTED, Verdict
from mmjax.comparison.scores import standard_error
from mmjax.metrics import second_metric
from mmjax.types import Metric


class Line(NamedTuple):
    """A strategy on the scored split; None for what is unknown.

    Attributes:
        strategy: its name, or ``MAJORITY``.
        alone: whether it is a unimodal baseline.
        score: the main score, mean over seeds.
        interval: 95 % interval of the score, for new seeds and new groups.
        seed_error: standard error of the score over seeds.
        group_interval: 95 % bootstrap interval of the score, for these models and new groups.
        second: the score of ``second_metric``, mean over seeds.
        nll: negative log-likelihood of classes and labels in nats, mean over seeds.
        ece: expected calibration error of classes, 15 bins of equal width, mean over seeds.
        gain: by how much it is better than what the verdict refers to (the best unimodal baseline,
            or the base of an ablation), with its interval.
        verdict: on that gain, as in the headline and the lists; "reference" for the baseline.
        p: p-value of the gain, corrected.
        params: number of parameters.
        flops: operations of the forward pass of one row.
        seconds: wall time of all seeds.
    """

    strategy: str
    alone: bool
    score: float
    interval: tuple[float, float] | None = None
    seed_error: float | None = None
    group_interval: tuple[float, float] | None = None
    second: float | None = None
    nll: float | None = None
    ece: float | None = None
    gain: Estimate | None = None
    verdict: str = ""
    p: float | None = None
    params: float | None = None
    flops: float | None = None
    seconds: float | None = None


def make_lines(study: Study, answers: Answers | None, verdict: Verdict) -> list[Line]:
    """The lines of a study, best score first.

    Example:
        >>> rows = [{"strategy": name, "modalities": used, "split": "test", "hidden": "", "seed": 0,
        ...          "accuracy": score, "macro_f1": score, "params": 10, "seconds": 1.0}
        ...         for name, used, score in (("a_only", "a", 0.6), ("sum", "a+b", 0.9))]
        >>> study = Study("toy", (), rows, [], {}, {}, {}, (), {}, {})
        >>> [(line.strategy, line.score) for line in make_lines(study, None, Verdict("None."))]
        [('sum', 0.9), ('a_only', 0.6)]
    """
    judged = {one.strategy: one for one in verdict.against_baseline}
    groups, metric = _group_intervals(answers), study.metric

    def line(name: str) -> Line:
        score = study.scores(name)
        mean = lambda metric: _finite(study.scores(name, metric).mean())
        one, word, found, gain = judged.get(name), "", None, None
        if answers and name in answers.scores:
            found = answers.estimate(name)
            if verdict.baseline is not None:
                gain = answers.compare(name, verdict.baseline).difference
        if name == verdict.baseline:
            word, gain = "reference", None
        return Line(
            strategy=name,
            alone=name in study.baselines,
            score=float(score.mean()),
            interval=found and _within(metric, found.low, found.high),
            seed_error=_finite(float(standard_error(score))),
            group_interval=groups.get(name),
            second=mean(second_metric(metric).name),
            nll=None if study.kind == "numbers" else mean("nll"),
            ece=_calibration_error(study, name),
            gain=gain,
            verdict=one.verdict if one else word,
            p=one.p if one and one.verdict != UNTESTED else None,
            params=mean("params"),
            flops=mean("flops"),
            seconds=mean("seconds"),
        )

    lines = list(map(line, study.strategies))
    if majority := find_majority(summarise(study.rows)):
        score, second = majority
        lines.append(Line(MAJORITY, alone=False, score=score, second=second))
    return sorted(lines, key=lambda one: -metric.sign * one.score)


def _within(metric: Metric, low: float, high: float) -> tuple[float, float]:
    """The bounds of an interval of contributions as bounds of the score."""
    low, high = sorted((metric.sign * low, metric.sign * high))
    return max(low, metric.limits[0]), min(high, metric.limits[1])


def _group_intervals(answers: Answers | None) -> dict[str, tuple[float, float]]:
    """Bootstrap intervals of all strategies, from one set of resamples."""
    if answers is None:
        return {}
    means = np.stack([each.mean(axis=0) for each in answers.scores.values()])
    low, high = bootstrap_interval(means, answers.group)
    bounds = [
        _within(answers.metric, *pair) for pair in zip(low.tolist(), high.tolist(), strict=True)
    ]
    return dict(zip(answers.scores, bounds, strict=True))


def _calibration_error(study: Study, strategy: str) -> float | None:
    if strategy not in study.predictions or study.kind != "classes":
        return None
    if not np.isfinite(study.predictions[strategy][study.split]).all():
        return None  # it has diverged
    logits = study.predictions[strategy][study.split]
    return float(np.mean([reliability(one, study.target).error for one in logits]))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
