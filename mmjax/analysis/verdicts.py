"""What a comparison says, in words: does fusion beat the best modality alone?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmjax.analysis.answers import Answers
from mmjax.analysis.statistics import (
    ALPHA,
    FEWEST,
    VERDICTS,
    Pair,
    Spread,
    compare_pair,
    detectable,
    holm,
    needed,
)

UNTESTED = "not tested"
"""Said of all other pairs where the headline's finds no difference."""

RULE = (
    "The headline's two strategies were chosen on validation, before a test row was looked at, and "
    "are tested first, at 5 %. Only if they differ are the others tested, with p-values corrected "
    "for their number (Holm)."
)

_MANY = 12  # strategies that nothing can be said about are counted if they are more
_MORE_SEEDS = (3, 5, 10, 20)
_MOST = 100  # points: no difference is as large


class Judged(NamedTuple):
    """A strategy against another; ``p`` is corrected for all that are judged together."""

    strategy: str
    pair: Pair
    p: float
    verdict: str

    @property
    def told(self) -> bool:
        """Whether there is a difference."""
        return self.verdict in VERDICTS[:2]


class Verdict(NamedTuple):
    """What the page, the summary and the terminal say first.

    Attributes:
        headline: one sentence.
        sentences: what it rests on, and what follows for the other strategies.
        rule: how all of them were judged.
        fusion: the best on validation.
        baseline: the best on validation.
        pair: the fusion minus the baseline, None where they cannot be judged.
        against_baseline: every other strategy against the best baseline, the headline's first.
        against_fusion: every other fusion against the best one.
    """

    headline: str
    sentences: tuple[str, ...] = ()
    rule: str = ""
    fusion: str | None = None
    baseline: str | None = None
    pair: Pair | None = None
    against_baseline: tuple[Judged, ...] = ()
    against_fusion: tuple[Judged, ...] = ()

    @property
    def text(self) -> str:
        """All sentences, one a line."""
        return "\n".join([self.headline, *self.sentences])

    __str__ = text.fget


def judge(answers: Answers | None) -> Verdict:
    """The best fusion against the best modality alone, and every other strategy against both.

    Each pair is judged once, by ``RULE``: serial gatekeeping (Dmitrienko et al., Multiple Testing
    Problems in Pharmaceutical Statistics, 2009, chapter 5), with Holm's correction behind the gate.
    So what the headline, the lists, the table and the figures say of a pair is the same.
    """
    if answers is None:
        return Verdict(
            "No verdict: it needs the predictions of every strategy, on two groups of rows or more "
            "(a folder has them in predictions/*.npz and labels.npz)."
        )
    fusion, baseline = answers.best(alone=False), answers.best(alone=True)
    if fusion is None or baseline is None:
        return Verdict("Nothing to compare: a verdict needs a fusion and a unimodal baseline.")
    pair = compare_pair(answers.scores[fusion], answers.scores[baseline], answers.group)
    others = [name for name in answers.scores if name not in (fusion, baseline)]
    fusions = [name for name in others if name not in answers.baselines]
    against_baseline = judge_all(answers, others, baseline, pair)
    against_fusion = judge_all(answers, fusions, fusion, pair)
    sentences = [*_evidence(pair, answers), *_outlook(pair)]
    if pair.p < ALPHA:
        sentences += _sort_out(against_baseline, baseline, "the best modality alone")
        sentences += _sort_out(against_fusion, fusion, "the best fusion")
    elif others:
        sentences.append("So no other pair is tested.")
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


def judge_all(answers: Answers, names: Sequence[str], reference: str, gate: Pair) -> list[Judged]:
    """Strategies against one, Holm-corrected over all of them, if ``gate`` finds a difference."""
    against = answers.scores[reference]
    pairs = [compare_pair(answers.scores[name], against, answers.group) for name in names]
    corrected = np.maximum(holm([pair.p for pair in pairs]), gate.p).tolist()
    word = lambda pair, p: pair.verdict(p) if gate.p < ALPHA else UNTESTED
    return [
        Judged(name, pair, p, word(pair, p))
        for name, pair, p in zip(names, pairs, corrected, strict=True)
    ]


