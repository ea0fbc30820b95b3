"""The verdict of a comparison: does fusion beat the best unimodal baseline?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmjax.analysis.answers import Answers
from mmjax.analysis.effects import Effect
from mmjax.analysis.statistics import (
    ALPHA,
    FEWEST,
    VERDICTS,
    Pair,
    Spread,
    detectable,
    holm,
    needed,
)
from mmjax.types import Metric

UNTESTED = "not tested"
"""The verdict on all other pairs where the headline's pair does not differ significantly."""

RULE = (
    "The two strategies of the headline were selected on validation, before any test row was used, "
    "and are tested first, at the 5 % level. Only if they differ significantly are the other pairs "
    "tested, with Holm-corrected p-values."
)

NO_ANSWERS = (
    "No verdict: it requires the predictions of every strategy on at least two groups of rows "
    "(predictions/*.npz and labels.npz in a run folder), and a metric that has a value on the test "
    "rows of each fold, and without any one of the groups."
)

BASELINE = "the best unimodal baseline"

_MANY = 12  # more strategies than this that are not distinguishable are counted, not listed
_MORE_SEEDS = (3, 5, 10, 20)


class Judged(NamedTuple):
    """A strategy compared with another; ``p`` is corrected for all tests of its list."""

    strategy: str
    pair: Pair
    p: float
    verdict: str

    @property
    def told(self) -> bool:
        """Whether the difference is significant."""
        return self.verdict in VERDICTS[:2]


class Verdict(NamedTuple):
    """The conclusion that the page, the summary and the terminal start with.

    Attributes:
        headline: one sentence.
        sentences: the evidence for it, and the conclusions on the other strategies.
        rule: how all of them were tested.
        fusion: the best fusion on validation.
        baseline: the best unimodal baseline on validation.
        pair: the fusion minus the baseline, None where they cannot be compared.
        against_baseline: every other strategy against the best unimodal baseline, the headline's
            first.
        against_fusion: every other fusion against the best one.
        effects: what the factors of an ablation do, and their interactions.
        reference: what ``baseline`` is, in words.

    Example:
        >>> print(Verdict("Fusion pays.", ("Based on 3 seeds.",)))
        Fusion pays.
        Based on 3 seeds.
    """

    headline: str
    sentences: tuple[str, ...] = ()
    rule: str = ""
    fusion: str | None = None
    baseline: str | None = None
    pair: Pair | None = None
    against_baseline: tuple[Judged, ...] = ()
    against_fusion: tuple[Judged, ...] = ()
    effects: tuple[Effect, ...] = ()
    reference: str = BASELINE

    @property
    def text(self) -> str:
        """All sentences, one per line."""
        return "\n".join([self.headline, *self.sentences])

    def __str__(self) -> str:
        return self.text


def judge(answers: Answers | None) -> Verdict:
    """Tests the best fusion against the best unimodal baseline, and all others against both.

    Each pair is tested once, by ``RULE``: serial gatekeeping (Dmitrienko et al., Multiple Testing
    Problems in Pharmaceutical Statistics, 2009, chapter 5), with Holm's correction behind the gate.
    The headline, the lists, the table and the figures therefore agree on every pair.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> skills = {"image_only": 0.6, "sum": 0.9}
        >>> scores = {name: rng.random((3, 200)) < p for name, p in skills.items()}
        >>> verdict = judge(Answers(scores, np.arange(200), skills, ["image_only"], "test"))
        >>> print(verdict.headline)
        Fusion pays: sum beats image_only, the best unimodal baseline, by ...
    """
    if answers is None:
        return Verdict(NO_ANSWERS)
    fusion, baseline = answers.best(alone=False), answers.best(alone=True)
    if fusion is None or baseline is None:
        return Verdict("Nothing to compare: a verdict requires a fusion and a unimodal baseline.")
    pair = answers.compare(fusion, baseline)
    others = [name for name in answers.scores if name not in (fusion, baseline)]
    fusions = [name for name in others if name not in answers.baselines]
    against_baseline = judge_all(answers, others, baseline, pair)
    against_fusion = judge_all(answers, fusions, fusion, pair)
    metric, folded = answers.metric, answers.folds is not None
    sentences = [*_evidence(answers), *_ahead_of(baseline, answers)]
    if not folded:  # whose number the formulas for more seeds or rows do not know
        sentences += _outlook(pair, metric)
    if pair.p < ALPHA:
        others_of = f"Others against {baseline}, {BASELINE}"
        sentences += _sort_out(against_baseline, others_of, metric, folded)
        fusions_of = f"Other fusions against {fusion}, the best fusion"
        sentences += _sort_out(against_fusion, fusions_of, metric, folded)
    elif others:
        sentences.append("As this difference is not significant, no other pair is tested.")
    return Verdict(
        headline=_headline(fusion, baseline, pair, answers),
        sentences=tuple(sentences),
        rule=RULE,
        fusion=fusion,
        baseline=baseline,
        pair=pair,
        against_baseline=(Judged(fusion, pair, pair.p, pair.verdict()), *against_baseline),
        against_fusion=tuple(against_fusion),
    )


