"""The table of a study: one line of numbers for each strategy."""

from typing import NamedTuple

import numpy as np

from mmjax.analysis.answers import Answers
from mmjax.analysis.calibration import reliability
from mmjax.analysis.statistics import Estimate, bootstrap_interval, compare_pair, estimate
from mmjax.analysis.study import Study
from mmjax.analysis.summary import MAJORITY, find_majority, summarise
from mmjax.analysis.verdicts import UNTESTED, Verdict
from mmjax.comparison.scores import standard_error


class Line(NamedTuple):
    """A strategy on the scored split; what cannot be known is None.

    Attributes:
        strategy: its name, or ``MAJORITY``.
        alone: whether it is a baseline with one modality.
        score: the main one, mean over seeds.
        interval: of the score, 95 %, for new seeds and new groups.
        seed_error: standard error of the score over seeds.
        group_interval: of the score, 95 % by bootstrap, for these models and new groups.
        macro_f1: of classes and labels, mean over seeds.
        rmse: root mean squared error of numbers, mean over seeds.
        nll: of classes and labels, mean over seeds, nats.
        ece: expected calibration error of classes, 15 bins of equal width, mean over seeds.
        gain: score minus that of the best baseline, with its interval.
        verdict: of that difference, as the headline and the lists have it; "reference" for itself.
        p: corrected.
        params: number of parameters.
        flops: of a forward pass of one sample.
        seconds: wall time of all seeds.
    """

    strategy: str
    alone: bool
    score: float
    interval: tuple[float, float] | None = None
    seed_error: float | None = None
    group_interval: tuple[float, float] | None = None
    macro_f1: float | None = None
    rmse: float | None = None
    nll: float | None = None
    ece: float | None = None
    gain: Estimate | None = None
    verdict: str = ""
    p: float | None = None
    params: float | None = None
    flops: float | None = None
    seconds: float | None = None


def make_lines(study: Study, answers: Answers | None, verdict: Verdict) -> list[Line]:
    """The lines of a study, best score first."""
    judged = {one.strategy: one for one in verdict.against_baseline}
    groups = _group_intervals(answers)
    lowest = -np.inf if study.kind == "numbers" else 0.0

    def line(name: str) -> Line:
        score = study.scores(name, study.metric)
        error = standard_error(score)
        each = answers.scores.get(name) if answers else None
        found = None if each is None else estimate(each, answers.group)
        mean = lambda metric: _finite(study.scores(name, metric).mean())
        one, word, gain = judged.get(name), "", None
        if verdict.baseline is not None and each is not None:
            against = answers.scores[verdict.baseline]
            gain = compare_pair(each, against, answers.group).difference
        if name == verdict.baseline:
            word, gain = "reference", None
        return Line(
            strategy=name,
            alone=name in study.baselines,
            score=float(score.mean()),
            interval=found and (max(found.low, lowest), min(found.high, 1.0)),
            seed_error=_finite(error),
            group_interval=groups.get(name),
            macro_f1=mean("macro_f1"),
            rmse=mean("rmse"),
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
        score, macro_f1 = majority
        lines.append(Line(MAJORITY, alone=False, score=score, macro_f1=macro_f1))
    return sorted(lines, key=lambda one: -one.score)


def _group_intervals(answers: Answers | None) -> dict[str, tuple[float, float]]:
    """Of all strategies, with one set of resamples."""
    if answers is None:
        return {}
    means = np.stack([each.mean(axis=0) for each in answers.scores.values()])
    low, high = bootstrap_interval(means, answers.group)
    return dict(zip(answers.scores, zip(low.tolist(), high.tolist(), strict=True), strict=True))


def _calibration_error(study: Study, strategy: str) -> float | None:
    if strategy not in study.predictions or study.kind != "classes":
        return None
    if not np.isfinite(study.predictions[strategy][study.split]).all():
        return None  # it has diverged
    logits, target = study.predictions[strategy][study.split], study.labels[f"{study.split}_target"]
    return float(np.mean([reliability(one, target).error for one in logits]))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
