"""What a protocol claims of a method: arithmetic on stored answers, without training."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import kendalltau

BATCH = 64
USUAL = 1  # the learning rate that is taken where nothing is tuned
CONTAMINATIONS = {
    "best test epoch": "parameters are those of the epoch that is best on test",
    "tuned on test": "the learning rate is the best on test",
    "last batch dropped": "test rows that do not fill a batch are not scored",
    "one seed": "the result of a single seed is reported",
    "baseline not tuned": "the baseline keeps the usual learning rate",
    "speakers shared": "rows are dealt to training and test without regard to who speaks",
}
"""{name: what is done}; see ``claim`` for which side it is done to."""


class Answers(NamedTuple):
    """What the models of one arm answer: true where right, [rates, seeds, rows].

    Attributes:
        valid: on the validation rows.
        test: on the rows that are reported.
        held_out: on rows that no protocol sees.
    """

    valid: np.ndarray
    test: np.ndarray
    held_out: np.ndarray


Arm = Mapping[str, Answers]
"""{"clean": selected on validation, "test": on test}, and the same of the leaking task, if any,
under "leaking clean" and "leaking test"."""


class Draw(NamedTuple):
    """Seeds and rows on which a protocol is tried.

    Attributes:
        seeds: indices of seeds.
        weights: [rows] how often each test row counts.
    """

    seeds: np.ndarray
    weights: np.ndarray


def score(arm: Arm, draw: Draw, dirty: frozenset[str] | set[str]) -> float:
    """The accuracy that a protocol reports for an arm.

    Args:
        arm: its answers.
        draw: the seeds that were trained, and the test rows.
        dirty: keys of ``CONTAMINATIONS``.
    """
    chosen = "test" if "best test epoch" in dirty else "clean"
    answers = arm[f"leaking {chosen}" if "speakers shared" in dirty else chosen]
    seeds = draw.seeds[:1] if "one seed" in dirty else draw.seeds
    weights = draw.weights
    if "last batch dropped" in dirty:
        weights = np.where(np.arange(len(weights)) < len(weights) // BATCH * BATCH, weights, 0)
    test = answers.test[:, seeds] @ weights / weights.sum()  # [rates, seeds]
    if "baseline not tuned" in dirty:
        rate = USUAL
    elif "tuned on test" in dirty:
        rate = int(test.mean(axis=1).argmax())
    else:
        rate = int(answers.valid[:, seeds].mean(axis=(1, 2)).argmax())
    return float(test[rate].mean())


def claim(
    method: Arm, baseline: Arm, draws: tuple[Draw, Draw], dirty: set[str], both: bool
) -> float:
    """The gain over the baseline that a protocol reports.

    Args:
        method: the answers of the method.
        baseline: those of the baseline.
        draws: of either.
        dirty: contaminations.
        both: whether the baseline is treated like the method, or cleanly; who is not tuned is the
            baseline in any case.
    """
    first, second = sides(dirty, both)
    return score(method, draws[0], first) - score(baseline, draws[1], second)


def sides(dirty: set[str], both: bool) -> tuple[set[str], set[str]]:
    """What is done to the method, and to the baseline; see ``claim``."""
    untuned = dirty & {"baseline not tuned"}
    shared = dirty & {"speakers shared"}  # nobody would deal rows anew for the baseline alone
    return dirty - untuned, (dirty if both else shared) | untuned


def truth(arm: Arm) -> float:
    """The accuracy on held-out rows at the learning rate that validation selects, all seeds."""
    answers = arm["clean"]
    rate = int(answers.valid.mean(axis=(1, 2)).argmax())
    return float(answers.held_out[rate].mean())


def resample(num_seeds: int, group: np.ndarray, times: int) -> Iterator[Draw]:
    """Bootstrap draws of seeds, and of groups of rows."""
    rng = np.random.default_rng(0)
    _, index = np.unique(group, return_inverse=True)
    for _ in range(times):
        size = int(index.max()) + 1
        count = np.bincount(rng.integers(size, size=size), minlength=size)
        yield Draw(rng.integers(num_seeds, size=num_seeds), count[index].astype(float))


def nothing_wins(
    baseline: Arm, dirty: set[str], both: bool, seeds: int, times: int = 2000
) -> tuple[float, float]:
    """How often a method that does nothing looks better, and better by at least a point.

    The method is the baseline with other seeds; a tie counts half.
    """
    rng = np.random.default_rng(0)
    _, total, rows = baseline["clean"].test.shape
    whole, wins, large = np.ones(rows), 0.0, 0
    for _ in range(times):
        order = rng.permutation(total)
        draws = Draw(order[:seeds], whole), Draw(order[seeds : 2 * seeds], whole)
        gain = claim(baseline, baseline, draws, dirty, both)
        wins += 0.5 if gain == 0 else gain > 0
        large += gain >= 0.01
    return wins / times, large / times


def agreement(arms: Sequence[Arm], true: Sequence[float], draw: Draw, dirty: set[str]) -> float:
    """Kendall's tau of the ranking that a protocol reports and the ``true`` one of the arms."""
    reported = [score(arm, draw, dirty) for arm in arms]
    return float(kendalltau(reported, true).statistic)