def format_p(p: float) -> str:
    """``p = 0.012``, or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _headline(fusion: str, baseline: str, pair: Pair, answers: Answers) -> str:
    if pair.differing < FEWEST:
        return (
            f"Too few rows differ to tell: {fusion} and {baseline}, the best modality alone, score "
            f"differently on {pair.differing} of {_count(pair.groups, answers)}; a verdict needs "
            f"{FEWEST}."
        )
    mean, _, low, high = (100 * value for value in pair.difference)
    evidence = f"(95 % interval {low:+.1f} to {high:+.1f}, {format_p(pair.p)})"
    points = f"{abs(mean):.1f} points of {_SPLITS[answers.split]} {answers.metric}"
    other = f"{baseline}, the best modality alone,"
    match pair.verdict():
        case "better":
            return f"Fusion pays: {fusion} beats {other} by {points} {evidence}."
        case "worse":
            return f"Fusion does not pay: {fusion} falls behind {other} by {points} {evidence}."
    more = "more" if mean >= 0 else "less"
    return (
        f"No difference can be told: {fusion} scores {points} {more} than {other} "
        f"which may be chance {evidence}."
    )


_SPLITS = {"test": "test", "valid": "validation"}


def _count(groups: int, answers: Answers) -> str:
    what = "rows" if groups == len(answers.group) else "groups of rows"
    return f"{groups:,} {_SPLITS[answers.split]} {what}"


def _evidence(pair: Pair, answers: Answers) -> list[str]:
    num_seeds, rows = pair.spread.num_seeds, len(answers.group)
    where = f"{rows:,} {_SPLITS[answers.split]} rows in {pair.groups:,} groups"
    lines = [
        f"It rests on {_seeds(num_seeds)} and {where}; both strategies were chosen on validation."
    ]
    if num_seeds == 1:
        lines.append("With one seed it holds for these trained models only.")
    if answers.split == "valid":
        lines.append(
            "The test rows have no labels, so scores are those of the choice: they flatter."
        )
    return lines


def _seeds(number: int) -> str:
    return "1 seed" if number == 1 else f"{number} seeds"


def _outlook(pair: Pair) -> list[str]:
    """What to do where no difference is found."""
    if pair.p < ALPHA:
        return []
    want, spread, ways = needed(pair), pair.spread, []
    if want.seeds and spread.num_seeds > 1:
        ways.append(f"run about {_rough(want.seeds)} seeds on these rows")
    if want.groups:
        ways.append(f"bring about {_rough(want.groups)} groups of test rows")
    told = f"To detect a difference of this size (power 80 %), {', or '.join(ways)}."
    never = "No number of seeds alone, nor of groups alone, would tell a difference of this size."
    return [told if ways else never, *_resolution(spread)]


def _resolution(spread: Spread, tests: int = 1) -> list[str]:
    """Which differences these seeds can find, and which more of them would."""
    more = [seeds for seeds in _MORE_SEEDS if seeds > spread.num_seeds][:2]
    if spread.num_seeds == 1 or not more:
        return []
    points = lambda seeds: 100 * detectable(spread.at(seeds, spread.num_groups), ALPHA / tests)
    list_of = f" in a list of {tests}" if tests > 1 else ""
    own = points(spread.num_seeds)
    now = f"differences above {own:.1f} points" if own < _MOST else "no difference"
    would = [f"{found:.1f} with {seeds}" for seeds in more if (found := points(seeds)) < _MOST]
    run = f"; run more to detect those above {' and '.join(would)}" if would else ""
    return [f"{_seeds(spread.num_seeds)} on these rows detect {now}{list_of}{run}."]


def _rough(number: int) -> str:
    """Two significant digits, rounded up: the number follows from an estimated variance."""
    unit = 10 ** max(len(str(number)) - 2, 0)
    return f"{-(-number // unit) * unit:,}"


def _sort_out(judged: Sequence[Judged], reference: str, role: str) -> list[str]:
    parts = []
    for verdict in VERDICTS:
        names = [one.strategy for one in judged if one.verdict == verdict]
        listed = ", ".join(names)
        if verdict == VERDICTS[-1] and len(names) > _MANY:
            listed = f"the other {len(names)}" if parts else f"all {len(names)}"
        if names:
            parts.append(f"{verdict.capitalize()}: {listed}.")
    if not parts:
        return []
    tests = f", corrected for {len(judged)} tests" if len(judged) > 1 else ""
    lines = [f"Against {reference}, {role}{tests}. {' '.join(parts)}"]
    open_ = [one.pair.spread for one in judged if not one.told]
    if open_:  # of which the middle one says what more seeds would do for most
        middle = sorted(open_, key=lambda spread: spread.total)[len(open_) // 2]
        lines += _resolution(middle, len(judged))
    return lines
