"""The figures of an ablation on a page: effects, interactions, learning curves."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from mmjax.analysis.ablation_verdict import list_changes
from mmjax.analysis.answers import Answers
from mmjax.analysis.assessment import Assessment
from mmjax.analysis.study import Study
from mmjax.comparison.ablation import Ablation
from mmjax.report.extras import Drawing
from mmjax.report.figures.ablation_figures import effects_figure, interaction_figure, read_numbers
from mmjax.report.figures.verdict_figures import exchange_figure

_SHARE = "train"  # the factor that is a share of the training rows


def ablation_drawings(assessment: Assessment) -> Iterator[Drawing]:
    """The figures that the design and the verdict of an ablation call for."""
    study, verdict = assessment.study, assessment.verdict
    ablation = study.ablation
    assert ablation
    changes = list_changes(verdict.effects, verdict.against_baseline, ablation)
    if changes:
        shown = {change.factor for change in changes}
        averaged = bool(verdict.effects)
        over = "averaged over the levels of all other factors" if averaged else "one at a time"
        factors = {name: words for name, words in ablation.factors.items() if name in shown}
        yield Drawing(
            "What each factor does",
            f"Gain of each level over that of the base (diamond), {over}. Lines are 95 % intervals "
            "for new seeds and new groups, not corrected. Filled dots are significant after "
            "correction; hollow dots may be chance.",
            effects_figure(factors, changes, study.metric),
        )
    told = {effect.factors for effect in verdict.effects if effect.told}
    for pair in combinations(ablation.factors, 2):
        one, other = _order(pair, ablation)
        learning = one == _SHARE and ablation.design == "grid"
        if learning or pair in told:
            title = f"Interaction of {one} and {other}"
            yield Drawing(
                f"Score by share of training rows and {other}" if learning else title,
                (_LEARNING if learning else _INTERACTION).format(one=one, other=other),
                interaction_figure(_cells(study, ablation, one, other), (one, other), study.metric),
                ("rows.jsonl",),
            )
    if assessment.answers and verdict.baseline and study.kind == "classes":
        yield from _exchange(assessment.answers, verdict.baseline)


def _exchange(answers: Answers, base: str) -> Iterator[Drawing]:
    variants = [name for name in answers.scores if name != base]
    if variants:
        yield Drawing(
            "Rows that each variant gains and loses",
            f"Rows that a variant classifies correctly and {base} does not, and the reverse. Long "
            "bars on both sides: the variant gains some rows at the expense of others.",
            exchange_figure(answers, variants, base, "with the variant"),
        )


_LEARNING = (
    "Mean over seeds and all other factors, with one standard error. Lines that still rise on the "
    "right would gain from more rows; where two lines cross, the better {other} depends on how "
    "many there are."
)
_INTERACTION = (
    "Mean over seeds and all other factors, with one standard error. Where lines are parallel, "
    "what {one} does is the same for every {other}; this interaction is significant."
)


def _order(pair: tuple[str, str], ablation: Ablation) -> tuple[str, str]:
    """The factor for the x axis, then the one for the lines: numbers first, or more levels."""
    words = ablation.factors
    rank = lambda name: (name == _SHARE, read_numbers(words[name]) is not None, len(words[name]))
    one, other = sorted(pair, key=rank, reverse=True)
    return one, other


def _cells(
    study: Study, ablation: Ablation, one: str, other: str
) -> dict[tuple[str, str], np.ndarray]:
    """{levels of two factors: [seeds] scores, mean over all variants with these levels}."""
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    names = list(ablation.factors)
    i, j = names.index(one), names.index(other)
    for strategy, point in ablation.points.items():
        if strategy in study.strategies:
            levels = ablation.factors[one][point[i]], ablation.factors[other][point[j]]
            found.setdefault(levels, []).append(study.scores(strategy))
    return {levels: np.mean(scores, axis=0) for levels, scores in found.items()}
