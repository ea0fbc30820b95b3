"""Do verdicts keep their word: few false ones between copies, and the power that they state?

    python experiments/verdicts.py --out runs/verdicts

Simulated: lists of ten strategies against one, all alike, over a grid of numbers of rows, sizes of
groups, seeds, accuracies, shares of rows that differ, and luck of seeds; the same with a true
difference; and two strategies whose true accuracies are known, for the power that is stated. Real:
one strategy trained with many seeds on the same encodings of ``digits`` and dealt into pairs of
copies, between which every difference is chance.

About an hour on two CPU cores; the same command goes on where it was stopped. Expected, but for
sampling error: p < 0.05 for at most 5.5 % of the pairs of copies, p < 0.001 for at most 0.15 %, a
false difference in at most 5.5 % of the lists, intervals that cover in 94 % or more, and
differences told as often as ``statistics.power`` says. docs/results/verdicts.md is its summary.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.progress import track
from scipy.stats import norm
from simulated import SCORES, Row, go_on, simulate, simulate_lists, true_score
from verdicts_page import write_summary

from mmjax.analysis.statistics import (
    ALPHA,
    Spread,
    compare_pair,
    power,
    sign_flip_p,
    spread_of_sums,
    sum_groups,
)
from mmjax.comparison.arm import make_arm
from mmjax.comparison.encoded_arms import fit_each, make_encoded_arms
from mmjax.comparison.encodings import encode
from mmjax.tasks import load_task
from mmjax.training.fit import fit

LENGTH = 10  # of a list
SIZES = {"1": (1,), "2": (2,), "1 to 5": (1, 1, 2, 1, 5, 3)}
_VALUES = 2_000_000  # margins in memory at a time
_MOST = 1_500_000  # rows of all seeds and lists of a kind


@dataclass(frozen=True)
class Study:
    """What the command line sets.

    Attributes:
        out: folder for rows, figures and summary.
        lists: simulated lists of each kind, fewer of large ones.
        rows: numbers of rows of the grid.
        seeds: numbers of seeds of the grid.
        rounds: simulated comparisons of each kind, for the power that is stated.
        pairs: pairs of trained copies, of three seeds each.
        strategy: what is copied.
        steps: train steps of a copy.
    """

    out: Path
    lists: int = 1000
    rows: tuple[int, ...] = (12, 40, 100, 300, 1000)
    seeds: tuple[int, ...] = (1, 2, 3, 5, 10)
    rounds: int = 2000
    pairs: int = 100
    strategy: str = "concat"
    steps: int = 200


def main(study: Study) -> None:
    """Simulates, trains, writes the summary."""
    study.out.mkdir(parents=True, exist_ok=True)
    lists = lambda kind: [list_row(study.lists, **kind)]
    go_on(study.out / "lists.jsonl", list(kinds_of_lists(study)), lists)
    luck = product(study.seeds, (0.0, 0.1, 0.3), (0.0, 0.15, 0.4))
    kinds = [{"seeds": s, "of_seed": of, "gap": gap} for s, of, gap in luck if s > 1 or of == 0]
    go_on(study.out / "power.jsonl", kinds, lambda kind: [power_row(study.rounds, **kind)])
    go_on(study.out / "trained.jsonl", [{"strategy": study.strategy}], lambda _: [trained(study)])
    write_summary(study.out)
    print((study.out / "summary.md").read_text(encoding="utf-8"))


def kinds_of_lists(study: Study) -> Iterator[Row]:
    """All that a list can be; ``gap`` is a share of the discordance."""
    answers = ((0.5, 0.1), (0.75, 0.05), (0.9, 0.02), (0.99, 0.01), (0.99, 0.002))
    for gap, rows, seeds in product((0.0, 0.5), study.rows, study.seeds):
        for size, luck in product(SIZES, (0.0, 0.05, 0.3)):
            if seeds == 1 and luck > 0:  # one seed answers for its models only
                continue
            common = {"rows": rows, "size": size, "seeds": seeds, "luck": luck, "gap": gap}
            for accuracy, discordance in answers:
                of = {"accuracy": accuracy, "discordance": discordance}
                yield {"score": "accuracy", **of, **common}
            for score in ("R2", "NLL") if rows in study.rows[:3:2] else ():
                yield {"score": score, "accuracy": 0.75, "discordance": 0.05, **common}


def list_row(lists: int, *, score: str, rows: int, size: str, gap: float, **kind: Any) -> Row:
    """How often ten strategies are told from one that is as good, or one that is better."""
    group = np.repeat(np.arange(rows), np.resize(SIZES[size], rows))[:rows]
    length = 1 if gap else LENGTH
    skill = norm.ppf(kind["accuracy"])
    shift = norm.ppf(norm.cdf(skill) + gap * kind["discordance"]) - skill
    truth = true_score(score, skill + shift) - true_score(score, skill)
    rng = np.random.default_rng([rows, kind["seeds"], int(1000 * kind["discordance"])])
    lists = min(lists, _MOST // (rows * kind["seeds"]))
    chunk = max(1, _VALUES // (rows * kind["seeds"] * (length + 1)))
    found = []
    for start in range(0, lists, chunk):
        count = min(chunk, lists - start)
        margins = simulate_lists(rng, count, length + 1, group, gap=shift, **kind)
        scores = SCORES[score](margins).astype(np.float64)
        found.append(judge(scores[:, 1:] - scores[:, :1], group, truth))
    judged = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    narrowest = float(judged.pop("reach").min())
    rates = {name: float(values.mean()) for name, values in judged.items()}
    errors = {f"{name}_error": _error(values) for name, values in judged.items()}
    return {"lists": lists, "truth": truth, **rates, **errors, "narrowest": narrowest}


def judge(difference: np.ndarray, group: np.ndarray, truth: float) -> dict[str, np.ndarray]:
    """What ``compare_pair`` and ``holm`` say of many at once.

    Args:
        difference: [lists, length, seeds, rows] of scores.
        group: [rows].
        truth: the true mean difference.

    Returns:
        [lists, length], or [lists] for what is said of a whole list. ``plain`` is the crossed
        analysis alone, without what keeps its parts from being zero.
    """
    sums, size = sum_groups(difference, group)
    mean, parts, plain = (
        difference.mean(axis=(-2, -1)),
        spread_of_sums(sums, size),
        _plain(sums, size),
    )
    reach, sums = parts.reach(1 - ALPHA), sums.mean(axis=-2)
    flips = np.ones(mean.shape)
    for index in zip(*np.nonzero(np.abs(mean) > reach), strict=True):
        flips[index] = sign_flip_p(sums[index])
    told = lambda level: (np.abs(mean) > parts.reach(1 - level)) & (flips < level)
    plainly = lambda level: (np.abs(mean) > plain.reach(1 - level)) & (mean != 0)
    reach = np.where(told(ALPHA), reach, np.maximum(reach, np.abs(mean)))
    return {
        "told": told(ALPHA),
        "sure": told(0.001),
        "in_list": told(ALPHA / difference.shape[1]).any(axis=1),
        "covered": np.abs(mean - truth) <= reach,
        "plain_told": plainly(ALPHA),
        "plain_sure": plainly(0.001),
        "plain_in_list": plainly(ALPHA / difference.shape[1]).any(axis=1),
        "plain_covered": np.abs(mean - truth) <= plain.reach(1 - ALPHA),
        "reach": reach,
    }


def _plain(sums: np.ndarray, size: np.ndarray) -> Spread:
    """``spread_of_sums`` as the textbook has it."""
    seeds, groups = sums.shape[-2:]
    of_seed = sums.sum(axis=-1, keepdims=True)
    excess = sums - of_seed * size
    shared = excess.mean(axis=-2, keepdims=True)
    of_groups = np.square(shared).sum(axis=(-2, -1)) * groups / (groups - 1)
    if seeds == 1:
        return Spread(0.0, of_groups, 0.0, 1, groups)
    of_seeds = np.var(of_seed[..., 0], axis=-1, ddof=1) / seeds
    both = np.square(excess - shared).sum(axis=(-2, -1)) * groups / (groups - 1)
    both /= seeds * (seeds - 1)
    return Spread(of_seeds, np.maximum(of_groups - both, 0.0), both, seeds, groups)


def _error(values: np.ndarray) -> float:
    """Standard error of a mean over lists, whose members are not independent."""
    of_list = values.reshape(len(values), -1).mean(axis=1)
    return float(of_list.std() / len(values) ** 0.5)


def power_row(rounds: int, *, gap: float, **sizes: Any) -> Row:
    """How often a difference is told, and how often it should be, over rounds of simulation.

    ``power`` is that of the variances themselves, as the mean over all rounds estimates them;
    ``stated``, with its quartiles, that of the variances which a single round finds.
    """
    truth = norm.cdf((1 + gap) / _deviation(**sizes)) - norm.cdf(1 / _deviation(**sizes))
    told, stated, parts = [], [], []
    for round_ in range(rounds):
        rng = np.random.default_rng((round_, sizes["seeds"]))
        (first, second), group = simulate(rng, gap=gap, **sizes)
        pair = compare_pair(first, second, group)
        told.append(pair.p < ALPHA)
        stated.append(power(pair.spread, truth))
        parts.append(pair.spread)
    low, median, high = np.quantile(stated, [0.25, 0.5, 0.75]).tolist()
    return {
        "truth": truth,
        "rounds": rounds,
        **_rate(told),
        "power": power(Spread(*np.mean(parts, axis=0)), truth),
        "stated": median,
        "stated_low": low,
        "stated_high": high,
    }


def _deviation(seeds: int, of_seed: float, of_group: float = 0.4) -> float:
    """Standard deviation of what decides whether an answer is right."""
    return (2 + of_seed**2 + of_group**2) ** 0.5


def _rate(told: Sequence[bool]) -> Row:
    return {"told": float(np.mean(told)), "told_error": _error(np.array(told))}


def trained(study: Study, seeds_each: int = 3) -> Row:
    """How often two copies of a trained strategy are told apart."""
    task = load_task("digits")
    alone = {
        name: fit(
            make_arm(task, f"{name}_only", seeds=(0,), steps=study.steps).recipe, task.only(name)
        )
        for name in task.modalities
    }
    (encoded,) = encode(task, alone)
    seeds = range(2 * seeds_each * study.pairs)
    arms = make_encoded_arms([encoded] * len(seeds), study.strategy, seeds, steps=study.steps)
    rows, right, program = encoded.test.batch(), [], None
    for arm in track(arms, "trained"):
        ((_, fitted),), program = fit_each([arm], program)
        right.append(fitted.predict(fitted.params, rows)[0].argmax(axis=-1) == rows.target)
    copies = np.array(right, float).reshape(study.pairs, 2, seeds_each, -1)
    found = [compare_pair(*pair, encoded.test.group) for pair in copies]
    told = [pair.p < ALPHA for pair in found]
    return {"seeds": seeds_each, "rounds": study.pairs, **_rate(told)}


if __name__ == "__main__":
    main(tyro.cli(Study))
