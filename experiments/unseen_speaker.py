"""Does fusion still help when the voice is of a speaker whom training never heard?

Each of the five speakers is held out in turn, the next by name serves validation, and every
arm is trained on the other three. The image never depends on the speaker: a fusion that falls
below the image alone trusts the voice too much. The arms are the remedies that the literature
offers: other fusions, other objectives (a loss for every branch, uncertainty), and training methods
that keep one modality from being drowned by the other.

    python experiments/unseen_speaker.py --data DATA --out runs/unseen_speaker

About an hour and a quarter on two CPU cores. Rows are appended as they come; the same command again
goes on where it was stopped. Expected: docs/results/unseen_speaker.md, which is its summary.md.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from matplotlib.figure import Figure
from rich.console import Console
from sweep import Sweep

from mmjax.analysis.summary import Rows
from mmjax.comparison.arm import Arm, make_arm
from mmjax.comparison.scores import standard_error
from mmjax.data.task import Task
from mmjax.methods import METHODS
from mmjax.objectives import OBJECTIVES
from mmjax.report.figures.scores_figure import save
from mmjax.report.tables import markdown_table, notes
from mmjax.tasks import load_task

BASELINES = ("audio_only", "image_only")
JOINT = (
    "concat",
    "mean",
    "gmu",
    "transformer",
    "late_mean",
    "product_of_experts",
    "i2m2",
    "evidential",
    "energy_weighted",
    "dynamic",
)
# The remedies are tried on the plainest fusion of features and the plainest of decisions.
REMEDIES = (
    "modality_dropout",
    "gradient_blending",
    "ogm_ge",
    "agm",
    "pmr",
    "mmpareto",
    "mla",
    "greedy",
    "distillation",
)
OTHERS = (
    "late_mean + modality_dropout",
    "late_mean + ogm_ge",
    "late_mean + branches",
    "i2m2 + branches",
    "evidential + cross_entropy",
    "energy_weighted + cross_entropy",
    "embracenet",
    "concat + two_stage",
    "mean + two_stage",
    "embracenet + two_stage",
    "late_mean + two_stage",
)
ARMS = (*BASELINES, *JOINT, *(f"concat + {method}" for method in REMEDIES), *OTHERS)


@dataclass(frozen=True)
class Study:
    """What the command line sets.

    Attributes:
        data: folder with MNIST and the Free Spoken Digit Dataset.
        out: folder for rows, figure and summary.
        speakers: who is held out in turn.
        arms: "FUSION", or "FUSION + NAME" with the name of a method or an objective.
        seeds: number of seeds.
        steps: train steps.
    """

    data: str
    out: Path
    speakers: tuple[str, ...] = ("george", "jackson", "lucas", "nicolas", "yweweler")
    arms: tuple[str, ...] = ARMS
    seeds: int = 3
    steps: int = 300


def main(study: Study) -> None:
    """Runs what is not in rows.jsonl yet, then writes the summary."""
    console = Console()
    sweep = Sweep(study.out / "rows.jsonl", console)
    options = [{"split": "speaker", "test_speaker": speaker} for speaker in study.speakers]
    tasks = [load_task("mnist_fsdd", study.data, option) for option in options]
    sweep.compare_each(tasks, study.arms, lambda task, name: make_named_arm(task, name, study))
    write_summary(study, sweep.rows)


def make_named_arm(task: Task, name: str, study: Study) -> Arm:
    """The arm of "FUSION" or "FUSION + REMEDY"."""
    fusion, _, remedy = name.partition(" + ")
    recipe = {"steps": study.steps, "seeds": tuple(range(study.seeds))}
    if remedy in METHODS:
        recipe["method"] = METHODS[remedy]()
    elif remedy:
        recipe["objective"] = OBJECTIVES[remedy]
    return replace(make_arm(task, fusion, **recipe), strategy=name)


def write_summary(study: Study, rows: Rows) -> None:
    """Writes summary.md and gains.png: accuracy by arm and speaker, and against the image."""
    scores = {speaker: _scores(rows, speaker, "test") for speaker in study.speakers}
    valid = {speaker: _scores(rows, speaker, "valid") for speaker in study.speakers}
    mean = lambda name: np.mean([scores[speaker][name].mean() for speaker in study.speakers])
    order = sorted(scores[study.speakers[0]], key=mean, reverse=True)
    lines = []
    for name in order:
        cells = [
            f"{scores[s][name].mean():.2f} +- {standard_error(scores[s][name]):.2f}"
            for s in study.speakers
        ]
        gains = [_gain(scores[s], name) for s in study.speakers]
        counts = [sum(map(_is_above, gains)), sum(map(_is_clearly_below, gains))]
        counts = ["", ""] if name in BASELINES else counts
        lines.append([name, *cells, f"{mean(name):.2f}", *counts])
    parts = [
        "# Fusion with a speaker never heard\n",
        "Test accuracy in %, mean +- standard error over seeds, by the speaker held out; then the "
        "mean over speakers, for how many of them the arm is at or above the image alone, and for "
        "how many it is clearly below: by more than two standard errors of the difference, paired "
        "by seed.\n",
        markdown_table(["arm", *study.speakers, "mean", "at or above", "clearly below"], lines),
        "",
        *verdicts(study, scores, valid),
        notes(rows),
        "![Gain over the image alone](gains.png)\n",
    ]
    text = "\n".join(parts)
    (study.out / "summary.md").write_text(text, encoding="utf-8")
    save(gain_figure(study.speakers, scores, order), study.out / "gains.png")
    print(text)


def verdicts(study: Study, scores, valid) -> list[str]:
    """Who holds everywhere, and what choosing on the validation speaker would have given."""
    arms = [name for name in study.arms if name not in BASELINES]
    gains = {name: [_gain(scores[s], name) for s in study.speakers] for name in arms}
    listed = lambda test: ", ".join(n for n in arms if all(map(test, gains[n]))) or "no arm"
    lines = [
        f"At or above the image alone for every speaker: {listed(_is_above)}.\n",
        "Clearly below it for none, which a large spread between seeds allows, too: "
        f"{listed(lambda gain: not _is_clearly_below(gain))}.\n",
    ]
    chosen = []
    for speaker in study.speakers:
        choice = max(valid[speaker], key=lambda name: valid[speaker][name].mean())
        gain = _gain(scores[speaker], choice)
        chosen.append(gain.mean())
        lines.append(
            f"- {speaker}: the best on the validation speaker is {choice}, "
            f"{gain.mean():+.2f} +- {standard_error(gain):.2f} points against the image."
        )
    lines.append(f"\nChosen so, fusion changes the mean over speakers by {np.mean(chosen):+.2f}.\n")
    return lines


def _is_above(gain: np.ndarray) -> bool:
    return bool(gain.mean() >= 0)


def _is_clearly_below(gain: np.ndarray) -> bool:
    error = standard_error(gain)
    return bool(gain.mean() < (0 if np.isnan(error) else -2 * error))


def _scores(rows: Rows, speaker: str, split: str) -> dict[str, np.ndarray]:
    """{arm: accuracy in %, [seeds]} with a speaker held out."""
    found: dict[str, list[float]] = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        if row["task"] == f"mnist_fsdd/speaker/{speaker}" and row["split"] == split:
            found.setdefault(row["strategy"], []).append(100 * row["accuracy"])
    return {name: np.array(values) for name, values in found.items()}


def _gain(scores: dict[str, np.ndarray], name: str) -> np.ndarray:
    return scores[name] - scores["image_only"]


def gain_figure(speakers, scores, order) -> Figure:
    """Points of accuracy over the image alone: a row per arm, a colour per speaker."""
    shown = [name for name in reversed(order) if name != "image_only"]
    figure = Figure(figsize=(8, 1 + 0.32 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for index, speaker in enumerate(speakers):
        gains = [_gain(scores[speaker], name) for name in shown]
        axes.errorbar(
            [gain.mean() for gain in gains],
            np.arange(len(shown)) + 0.12 * (index - len(speakers) / 2),
            xerr=[standard_error(gain) for gain in gains],
            fmt="o",
            markersize=4,
            label=speaker,
        )
    axes.axvline(0, color="black", linewidth=1)
    axes.set_yticks(range(len(shown)), shown)
    axes.set_xlabel("points of accuracy over the image alone, mean +- standard error")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside right upper", title="held out", frameon=False)
    return figure


if __name__ == "__main__":
    main(tyro.cli(Study))
