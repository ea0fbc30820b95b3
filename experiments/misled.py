"""Why does fusion lose with a speaker never heard: is it misled, or does it miss a chance?

    python experiments/misled.py --data DATA --out runs/misled

Every test row is one of four kinds: the image alone is right, or wrong, and so is the audio alone.
Where only the image is right, a fusion can be misled; where only the audio is right, it can be
helped. The difference to the image alone follows from these two and from what happens where both
are right or both wrong. Beside them stands how sure the audio alone is where it is wrong: a fusion
that was trained on voices it knows has learned to believe such a voice.

A few arms of experiments/unseen_speaker.py, the same recipes. About a quarter of an hour on two CPU
cores. Expected: docs/results/misled.md, which is its summary.md.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from matplotlib.figure import Figure
from rich.progress import track
from scipy.special import softmax
from unseen_speaker import Study as Recipes
from unseen_speaker import make_named_arm

from mmjax.compare import fit_each
from mmjax.report.figures import save
from mmjax.report.rows import append_rows
from mmjax.tasks import load_task

BASELINES = ("image_only", "audio_only")


@dataclass(frozen=True)
class Study:
    """What the command line sets.

    Attributes:
        data: folder with MNIST and the Free Spoken Digit Dataset.
        out: new folder for rows, figure and summary.
        speakers: who is held out in turn.
        arms: as in experiments/unseen_speaker.py.
        seeds: number of seeds.
        steps: train steps.
    """

    data: str
    out: Path
    speakers: tuple[str, ...] = ("george", "jackson", "lucas", "nicolas", "yweweler")
    arms: tuple[str, ...] = (
        "concat",
        "mean",
        "late_mean",
        "concat + modality_dropout",
        "concat + gradient_blending",
        "concat + two_stage",
        "mean + two_stage",
    )
    seeds: int = 3
    steps: int = 300


def main(study: Study) -> None:
    """Trains, counts, writes the summary."""
    study.out.mkdir(parents=True)
    recipes = Recipes(study.data, study.out, seeds=study.seeds, steps=study.steps)
    options = [{"split": "speaker", "test_speaker": speaker} for speaker in study.speakers]
    tasks = [load_task("mnist_fsdd", study.data, option) for option in options]
    said = {}
    for name in track([*BASELINES, *study.arms], "trained"):
        trained, _ = fit_each([make_named_arm(task, name, recipes) for task in tasks])
        said[name] = [fit.predict(fit.params, arm.task.test.batch()) for arm, fit in trained]
    rows = [
        count(name, speaker, {k: v[index] for k, v in said.items()}, tasks[index].test.target)
        for index, speaker in enumerate(study.speakers)
        for name in study.arms
    ]
    append_rows(study.out / "rows.jsonl", rows)
    write_summary(study, rows)


def count(
    name: str, speaker: str, said: dict[str, np.ndarray], target: np.ndarray
) -> dict[str, Any]:
    """Shares, in % of all rows and as means over seeds, and the certainty of a wrong voice."""
    right = {arm: logits.argmax(axis=-1) == target for arm, logits in said.items()}
    image, audio = (right[baseline] for baseline in BASELINES)
    arm = right[name]
    percent = lambda rows: 100 * float(rows.mean())
    sure = softmax(said["audio_only"], axis=-1).max(axis=-1)
    return {
        "arm": name,
        "speaker": speaker,
        "can_mislead": percent(image & ~audio),
        "misled": percent(image & ~audio & ~arm),
        "can_help": percent(~image & audio),
        "helped": percent(~image & audio & arm),
        "both_right_lost": percent(image & audio & ~arm),
        "both_wrong_won": percent(~image & ~audio & arm),
        "gain": percent(arm) - percent(image),
        "sure_when_wrong": 100 * float(sure[~audio].mean()),
    }


def write_summary(study: Study, rows: list[dict[str, Any]]) -> None:
    """Writes summary.md and misled.png."""
    lines = [
        "# Misled by a voice never heard\n",
        f"In % of the test rows, means over {study.seeds} seeds. Misled: the image alone is right, "
        "the audio alone wrong, and the fusion too; helped: the other way round, and the fusion "
        "right; in brackets, on how many rows that could happen. The last column: mean "
        "probability that the audio alone gives to its class where that is wrong.\n",
        "| speaker | arm | misled | helped | both right, lost | both wrong, won | gain | wrong "
        "audio's certainty |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['speaker']} | {row['arm']} | {row['misled']:.1f} ({row['can_mislead']:.1f}) "
            f"| {row['helped']:.1f} ({row['can_help']:.1f}) | {row['both_right_lost']:.1f} "
            f"| {row['both_wrong_won']:.1f} | {row['gain']:+.1f} | {row['sure_when_wrong']:.0f} |"
        )
    lines += ["", "![Misled and helped](misled.png)", ""]
    text = "\n".join(lines)
    (study.out / "summary.md").write_text(text, encoding="utf-8")
    save(misled_figure(study, rows), study.out / "misled.png")
    print(text)


def misled_figure(study: Study, rows: list[dict[str, Any]]) -> Figure:
    """Rows misled to the left, helped to the right: a panel per speaker, a bar per arm."""
    figure = Figure(figsize=(2.6 * len(study.speakers) + 1.5, 2.6), layout="constrained")
    panels = figure.subplots(1, len(study.speakers), sharey=True, sharex=True, squeeze=False)[0]
    for axes, speaker in zip(panels, study.speakers, strict=True):
        own = [row for row in rows if row["speaker"] == speaker]
        places = range(len(own))
        axes.barh(places, [-row["misled"] for row in own], color="#b0622f", label="misled")
        axes.barh(places, [row["helped"] for row in own], color="#1f6f8b", label="helped")
        axes.plot([row["gain"] for row in own], places, "k|", markersize=12, label="gain")
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(speaker)
    panels[0].set_yticks(range(len(study.arms)), study.arms)
    figure.supxlabel("% of test rows")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return figure


if __name__ == "__main__":
    main(tyro.cli(Study))
