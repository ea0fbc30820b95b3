"""The verdict of an ablation: what matters, by how much, and what could not be seen."""

from collections.abc import Sequence

from mmjax.analysis.answers import Answers
from mmjax.analysis.changes import Change, headline, tell_interval, tell_step
from mmjax.analysis.effects import Effect, interactions, main_effects
from mmjax.analysis.statistics import ALPHA, detectable, needed
from mmjax.analysis.verdicts import (
    NO_ANSWERS,
    Judged,
    Verdict,
    caveats,
    format_p,
    judge_all,
    resolution,
    rounded,
    tell_evidence,
)
from mmjax.comparison.ablation import REMOVED, Ablation
from mmjax.types import Metric

_VARIANTS = (
    "Every variant is compared with the base, paired by seed and by row, at the 5 % level, with "
    "Holm-corrected p-values."
)
_EFFECTS = (
    "paired by seed and by row, and tested at the 5 % level. p-values are Holm-corrected, those of "
    "factors{}, and of single variants against the base each on their own."
)
_RULES = {
    "one-at-a-time": _VARIANTS,
    "leave-one-out": _VARIANTS,
    "grid": "Effects are differences of means over the levels of all other factors, by least "
    f"squares, {_EFFECTS.format(', of interactions')}",
    "fractional": "Effects are estimated by least squares as if no two factors interacted, "
    f"{_EFFECTS.format('')}",
}
_LISTED = 6  # variants without a result: more are counted


def judge_ablation(answers: Answers | None, ablation: Ablation) -> Verdict:
    """Tests every variant against the base, and the effects of factors where the design has them.

    Args:
        answers: the scores of the variants, under the names of ``ablation.points``.
        ablation: what was varied.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> scores = {name: rng.random((3, 300)) < p for name, p in (("gmu", 0.6), ("wide", 0.9))}
        >>> points = {"gmu": (0,), "wide": (1,)}
        >>> ablation = Ablation("gmu", "grid", {"width": ("64", "128")}, points)
        >>> answers = Answers(scores, np.arange(300), {}, [], "test")
        >>> print(judge_ablation(answers, ablation).headline)
        Width matters (+31.3 points from 64 to 128, 95 % interval +18.3 to +44.4).
    """
    if answers is None:
        return Verdict(NO_ANSWERS, reference="the base")
    if ablation.base not in answers.scores:
        lost = f"No verdict: {ablation.base}, the base of all comparisons, has no result."
        return Verdict(lost, reference="the base")
    judged = against_base(answers, ablation)
    factorial = ablation.design in ("grid", "fractional")
    main = main_effects(answers, ablation) if factorial else []
    both = interactions(answers, ablation) if ablation.design == "grid" else []
    changes = list_changes(main, judged, ablation)
    metric = answers.metric
    folded = answers.folds is not None
    sentences = _evidence(answers, ablation)
    if factorial:
        sentences += _undetermined(main, ablation)
    sentences += _unseen(changes, metric, "effect" if factorial else "change", folded)
    sentences += _tell_interactions(both, metric, folded)
    return Verdict(
        headline=headline(changes, metric),
        sentences=(*sentences, *ablation.notes),
        rule=_RULES[ablation.design],
        baseline=ablation.base,
        against_baseline=tuple(judged),
        effects=(*main, *both),
        reference="the base",
    )


def against_base(answers: Answers, ablation: Ablation) -> list[Judged]:
    """Every variant against the base, with p-values that are Holm-corrected for all of them."""
    names = [n for n in ablation.points if n in answers.scores and n != ablation.base]
    return judge_all(answers, names, ablation.base)


def list_changes(
    effects: Sequence[Effect], judged: Sequence[Judged], ablation: Ablation
) -> list[Change]:
    """What each step of one factor does: its effect, or in other designs that of its variant.

    Args:
        effects: those of a grid or a fractional design; interactions are left out.
        judged: every variant against the base.
        ablation: what was varied.
    """
    if ablation.design in ("grid", "fractional"):
        single = [effect for effect in effects if len(effect.factors) == 1]
        return [Change(e.factors[0], e.levels[0], e.pair, e.p, e.told) for e in single]
    return _of_variants(judged, ablation)


