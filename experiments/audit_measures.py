"""What the audit computes from claims: for all tasks, contaminations and bootstrap draws."""

from collections.abc import Mapping, Sequence

import numpy as np
from audit_claims import (
    CONTAMINATIONS,
    Arm,
    Draw,
    agreement,
    nothing_wins,
    resample,
    score,
    sides,
    truth,
)

BASELINE, NULL = "concat", "null"
BOOTSTRAPS, DRAWS, PAIR_SEEDS = 200, 2000, 5
SIDES = {"both sides treated alike": True, "the method alone contaminated": False}
Study = Mapping[str, Mapping[str, Arm]]
Inflation = Mapping[str, Mapping[str, np.ndarray]]
"""What ``measure`` returns for a task."""
Wins = Mapping[str, Mapping[str, np.ndarray]]
"""What ``count_wins`` returns."""


def make_draws(
    arms: Mapping[str, Arm], group: np.ndarray, leaking: np.ndarray | None
) -> list[Draw]:
    """All seeds and rows first, then bootstrap draws of those that all arms share."""
    total = [arm["clean"].test.shape[1] for arm in arms.values()]
    counts = min(total), arms[BASELINE]["clean"].test.shape[1]
    every_first = [np.add.outer(np.arange(n), np.arange(n)) % n for n in counts]  # each is the one
    ones = None if leaking is None else np.ones(len(leaking))
    whole = Draw(every_first[0], np.ones(len(group)), ones, every_first[1])
    return [whole, *resample(counts, group, leaking, BOOTSTRAPS)]


def applies(contamination: str, arms: Mapping[str, Arm]) -> bool:
    """Whether it can be done on a task."""
    return contamination != "speakers shared" or "leaking clean" in arms[BASELINE]


def everything(arms: Mapping[str, Arm]) -> set[str]:
    """All contaminations that can be done on a task."""
    return {name for name in CONTAMINATIONS if applies(name, arms)}


def protocols(arms: Mapping[str, Arm]) -> dict[str, set[str]]:
    """Each contamination that can be done on a task, and all together."""
    single = {name: {name} for name in CONTAMINATIONS if applies(name, arms)}
    return {**single, "all together": everything(arms)}


def others(arms: Mapping[str, Arm]) -> dict[str, Arm]:
    """The arms that are compared with the baseline."""
    return {name: arm for name, arm in arms.items() if name != BASELINE}


def bounds(values: np.ndarray | list[float]) -> np.ndarray:
    """[low, high] of the first value: percentiles of the others, about the first one.

    Draws of a maximum or of a correlation have another mean than the value, which is taken off.
    """
    values = np.asarray(values)
    return values[0] + np.percentile(values[1:] - values[1:].mean(axis=0), [2.5, 97.5], axis=0)


def measure(arms: Mapping[str, Arm], draws: Sequence[Draw]) -> dict[str, dict[str, np.ndarray]]:
    """{quantity: {contamination: what it adds, [draws, methods]}}, and "claims" under "clean"."""

    def of_methods(dirty: set[str]) -> np.ndarray:
        methods = others(arms).values()
        return np.array([[score(arm, draw, dirty).mean() for arm in methods] for draw in draws])

    def of_baseline(dirty: set[str]) -> np.ndarray:
        own = [draw._replace(seeds=draw.of_baseline) for draw in draws]
        return np.array([[score(arms[BASELINE], draw, dirty).mean()] for draw in own])

    clean, clean_base = of_methods(set()), of_baseline(set())
    added: dict[str, dict[str, np.ndarray]]
    added = {"scores": {}, "gains": {}, "gains, method alone": {}}
    added["claims"] = {"clean": clean - clean_base}
    for name, dirty in protocols(arms).items():
        score_added = of_methods(sides(dirty, both=True)[0]) - clean
        added["scores"][name] = score_added
        for both, quantity in ((True, "gains"), (False, "gains, method alone")):
            base_added = of_baseline(sides(dirty, both)[1]) - clean_base
            added[quantity][name] = score_added - base_added
    return added


def seeds_of_pairs(baseline: Arm, times: int) -> np.ndarray:
    """Seeds of the baseline for both sides of a comparison, at random, [times, seeds]."""
    rng, total = np.random.default_rng(0), baseline["clean"].test.shape[1]
    order = rng.permuted(np.tile(np.arange(total), (times, 1)), axis=1)
    return order[:, : 2 * PAIR_SEEDS]


def count_wins(study: Study, draws: Mapping[str, list[Draw]], both: bool) -> Wins:
    """How often the baseline with other seeds beats the baseline, and by a point.

    {task: {contamination: [draws, 2]}}: on all rows first, then on bootstrap draws of rows.
    """
    wins: dict[str, dict[str, np.ndarray]] = {}
    for task, arms in study.items():
        base = arms[BASELINE]
        many, few = (seeds_of_pairs(base, times) for times in (DRAWS, DRAWS // 10))
        whole, *drawn = draws[task]
        tried = [whole._replace(seeds=many), *(draw._replace(seeds=few) for draw in drawn)]
        wins[task] = {
            name: np.array([nothing_wins(base, draw, dirty, both) for draw in tried])
            for name, dirty in {"none": set(), **protocols(arms)}.items()
        }
    return wins


def clean_agreement(arms: Sequence[Arm], count: int, apart: bool) -> float:
    """Mean tau of the clean ranking from ``count`` seeds with the truth, of other seeds or all."""
    rng = np.random.default_rng(0)
    total = min(arm["clean"].test.shape[1] for arm in arms)
    whole, none = np.ones(arms[0]["clean"].test.shape[2]), [set[str]()] * len(arms)
    taus = []
    for _ in range(BOOTSTRAPS):
        order = rng.permutation(total)
        true = [truth(arm, order[total // 2 :]) if apart else truth(arm) for arm in arms]
        taus.append(agreement(arms, true, Draw(order[:count], whole), none))
    return float(np.mean(taus))


def true_gains(task: str, arms: Mapping[str, Arm]) -> list[float]:
    """In points, of all methods."""
    base = truth(arms[BASELINE])
    return [0.0 if task == NULL else 100 * (truth(arm) - base) for arm in others(arms).values()]


def claims(added: Inflation) -> dict[str, np.ndarray]:
    """Gains that are claimed cleanly and with everything, [draws, methods]."""
    clean = added["claims"]["clean"]
    return {"clean": clean, "all together": clean + added["gains, method alone"]["all together"]}
