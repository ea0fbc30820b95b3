"""The verdict of an ablation: what matters, by how much, and what could not be seen."""

from collections.abc import Sequence
from typing import NamedTuple

from mmjax.analysis.answers import Answers
from mmjax.analysis.effects import Effect, interactions, main_effects
from mmjax.analysis.statistics import ALPHA, Pair, detectable, holm, needed
from mmjax.analysis.verdicts import (
    NO_ANSWERS,
    Judged,
    Verdict,
    format_p,
    resolution,
    rounded,
    tell_evidence,
)
from mmjax.comparison.ablation import KEPT, REMOVED, Ablation
from mmjax.types import Metric

_RULES = {
    "one-at-a-time": "Every variant is compared with the base, paired by seed and by row, at the "
    "5 % level, with Holm-corrected p-values.",
    "grid": "Effects are differences of means over the levels of all other factors, by least "
    "squares, paired by seed and by row, and tested at the 5 % level. p-values are Holm-corrected, "
    "those of factors, of interactions, and of single variants against the base each on their own.",
}
_RULES |= {"leave-one-out": _RULES["one-at-a-time"], "fractional": _RULES["grid"]}

_MOST = 3  # factors without a significant effect that the headline tells in full


class Change(NamedTuple):
    """A step of one factor from the level of the reference to another, and what it does."""

    factor: str
    levels: tuple[str, str]
    pair: Pair
    p: float
    told: bool

    @property
    def removes(self) -> bool:
        """Whether a component is removed."""
        return self.levels == (KEPT, REMOVED)


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
    if answers is None or ablation.base not in answers.scores:
        return Verdict(NO_ANSWERS, reference="the base")
    judged = against_base(answers, ablation)
    factorial = ablation.design in ("grid", "fractional")
    main = main_effects(answers, ablation) if factorial else []
    both = interactions(answers, ablation) if ablation.design == "grid" else []
    changes = list_changes(main, judged, ablation)
    metric = answers.metric
    sentences = [_evidence(answers, ablation, judged)]
    sentences += _tell_interactions(both, metric)
    sentences += _unseen(changes, metric, folded=answers.folds is not None)
    if factorial:
        sentences += _undetermined(main, ablation)
    return Verdict(
        headline=_headline(changes, metric),
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
    pairs = [answers.compare(name, ablation.base) for name in names]
    corrected = holm([pair.p for pair in pairs]).tolist() if pairs else []
    return [
        Judged(name, pair, p, pair.verdict(p))
        for name, pair, p in zip(names, pairs, corrected, strict=True)
    ]


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


def _headline(changes: Sequence[Change], metric: Metric) -> str:
    """One sentence: what matters and by how much, and what is not seen to."""
    by_factor: dict[str, list[Change]] = {}
    for change in changes:
        by_factor.setdefault(change.factor, []).append(change)
    strongest = lambda some: max(some, key=lambda c: (c.told, abs(c.pair.difference.mean)))
    each = sorted(map(strongest, by_factor.values()), key=lambda c: -abs(c.pair.difference.mean))
    told = [_tell(change, metric) for change in each if change.told]
    quiet = [change for change in each if not change.told]
    parts = told + ([_tell_quiet(quiet, metric)] if quiet else [])
    if not parts:
        return "No effect could be judged: the variants that were trained determine none."
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _tell(change: Change, metric: Metric) -> str:
    mean = change.pair.difference.mean
    gain, interval = metric.format_gain, _interval(change.pair, metric)
    if change.removes:
        verb = "costs" if mean < 0 else "gains"
        return f"removing {change.factor} {verb} {metric.amount(abs(mean))} ({interval})"
    was, now = change.levels
    points = f"{gain(mean)} points" if metric.percent else f"{gain(mean)} of {metric.label}"
    return f"{change.factor} matters ({points} from {was} to {now}, {interval})"


def _interval(pair: Pair, metric: Metric) -> str:
    _, _, low, high = pair.difference
    return f"95 % interval {metric.format_gain(low)} to {metric.format_gain(high)}"


def _tell_quiet(changes: Sequence[Change], metric: Metric) -> str:
    def shown(change: Change) -> str:
        steps = "" if change.removes else f"{change.levels[0]} to {change.levels[1]}: "
        gain = metric.format_gain(change.pair.difference.mean)
        interval = _interval(change.pair, metric).removeprefix("95 % ")
        name = f"removing {change.factor}" if change.removes else change.factor
        return f"{name} ({steps}{gain}, {interval})"

    if len(changes) > _MOST:
        names = [c.factor for c in changes]
        return f"no effect of {', '.join(names[:-1])} or {names[-1]} is seen"
    return f"no effect is seen of {', or of '.join(map(shown, changes))}"


def _evidence(answers: Answers, ablation: Ablation, judged: Sequence[Judged]) -> str:
    count = len(ablation.points)
    found = tell_evidence(answers, judged[0].pair if judged else None)
    return f"{ablation.design.capitalize()}, {count} variants. {found}."


def _tell_interactions(effects: Sequence[Effect], metric: Metric) -> list[str]:
    sentences = []
    for effect in effects:
        if not effect.told:
            continue
        (one, other), ((was, now), (_, where)) = effect.factors, effect.levels
        mean = effect.pair.difference.mean
        size = "larger" if mean > 0 else "smaller"
        step = f"removing {one}" if (was, now) == (KEPT, REMOVED) else f"{one} from {was} to {now}"
        context = f"without {other}" if where == REMOVED else f"with {other}={where}"
        sentences.append(
            f"Interaction: the gain of {step} is {metric.amount(abs(mean))} {size} {context} "
            f"({_interval(effect.pair, metric)}, {format_p(effect.p)})."
        )
    if effects and not sentences:
        sentences.append(f"None of the {len(effects)} interactions is distinguishable from zero.")
    return sentences


def _unseen(changes: Sequence[Change], metric: Metric, *, folded: bool) -> list[str]:
    """Which differences the quiet factors may have that could not be seen, and what would show."""
    quiet = [change for change in changes if not change.told]
    if not quiet or folded:
        return []
    middle = sorted(quiet, key=lambda c: c.pair.spread.total)[(len(quiet) - 1) // 2]
    spread, alpha = middle.pair.spread, ALPHA / max(len(changes), 1)
    most = metric.limits[1] - metric.limits[0]
    least = detectable(spread, alpha)
    lines = resolution(spread, metric, len(changes))
    if not lines and least < most:
        lines = [f"Differences below {metric.amount(least)} could not be seen here."]
    largest = max(quiet, key=lambda c: abs(c.pair.difference.mean))
    want = needed(largest.pair)
    if want.seeds and spread.num_seeds > 1 and want.seeds > spread.num_seeds:
        lines.append(
            f"If the effect of {largest.factor} is as large as it looks, about "
            f"{rounded(want.seeds)} seeds would show it."
        )
    return lines


def _undetermined(effects: Sequence[Effect], ablation: Ablation) -> list[str]:
    found = {effect.factors[0] for effect in effects}
    lost = [name for name in ablation.factors if name not in found]
    if not lost:
        return []
    return [f"Variants failed, and the others do not determine the effect of {', '.join(lost)}."]
