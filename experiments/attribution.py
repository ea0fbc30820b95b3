"""Do the attributions give the known answers, on tasks that were made to have them?

    python experiments/attribution.py --out runs/attribution

The four synthetic tasks with two modalities. Information: the parts that the inputs have, read by
k-means with two centres, and those that the predictions of unimodal models have, as a report shows
them. Shapley values: of strategies trained with modality dropout, because a model that has met
every subset in training answers each as well as can be; that best answer is the known one.

About two minutes on two CPU cores. Expected: every part of the inputs within 0.03 bit, every
Shapley value of ``concat`` within 2 points. docs/results/attribution.md is its summary.md.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.progress import track

from mmjax.analysis.attribution import (
    Decomposition,
    discretise,
    discretise_predictions,
    estimate,
    shapley_rows,
)
from mmjax.analysis.availability import availability_rows
from mmjax.comparison.arm import Arm, make_arm
from mmjax.comparison.encoded_arms import fit_each
from mmjax.comparison.scores import Row, score_rows
from mmjax.data.coalitions import shapley
from mmjax.data.task import Task
from mmjax.methods import METHODS
from mmjax.report.figures.attribution_figures import information_figure
from mmjax.report.figures.scores_figure import save
from mmjax.report.tables import markdown_table
from mmjax.storage.jsonl import append_rows
from mmjax.tasks import load_task
from mmjax.tasks.synthetic import KINDS
from mmjax.training.fit import Fit

OF_AND = 2 - 0.75 * np.log2(3)  # bits that two fair bits say about whether both are 1
PARTS = {
    "redundant": Decomposition(1, 0, 0, 0),
    "unique": Decomposition(0, 1, 0, 0),
    "and": Decomposition(OF_AND - 0.5, 0, 0, 0.5),
    "xor": Decomposition(0, 0, 0, 1),
}
"""Bertschinger et al., Quantifying Unique Information (arXiv:1311.2852), examples of section 5."""
BEST = {"redundant": (50, 100, 100), "unique": (50, 100, 50), "and": (75, 75, 75), "xor": (50,) * 3}
"""The best accuracies in % knowing nothing, "a" alone and "b" alone; knowing both it is 100."""


@dataclass(frozen=True)
class Study:
    """What the command line sets.

    Attributes:
        out: new folder for rows, figure and summary.
        fusions: strategies whose modalities are valued.
        seeds: number of seeds.
        steps: train steps.
        size: rows of each task.
    """

    out: Path
    fusions: tuple[str, ...] = ("concat", "late_mean", "transformer")
    seeds: int = 3
    steps: int = 600
    size: int = 4000


def main(study: Study) -> None:
    """Estimates, trains, writes the summary."""
    study.out.mkdir(parents=True)
    options = {kind: {"kind": kind, "size": str(study.size)} for kind in KINDS}
    tasks = {kind: load_task("synthetic", options=options[kind]) for kind in KINDS}
    parts = information_rows(study, tasks)
    append_rows(study.out / "information.jsonl", parts)
    gains = gain_rows(study, tasks)
    append_rows(study.out / "shapley.jsonl", gains)
    write_summary(study, parts, gains)


def information_rows(study: Study, tasks: dict[str, Task]) -> list[Row]:
    """The parts of the inputs, of the predictions of unimodal models, and the known ones."""
    rows = []
    said = {
        name: [_symbols(arm, trained) for arm, trained in train(study, tasks, f"{name}_only")]
        for name in ("a", "b")
    }
    for index, (kind, task) in enumerate(tasks.items()):
        every = np.concatenate([split.target for split in task.splits.values()])
        sources = {
            "inputs": ([_bits(task, name) for name in "ab"], every),
            "predictions": ([said[name][index] for name in "ab"], task.test.target),
        }
        for source, (symbols, target) in sources.items():
            found, errors = estimate(*symbols, target)
            for part, known, bits, error in zip(
                Decomposition._fields, PARTS[kind], found, errors, strict=True
            ):
                row = {"kind": kind, "source": source, "rows": len(target), "part": part}
                rows.append({**row, "known": known, "bits": bits, "error": error})
    return rows


def _symbols(arm: Arm, trained: Fit) -> np.ndarray:
    valid, test = (
        trained.predict(trained.params, split.batch())[0]
        for split in (arm.task.valid, arm.task.test)
    )
    return discretise_predictions(test, fit_on=valid)


def _bits(task: Task, name: str) -> np.ndarray:
    values = np.concatenate([split.inputs[name] for split in task.splits.values()])
    return discretise(values, 2, fit_on=task.train.inputs[name], seed=0)


def train(
    study: Study, tasks: dict[str, Task], strategy: str, **recipe: Any
) -> list[tuple[Arm, Fit]]:
    """A strategy on every task, by one program."""
    recipe |= {"seeds": tuple(range(study.seeds)), "steps": study.steps}
    return fit_each([make_arm(task, strategy, **recipe) for task in tasks.values()])[0]


def gain_rows(study: Study, tasks: dict[str, Task]) -> list[Row]:
    """Shapley values of accuracy, in points, with those of a model that answers as best can be."""
    rows = []
    for fusion in track(study.fusions, "trained"):
        for arm, trained in train(study, tasks, fusion, method=METHODS["modality_dropout"]()):
            kind = arm.task.name.rpartition("/")[2]
            scored = score_rows(arm, trained.predict, trained.params, splits=("test",))
            scored += availability_rows(arm, trained.predict, trained.params)
            known = best_gains(kind)
            rows += [
                {
                    "kind": kind,
                    "strategy": fusion,
                    "seed": row["seed"],
                    "modality": row["modality"],
                    "known": known[row["modality"]],
                    "points": 100 * row["shapley"],
                }
                for row in shapley_rows(scored)
                if row["metric"] == "accuracy"
            ]
    return rows


def best_gains(kind: str) -> dict[str, float]:
    """The Shapley values of the best accuracies, in points."""
    none, a, b = BEST[kind]
    return shapley(
        {frozenset(): none, frozenset("a"): a, frozenset("b"): b, frozenset("ab"): 100.0}
    )


def write_summary(study: Study, parts: list[Row], gains: list[Row]) -> None:
    """Writes summary.md and information.png."""
    cells, shown = [], {}
    for kind in KINDS:
        for source in ("inputs", "predictions"):
            own = [row for row in parts if (row["kind"], row["source"]) == (kind, source)]
            cells.append([kind, source, *map(_bits_cell, own)])
            if source == "inputs":
                shown[kind] = Decomposition(*(row["bits"] for row in own))
    gap = max(abs(r["bits"] - r["known"]) for r in parts if r["source"] == "inputs")
    lines = [
        "# Attribution on tasks whose answer is known\n",
        f"The synthetic tasks, two modalities, {study.size} rows.\n",
        "## Information about the class, in bits\n",
        "What is found, +- its standard error, and in brackets what is true of the bits. Of the "
        "inputs: all rows, each modality read by k-means with two centres. Of the predictions of "
        "unimodal models on the test rows: what a report shows. A prediction says no more than "
        'its input: alone, neither modality of "xor" makes a model say anything, and so the '
        "synergy is lost.\n",
        markdown_table(["task", "of", *Decomposition._fields], cells, text_columns=2),
        f"\nLargest gap of the inputs: {gap:.4f} bit.\n",
        "![Parts of the information](information.png)\n",
        "## Shapley values, in points of accuracy\n",
        f"Mean over {study.seeds} seeds, in brackets what the best possible answers have, and the "
        "largest gap of a seed from that. Trained with modality dropout. A Shapley value tells "
        "what a modality adds to a model: `late_mean`, which adds up what each modality says of "
        'itself, cannot use what "xor" has only together.\n',
        markdown_table(
            ["task", "strategy", "a", "b", "largest gap"],
            [_gains(gains, kind, fusion) for kind in KINDS for fusion in study.fusions],
            text_columns=2,
        ),
        "",
    ]
    text = "\n".join(lines)
    (study.out / "summary.md").write_text(text, encoding="utf-8")
    save(information_figure(shown, ("a", "b")), study.out / "information.png")
    print(text)


def _bits_cell(row: Row) -> str:
    found = round(row["bits"], 3) + 0.0  # without a minus before zero
    return f"{found:.3f} +- {row['error']:.3f} ({row['known']:.3f})"


def _gains(rows: list[Row], kind: str, fusion: str) -> list[str]:
    own = [row for row in rows if (row["kind"], row["strategy"]) == (kind, fusion)]
    gap = max(abs(row["points"] - row["known"]) for row in own)
    of = lambda modality: [row for row in own if row["modality"] == modality]
    return [kind, fusion, *(_gain(of(name)) for name in "ab"), f"{gap:.1f}"]


def _gain(rows: list[Row]) -> str:
    return f"{np.mean([row['points'] for row in rows]):.1f} ({rows[0]['known']:.1f})"


if __name__ == "__main__":
    main(tyro.cli(Study))