def judge_all(
    answers: Answers, names: Sequence[str], reference: str, gate: Pair | None = None
) -> list[Judged]:
    """Strategies against one, Holm-corrected over all of them; if ``gate`` is significant, if any.

    Example:
        >>> scores = {"a": np.zeros((1, 50)), "b": np.ones((1, 50)), "c": np.ones((1, 50))}
        >>> answers = Answers(scores, np.arange(50), {}, ["a"], "test")
        >>> gate = answers.compare("b", "a")
        >>> [one.verdict for one in judge_all(answers, ["c"], "a", gate)]
        ['better']
    """
    pairs = [answers.compare(name, reference) for name in names]
    least = gate.p if gate else 0.0
    corrected = np.maximum(holm([pair.p for pair in pairs]), least).tolist()
    word = lambda pair, p: pair.verdict(p) if least < ALPHA else UNTESTED
    return [
        Judged(name, pair, p, word(pair, p))
        for name, pair, p in zip(names, pairs, corrected, strict=True)
    ]


def format_p(p: float) -> str:
    """Formats a p-value.

    Example:
        >>> format_p(0.0123), format_p(1e-6)
        ('p = 0.012', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _headline(fusion: str, baseline: str, pair: Pair, answers: Answers) -> str:
    if pair.differing < FEWEST:
        return (
            f"Too few rows differ for a verdict: {fusion} and {baseline}, {BASELINE}, score "
            f"differently on {pair.differing} of {_count(pair.groups, answers)}; at least {FEWEST} "
            "are required."
        )
    metric, (mean, _, low, high) = answers.metric, pair.difference
    gain = lambda value: metric.format_gain(value)
    evidence = f"(95 % interval {gain(low)} to {gain(high)}, {format_p(pair.p)})"
    points = metric.amount(abs(mean), _SPLITS[answers.split])
    other = f"{baseline}, {BASELINE}"
    match pair.verdict():
        case "better":
            return f"Fusion pays: {fusion} beats {other}, by {points} {evidence}."
        case "worse":
            return f"Fusion does not pay: {fusion} falls behind {other}, by {points} {evidence}."
    sign = "+" if mean >= 0 else "-"
    return f"No significant difference between {fusion} and {other}: {sign}{points} {evidence}."


_SPLITS = {"test": "test", "valid": "validation"}


def _count(groups: int, answers: Answers) -> str:
    what = "rows" if groups == len(answers.group) else "groups of rows"
    return f"{groups:,} {_SPLITS[answers.split]} {what}"


def _evidence(answers: Answers) -> list[str]:
    inside = " rows inside the folds" if answers.folds else ""
    selected = f"both strategies were selected on validation{inside}."
    return [f"{tell_evidence(answers)}; {selected}", *caveats(answers)]


def _ahead_of(baseline: str, answers: Answers) -> list[str]:
    """The unimodal baseline that scores highest on the rows of the verdict, if it is another."""
    means = {n: s.mean() for n, s in answers.scores.items() if n in answers.baselines}
    highest = max(means, key=means.__getitem__)
    if not means[highest] > means[baseline]:
        return []
    why = "to prefer it for that would be selection on the rows that judge"
    return [f"{highest} scores higher than {baseline} on these rows, but {why}."]


def tell_evidence(answers: Answers) -> str:
    """The seeds and the rows that a verdict rests on, as the beginning of a sentence.

    Example:
        >>> answers = Answers({"sum": np.ones((3, 50))}, np.arange(50) // 2, {}, [], "test")
        >>> tell_evidence(answers)
        'Based on 3 seeds and 50 test rows in 25 groups'
    """
    rows, groups = len(answers.group), len(np.unique(answers.group))
    grouped = f" in {groups:,} groups" if groups < rows else ""
    models = len(next(iter(answers.scores.values())))
    if answers.folds is not None:
        repeats = len(answers.folds.fold)
        parts = f"{answers.folds.total // repeats} folds"
        times = f", dealt {repeats} times" if repeats > 1 else ""
        dealt = f"Based on {_seeds(models // repeats)} and {parts}{times}, which together test all"
        return f"{dealt} {rows:,} rows{grouped}"
    where = f"{rows:,} {_SPLITS[answers.split]} rows{grouped}"
    return f"Based on {_seeds(models)} and {where}"


def caveats(answers: Answers) -> list[str]:
    """Sentences on what a verdict does not hold for, or has accounted for.

    Example:
        >>> caveats(Answers({"sum": np.ones((1, 50))}, np.arange(50), {}, [], "test"))
        ['With one seed, this holds for these trained models only.']
    """
    if answers.folds is not None:
        return ["The test accounts for the training rows that folds share."]
    lines = []
    if len(next(iter(answers.scores.values()))) == 1:
        lines.append("With one seed, this holds for these trained models only.")
    if answers.split == "valid":
        lines.append(
            "The test rows have no labels, so strategies are scored on the rows that they were "
            "selected on: the scores are optimistic."
        )
    return lines


def _seeds(number: int) -> str:
    return "1 seed" if number == 1 else f"{number} seeds"


def _outlook(pair: Pair, metric: Metric) -> list[str]:
    """The seeds or rows required where the difference is not significant."""
    if pair.p < ALPHA:
        return []
    want, spread, ways = needed(pair), pair.spread, []
    if want.seeds and spread.num_seeds > 1:
        ways.append(f"train about {rounded(want.seeds)} seeds on these rows")
    if want.groups:
        ways.append(f"collect about {rounded(want.groups)} groups of test rows")
    required = f"To detect a difference of this size with 80 % power, {', or '.join(ways)}."
    never = "More seeds alone, or more groups alone, would not detect a difference of this size."
    return [required if ways else never, *resolution(spread, metric)]


def resolution(spread: Spread, metric: Metric, tests: int = 1, of: str = "pair") -> list[str]:
    """A sentence on the differences that these seeds can detect, and those that more would.

    Args:
        spread: of a difference that is not distinguishable.
        metric: of the difference.
        tests: number of tests that the level is divided by.
        of: what is tested.
    """
    more = [seeds for seeds in _MORE_SEEDS if seeds > spread.num_seeds][:2]
    if spread.num_seeds == 1 or not more:
        return []
    least = lambda seeds: detectable(spread.at(seeds, spread.num_groups), ALPHA / tests)
    most, own = metric.limits[1] - metric.limits[0], least(spread.num_seeds)
    show = lambda value: metric.format_gain(value).lstrip("+")
    now = f"differences above {metric.amount(own)}" if own < most else "hardly any difference"
    whose = f"For a typical {of} that is not distinguishable, " if tests > 1 else ""
    would = [f"{n} seeds, above {show(found)}" for n in more if (found := least(n)) < most]
    detects = "; ".join([now, *would])
    return [f"{whose}{_seeds(spread.num_seeds)} on these rows can detect {detects}."]


def rounded(number: int) -> str:
    """Two significant digits, rounded up, because the number follows from an estimated variance.

    Example:
        >>> rounded(12_345)
        '13,000'
    """
    unit = 10 ** max(len(str(number)) - 2, 0)
    return f"{-(-number // unit) * unit:,}"


def _sort_out(judged: Sequence[Judged], which: str, metric: Metric, folded: bool) -> list[str]:
    parts: list[str] = []
    for verdict in VERDICTS:
        names = [one.strategy for one in judged if one.verdict == verdict]
        listed = ", ".join(names)
        if verdict == VERDICTS[-1] and len(names) > _MANY:
            listed = f"the other {len(names)}" if parts else f"all {len(names)}"
        if names:
            parts.append(f"{verdict.capitalize()}: {listed}.")
    if not parts:
        return []
    tests = f" ({len(judged)} tests, Holm-corrected)" if len(judged) > 1 else ""
    lines = [f"{which}{tests}. {' '.join(parts)}"]
    open_ = [one.pair.spread for one in judged if not one.told]
    if open_ and not folded:  # the middle one stands for what more seeds would detect
        middle = sorted(open_, key=lambda spread: spread.total)[(len(open_) - 1) // 2]
        lines += resolution(middle, metric, len(judged))
    return lines
