"""How often does cross-validation find a difference between two learners that are alike?

    python experiments/fold_verdicts.py --out runs/fold_verdicts

Many small datasets, each with two groups of features that say equally much about the class. One
strategy learns from the first group, the other from the second: on a given dataset one of them is
better by luck, but neither learner is. Counted is how often p is below 0.05, with the correction
for folds that share training rows and without it; and how often the better is found where the first
group says more. The learners are ridge regression, and the nearest neighbour, which depends on the
training rows far more; a seed is a random half of the features.

About twenty minutes on two CPU cores; the same command goes on where it was stopped. Expected: 5 %
or less with the correction, but for sampling error, and more without it.
docs/results/fold_verdicts.md is its summary.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from simulated import Row, cross, go_on, sampling_error

from mmjax.analysis.statistics import Folds, compare_pair, correct
from mmjax.data.splits import deal_folds
from mmjax.report.tables import markdown_table
from mmjax.storage.files import write_text

Learner = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

FEATURES = 8  # of each group
GAP = 0.5  # by how much the first group says more, relative to the second


@dataclass(frozen=True)
class Study:
    """What the command line sets.

    Attributes:
        out: folder for rows and summary.
        datasets: simulated datasets of each kind.
        rows: rows of a dataset.
        folds: numbers of folds and of repeats, as 5x2.
        seeds: numbers of seeds.
    """

    out: Path
    datasets: int = 1000
    rows: tuple[int, ...] = (40, 100, 300)
    folds: tuple[str, ...] = ("5x1", "5x3", "10x1")
    seeds: tuple[int, ...] = (1, 3)


def ridge(train: np.ndarray, target: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Classes by ridge regression on -1 and 1."""
    gram = train.T @ train + np.eye(train.shape[1])
    return (test @ np.linalg.solve(gram, train.T @ (2 * target - 1)) > 0).astype(int)


def nearest(train: np.ndarray, target: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The class of the nearest training row."""
    distance = np.square(train).sum(axis=1) - 2 * test @ train.T
    return target[distance.argmin(axis=1)]


LEARNERS: dict[str, Learner] = {"ridge": ridge, "nearest neighbour": nearest}


def main(study: Study) -> None:
    """Simulates what is missing, and writes the summary."""
    of = {"rows": study.rows, "folds": study.folds, "seeds": study.seeds, "gap": (0.0, GAP)}
    kinds = cross(learner=LEARNERS, **of)
    make = lambda kind: [count(**kind, datasets=study.datasets)]
    rows = go_on(study.out / "rows.jsonl", kinds, make)
    write_text(study.out / "summary.md", summarise(rows))


def count(learner: str, rows: int, folds: str, seeds: int, gap: float, *, datasets: int) -> Row:
    """How many of the datasets tell the learners apart."""
    parts, repeats = map(int, folds.split("x"))
    rng = np.random.default_rng([len(learner), rows, parts, repeats, seeds, int(gap > 0)])
    told = {"corrected": 0, "plain": 0}
    for _ in range(datasets):
        inputs, target = draw(rng, rows, gap)
        fold = np.stack([deal_folds(np.arange(rows), target, parts, int(rng.integers(2**31)))
                         for _ in range(repeats)])  # fmt: skip
        right = np.stack([answer(LEARNERS[learner], x, target, fold, seeds, rng) for x in inputs])
        plain = compare_pair(right[0], right[1], np.arange(rows))
        share = 1 / (parts - 1)  # no validation rows are needed
        found = correct(plain, right[0] - right[1], Folds(fold, share))
        for name, pair in (("corrected", found), ("plain", plain)):
            told[name] += pair.p < 0.05 and (gap == 0 or pair.difference.mean > 0)
    return {"datasets": datasets, **{name: int(n) for name, n in told.items()}}


def draw(rng: np.random.Generator, rows: int, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Two groups of features [2, rows, FEATURES], and the classes of the rows."""
    target = rng.permutation(np.arange(rows) % 2)
    inputs = rng.normal(size=(2, rows, FEATURES))
    for part, strength in zip(inputs, (0.5 * (1 + gap), 0.5), strict=True):
        part[:, :4] += strength * (2 * target[:, None] - 1)
    return inputs, target


def answer(
    learn: Learner,
    inputs: np.ndarray,
    target: np.ndarray,
    fold: np.ndarray,
    seeds: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """[repeats * seeds, rows] whether the class is right, by the models of the other folds."""
    right = np.empty((len(fold), seeds, len(target)))
    for repeat, part in enumerate(fold):
        for seed in range(seeds):
            own = inputs[:, rng.permutation(FEATURES)[: FEATURES // 2]] if seeds > 1 else inputs
            for index in np.unique(part):
                held = part == index
                said = learn(own[~held], target[~held], own[held])
                right[repeat, seed, held] = said == target[held]
    return right.reshape(-1, len(target))


def summarise(rows: list[Row]) -> str:
    """The page: a line for each learner and kind of folds."""
    sizes = list(dict.fromkeys((row["rows"], row["seeds"]) for row in rows))
    heads = ["learner, folds x repeats", *(f"{n}, {seeds}" for n, seeds in sizes)]
    lines = []
    for learner, folds in dict.fromkeys((row["learner"], row["folds"]) for row in rows):
        at = {(row["rows"], row["seeds"], row["gap"]): row for row in rows
              if (row["learner"], row["folds"]) == (learner, folds)}  # fmt: skip
        share = lambda row, name: 100 * row[name] / row["datasets"]
        cells = [
            f"{share(at[*size, 0.0], 'corrected'):.1f} ({share(at[*size, 0.0], 'plain'):.1f}) / "
            f"{share(at[*size, GAP], 'corrected'):.0f}"
            for size in sizes
        ]
        lines.append([f"{learner}, {folds}", *cells])
    datasets, table = rows[0]["datasets"], markdown_table(heads, lines)
    return _PAGE.format(datasets=datasets, error=sampling_error(datasets), table=table)


_PAGE = """# Verdicts of cross-validation

Made by `python experiments/fold_verdicts.py --out runs/fold_verdicts`. In %, for numbers of rows
and of seeds: how often two learners that are alike are told apart at the 5 % level, in brackets
without the correction for folds that share training rows, and after the stroke how often the better
of two is told to be better, with it. {datasets} datasets each: the standard error of 5 % is
{error} points.

{table}
"""


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
