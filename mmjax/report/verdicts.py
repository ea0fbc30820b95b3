"""What a comparison says, in words: does fusion beat the best modality alone?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from mmjax.report.answers import Answers
from mmjax.statistics import ALPHA, VERDICTS, Pair, compare_pair, holm, needed

_MANY = 12  # strategies that nothing can be said about are counted if they are more
_STRICT = 8.0  # standard errors


class Judged(NamedTuple):
    """A strategy against another; ``p`` is corrected for all that are judged together."""

    strategy: str
    pair: Pair
    p: float
    verdict: str


class Verdict(NamedTuple):
    """What the page, the summary and the terminal say first.

    Attributes:
        headline: one sentence.
        sentences: what it rests on, and what follows for the other strategies.
        fusion: the best on validation.
        baseline: the best on validation.
        pair: the fusion minus the baseline, None where they cannot be judged.
        against_baseline: every fusion against the best baseline.
        against_fusion: every other fusion against the best one.
    """

    headline: str
    sentences: tuple[str, ...] = ()
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
    """The best fusion against the best modality alone, and every fusion against both.

    The best are chosen on validation. The headline tests one difference that was fixed before the
    test rows were looked at; the p-values of the lists are corrected (Holm) because they are many.
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
    fusions = [name for name in answers.scores if name not in answers.baselines]
    against_baseline = judge_all(answers, fusions, baseline)
    against_fusion = judge_all(answers, [name for name in fusions if name != fusion], fusion)
    sentences = (
        *_evidence(pair, answers),
        *_outlook(pair),
        *_one_or_many(fusion, pair, against_baseline),
        _sort_out(against_baseline, baseline, "the best modality alone"),
        _sort_out(against_fusion, fusion, "the best fusion"),
        _strictness(against_baseline),
    )
    return Verdict(
        headline=_headline(fusion, baseline, pair, answers),
        sentences=tuple(filter(None, sentences)),
        fusion=fusion,
        baseline=baseline,
        pair=pair,
        against_baseline=tuple(against_baseline),
        against_fusion=tuple(against_fusion),
    )


def judge_all(answers: Answers, names: Sequence[str], reference: str) -> list[Judged]:
    """Strategies against one, Holm-corrected over all of them."""
    against = answers.scores[reference]
    pairs = [light_pair(answers.scores[name], against, answers.group) for name in names]
    corrected = holm([pair.p for pair in pairs]).tolist()
    return [
        Judged(name, pair, p, pair.verdict(p))
        for name, pair, p in zip(names, pairs, corrected, strict=True)
    ]


def light_pair(first: np.ndarray, second: np.ndarray, group: np.ndarray) -> Pair:
    """``compare_pair`` where pairs are many and nobody reads the bootstrap's p."""
    return compare_pair(first, second, group, num_resamples=1)


def format_p(p: float) -> str:
    """``p = 0.012``, or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _headline(fusion: str, baseline: str, pair: Pair, answers: Answers) -> str:
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


def _evidence(pair: Pair, answers: Answers) -> list[str]:
    num_seeds, num_groups, rows = pair.spread.num_seeds, pair.spread.num_groups, len(answers.group)
    seeds = "1 seed" if num_seeds == 1 else f"{num_seeds} seeds"
    where = f"{rows:,} {_SPLITS[answers.split]} rows in {num_groups:,} groups"
    lines = [f"It rests on {seeds} and {where}; both strategies were chosen on validation."]
    if num_seeds == 1:
        lines.append("With one seed it holds for these trained models only.")
    if answers.split == "valid":
        lines.append(
            "The test rows have no labels, so scores are those of the choice: they flatter."
        )
    return lines


def _outlook(pair: Pair) -> list[str]:
    if pair.verdict() != "not distinguishable":
        return []
    want, spread, ways = needed(pair), pair.spread, []
    if want.seeds and spread.num_seeds > 1:
        ways.append(f"about {_rough(want.seeds)} seeds on these rows")
    if want.groups:
        seeds = "these seeds" if spread.num_seeds > 1 else "this seed"
        ways.append(f"about {_rough(want.groups)} groups with {seeds}")
    if ways:
        return [f"To tell a difference of this size (power 80 %): {', or '.join(ways)}."]
    return ["Neither more seeds alone nor more groups alone would tell a difference of this size."]


def _one_or_many(fusion: str, pair: Pair, judged: Sequence[Judged]) -> list[str]:
    """Why the headline and the list may disagree about the same two strategies."""
    (own,) = (one for one in judged if one.strategy == fusion)
    if own.verdict == pair.verdict():
        return []
    return [
        f"As one of {len(judged)} fusions tested together, {fusion} would not be distinguishable "
        f"({format_p(own.p)}); the headline is the one test that validation fixed beforehand."
    ]


def _strictness(judged: Sequence[Judged]) -> str:
    """What the correction of a long list asks of few seeds."""
    seeds = judged[0].pair.spread.num_seeds
    if seeds == 1 or len(judged) == 1:
        return ""
    asks = lambda seeds: student.ppf(1 - ALPHA / 2 / len(judged), seeds - 1)
    if asks(seeds) < _STRICT or all(one.verdict != VERDICTS[-1] for one in judged):
        return ""
    more = next(more for more in range(seeds, 100) if asks(more) < _STRICT)
    return (
        f"In a list of {len(judged)}, a difference that varies with the seed is told only if it is "
        f"{asks(seeds):.0f} times its standard error with {seeds} seeds, {asks(more):.0f} times "
        f"with {more}: more seeds help most."
    )


def _rough(number: int) -> str:
    """Two significant digits, rounded up: the number follows from an estimated variance."""
    unit = 10 ** max(len(str(number)) - 2, 0)
    return f"{-(-number // unit) * unit:,}"


def _sort_out(judged: Sequence[Judged], reference: str, role: str) -> str:
    parts = []
    for verdict in VERDICTS:
        names = [one.strategy for one in judged if one.verdict == verdict]
        listed = ", ".join(names)
        if verdict == VERDICTS[-1] and len(names) > _MANY:
            listed = f"the other {len(names)}" if parts else f"all {len(names)}"
        if names:
            parts.append(f"{verdict.capitalize()}: {listed}.")
    if not parts:
        return ""
    tests = f", corrected for {len(judged)} tests" if len(judged) > 1 else ""
    return f"Against {reference}, {role}{tests}. {' '.join(parts)}"
