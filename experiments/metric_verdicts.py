"""How often does a verdict find a difference between copies, in every metric?

    python experiments/metric_verdicts.py --out runs/metric_verdicts

Pairs of simulated strategies that are alike, over numbers of rows and of seeds, in two balanced
classes, in two of which the second has a tenth of the rows, and on numbers. Counted is how often p
is below 0.05, as in a comparison with that metric, and how often it is below 0.05 for strategies of
which one is truly better, which shows that the test can find something.

About half an hour on two CPU cores; the same command goes on where it was stopped. Expected: 5 % or
less between copies, but for sampling error and very few rows of a class.
docs/results/metric_verdicts.md is its summary.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from simulated import Row, cross, go_on, sampling_error, simulate_lists

from mmjax.analysis.answers import Answers
from mmjax.metrics import METRICS, decide
from mmjax.report.tables import markdown_table
from mmjax.storage.files import write_text

TARGETS = {"balanced classes": 0.5, "one class of ten": 0.1, "numbers": None}
GAP = 0.5  # standard deviations of a margin, where one is better
_ALIKE = {"accuracy": 0.8, "discordance": 0.15}
_LUCK = 0.05  # of seeds; with one, a verdict is about those trained models alone


@dataclass(frozen=True)
class Study:
    """What the command line sets.

    Attributes:
        out: folder for rows and summary.
        pairs: simulated pairs of each kind.
        rows: numbers of test rows.
        seeds: numbers of seeds.
    """

    out: Path
    pairs: int = 1000
    rows: tuple[int, ...] = (40, 100, 300, 1000)
    seeds: tuple[int, ...] = (1, 3, 5)


def main(study: Study) -> None:
    """Simulates what is missing, and writes the summary."""
    kinds = cross(target=TARGETS, rows=study.rows, seeds=study.seeds, gap=(0.0, GAP))
    make = lambda kind: count(**kind, pairs=study.pairs)
    rows = go_on(study.out / "rows.jsonl", kinds, make)
    write_text(study.out / "summary.md", summarise(rows))


def count(target: str, rows: int, seeds: int, gap: float, *, pairs: int) -> Iterator[Row]:
    """One row per metric: how many of the pairs differ by its test."""
    rng = np.random.default_rng([sorted(TARGETS).index(target), rows, seeds, int(gap > 0)])
    share = TARGETS[target]
    kind = "numbers" if share is None else "classes"
    metrics = [name for name, metric in METRICS.items() if kind in metric.kinds]
    told = dict.fromkeys(metrics, 0)
    for _ in range(pairs):
        predictions, labels = simulate(rng, rows, seeds, gap, share)
        for name in metrics:
            pair = make_answers(name, predictions, labels).compare("better", "other")
            told[name] += pair.p < 0.05 and (gap == 0 or pair.difference.mean > 0)
    for name, number in told.items():
        yield {"pairs": pairs, "metric": name, "told": int(number)}


def simulate(
    rng: np.random.Generator, rows: int, seeds: int, gap: float, share: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions [strategies, seeds, rows, out_dim], and their target."""
    group = np.arange(rows)
    shared = {**_ALIKE, "luck": _LUCK if seeds > 1 else 0.0}
    if share is None:
        (errors,) = simulate_lists(rng, 1, 2, group, seeds=seeds, **{**shared, "accuracy": 0.5})
        scale = np.array([1 - gap / 2, 1.0])[:, None, None]
        numbers = rng.normal(size=(rows, 1))
        return numbers + 0.7 * (scale * errors)[..., None], numbers
    (margins,) = simulate_lists(rng, 1, 2, group, seeds=seeds, gap=gap, **shared)
    margins = margins[::-1]  # the gap is the second's
    classes = (rng.random(rows) < share).astype(int)
    classes[:2] = 0, 1  # both occur
    logits = margins * (2 * classes - 1)
    return np.stack([-logits, logits], axis=-1), classes


def make_answers(name: str, predictions: np.ndarray, target: np.ndarray) -> Answers:
    """What a comparison judges by."""
    metric, group = METRICS[name], np.arange(len(target))
    scores, decisions = {}, {}
    for strategy, some in zip(("better", "other"), predictions, strict=True):
        each = [metric.contributions(one, target, group) for one in some]
        scores[strategy] = metric.sign * np.stack(each)
        if metric.trade:
            decisions[strategy] = decide(some, target)
    return Answers(scores, group, {}, [], "test", metric, decisions, target)


def summarise(rows: list[Row]) -> str:
    """The page: for each target, metrics by numbers of rows and seeds."""
    pairs = rows[0]["pairs"]
    parts = [_HEAD.format(pairs=pairs, error=sampling_error(pairs))]
    for target in dict.fromkeys(row["target"] for row in rows):
        some = [row for row in rows if row["target"] == target]
        sizes = list(dict.fromkeys((row["rows"], row["seeds"]) for row in some))
        heads = ["metric", *(f"{n}, {seeds}" for n, seeds in sizes)]
        lines = []
        for metric in dict.fromkeys(row["metric"] for row in some):
            at = {(r["rows"], r["seeds"], r["gap"]): r["told"] / r["pairs"] for r in some
                  if r["metric"] == metric}  # fmt: skip
            cells = [f"{100 * at[*size, 0.0]:.1f} / {100 * at[*size, GAP]:.0f}" for size in sizes]
            lines.append([METRICS[metric].label, *cells])
        parts.append(f"## {target.capitalize()}\n\n{markdown_table(heads, lines)}\n")
    return "\n".join(parts)


_HEAD = """# Verdicts in every metric

Made by `python experiments/metric_verdicts.py --out runs/metric_verdicts`. In %, for numbers of
test rows and of seeds: how often a pair of copies is told apart at the 5 % level, and after the
stroke how often the better of two strategies is told to be better. {pairs} pairs each: the standard
error of 5 % is {error} points.
"""


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