def _of_variants(judged: Sequence[Judged], ablation: Ablation) -> list[Change]:
    """The changes of variants that differ from the base in one factor."""
    reference, found = ablation.points[ablation.base], []
    for one in judged:
        point = ablation.points[one.strategy]
        differing = [i for i, level in enumerate(point) if level != reference[i]]
        if len(differing) == 1:
            (i,) = differing
            name, words = [*ablation.factors.items()][i]
            levels = words[reference[i]], words[point[i]]
            found.append(Change(name, levels, one.pair, one.p, one.told))
    return found


def _evidence(answers: Answers, ablation: Ablation) -> list[str]:
    lost = [ablation.label(name) for name in ablation.points if name not in answers.scores]
    count = f"{len(ablation.points)} variants"
    lines = [f"{ablation.design.capitalize()}, {count}. {tell_evidence(answers)}."]
    if lost:  # whose labels have commas
        which = "; ".join(lost) if len(lost) <= _LISTED else f"{len(lost)} of them"
        lines.append(f"Without a result: {which}.")
    return lines + caveats(answers)


def _undetermined(effects: Sequence[Effect], ablation: Ablation) -> list[str]:
    found = {(effect.factors[0], effect.levels[0][1]) for effect in effects}
    lost = [
        tell_step(name, (words[0], word))
        for name, words in ablation.factors.items()
        for word in words[1:]
        if (name, word) not in found
    ]
    which = "; ".join(lost)
    return [f"The others do not determine the effect of {which}."] if lost else []


def _tell_interactions(effects: Sequence[Effect], metric: Metric, folded: bool) -> list[str]:
    sentences = []
    told = [effect for effect in effects if effect.told]
    for effect in told:
        (one, other), (steps, (_, where)) = effect.factors, effect.levels
        mean = effect.pair.difference.mean
        more = f"{metric.amount(abs(mean))} {'larger' if mean > 0 else 'smaller'}"
        context = f"without {other}" if where == REMOVED else f"with {other}={where}"
        sentences.append(
            f"Interaction: the gain of {tell_step(one, steps)} is {more} {context} "
            f"({tell_interval(effect.pair, metric)}, {format_p(effect.p)})."
        )
    if len(told) < len(effects):
        others = f"The other {len(effects) - len(told)}" if told else f"None of the {len(effects)}"
        verb = "are not" if told else "is"
        sentences.append(f"{others} interactions {verb} distinguishable from zero.")
    return sentences + _detects(effects, metric, "interaction", folded)


def _unseen(changes: Sequence[Change], metric: Metric, of: str, folded: bool) -> list[str]:
    """Which differences could not be seen, and the seeds that would show the largest of them."""
    lines = _detects(changes, metric, of, folded)
    quiet = [change for change in changes if not change.told]
    if lines and quiet[0].pair.spread.num_seeds > 1:
        largest = max(quiet, key=lambda c: abs(c.pair.difference.mean))
        want = needed(largest.pair).seeds
        if want and want > largest.pair.spread.num_seeds:
            lines.append(
                f"If the effect of {tell_step(largest.factor, largest.levels)} is as large as it "
                f"looks, about {rounded(want)} seeds would show it."
            )
    return lines


def _detects(
    found: Sequence[Change] | Sequence[Effect], metric: Metric, of: str, folded: bool
) -> list[str]:
    """The differences that could be seen, if any was not; folds have no formula for them."""
    quiet = sorted((one.pair.spread for one in found if not one.told), key=lambda s: s.total)
    if not quiet or folded:
        return []
    middle = quiet[(len(quiet) - 1) // 2]
    if lines := resolution(middle, metric, len(found), of):
        return lines
    least = detectable(middle, ALPHA / len(found))
    return [f"A typical {of} below {metric.amount(least)} could not be seen here."]
