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
    "speakers shared": "training and test share speakers, or other groups",
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
        seeds: [..., seeds] indices.
        weights: [rows] how often each test row counts.
        leaking: the same of the test rows of the leaking task, if there is one.
        of_baseline: seeds of the baseline, which has more.
    """

    seeds: np.ndarray
    weights: np.ndarray
    leaking: np.ndarray | None = None
    of_baseline: np.ndarray | None = None


def score(arm: Arm, draw: Draw, dirty: frozenset[str] | set[str]) -> np.ndarray:
    """The accuracies, [...], that a protocol reports for an arm.

    Args:
        arm: its answers.
        draw: the seeds that were trained, and the test rows.
        dirty: keys of ``CONTAMINATIONS``.
    """
    chosen, weights = "test" if "best test epoch" in dirty else "clean", draw.weights
    if "speakers shared" in dirty:
        assert draw.leaking is not None
        chosen, weights = f"leaking {chosen}", draw.leaking
    answers = arm[chosen]
    seeds = draw.seeds[..., :1] if "one seed" in dirty else draw.seeds
    if "last batch dropped" in dirty:
        weights = np.where(np.arange(len(weights)) < len(weights) // BATCH * BATCH, weights, 0)
    test = mean_of(answers.test @ weights / weights.sum(), seeds)
    if "baseline not tuned" in dirty:
        return test[USUAL]
    judged = test if "tuned on test" in dirty else mean_of(answers.valid.mean(axis=-1), seeds)
    return np.take_along_axis(test, judged.argmax(axis=0)[None], axis=0)[0]


def mean_of(accuracy: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """[rates, ...] from [rates, seeds]; rounded, lest the order of a sum break ties."""
    return np.round(accuracy[:, seeds].mean(axis=-1), 12)


def claim(
    method: Arm, baseline: Arm, draws: tuple[Draw, Draw], dirty: set[str], both: bool
) -> np.ndarray:
    """The gains over the baseline, [...], that a protocol reports.

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


def truth(arm: Arm, seeds: np.ndarray | slice = slice(None)) -> float:
    """The accuracy of some seeds on held-out rows, at the learning rate that validation selects."""
    answers = arm["clean"]
    rate = int(answers.valid[:, seeds].mean(axis=(1, 2)).argmax())
    return float(answers.held_out[rate, seeds].mean())


def resample(
    num_seeds: tuple[int, int], group: np.ndarray, leaking: np.ndarray | None, times: int
) -> Iterator[Draw]:
    """Bootstrap draws.

    Args:
        num_seeds: of the methods, and of the baseline.
        group: of each test row; whole groups are drawn.
        leaking: the same of the leaking task.
        times: how many.
    """
    rng = np.random.default_rng(0)

    def weigh(group: np.ndarray) -> np.ndarray:
        _, index = np.unique(group, return_inverse=True)
        size = int(index.max()) + 1
        return np.bincount(rng.integers(size, size=size), minlength=size)[index].astype(float)

    for _ in range(times):
        weights, (seeds, of_baseline) = weigh(group), (rng.integers(n, size=n) for n in num_seeds)
        yield Draw(seeds, weights, None if leaking is None else weigh(leaking), of_baseline)


def nothing_wins(baseline: Arm, draw: Draw, dirty: set[str], both: bool) -> tuple[float, float]:
    """How often a method that does nothing looks better, and better by at least a point.

    Args:
        baseline: its answers.
        draw: [times, seeds]; the method is the baseline with the first half of the seeds, and is
            compared with the second half. A tie counts half.
        dirty: contaminations.
        both: as for ``claim``.
    """
    halves = np.split(draw.seeds, 2, axis=1)
    draws = draw._replace(seeds=halves[0]), draw._replace(seeds=halves[1])
    gain = claim(baseline, baseline, draws, dirty, both).round(12)
    return float(np.mean((gain > 0) + 0.5 * (gain == 0))), float(np.mean(gain >= 0.01))


def agreement(
    arms: Sequence[Arm], true: Sequence[float], draw: Draw, dirty: Sequence[set[str]]
) -> float:
    """Kendall's tau of the ranking that a protocol reports and the ``true`` one, mean over draws.

    Args:
        arms: what is ranked.
        true: accuracies.
        draw: rows, and one draw of seeds or several.
        dirty: contaminations of each arm.
    """
    reported = np.array([score(arm, draw, one) for arm, one in zip(arms, dirty, strict=True)])
    taus = [kendalltau(one, true).statistic for one in reported.reshape(len(arms), -1).T]
    return float(np.mean(np.nan_to_num(taus)))  # nan where all are equal: no ranking at all
