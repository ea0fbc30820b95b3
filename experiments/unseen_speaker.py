"""Does fusion still help when the voice is of a speaker whom training never heard?

Each of the five speakers is held out in turn, the next by name serves validation, and every
strategy and unimodal baseline is trained on the other three. The image never depends on the
speaker: a fusion that falls below the image alone trusts the voice too much.

    python experiments/unseen_speaker.py --data DATA --out runs/unseen_speaker

About 25 minutes on two CPU cores. Rows are appended as they come; the same command again goes on
where it was stopped. Expected: docs/results/unseen_speaker.md, which is its summary.md.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from matplotlib.figure import Figure
from rich.console import Console

from mmjax.compare import all_strategies, compare, make_arm
from mmjax.fusion import FUSIONS
from mmjax.report.figures import save
from mmjax.report.progress import ComparisonProgress
from mmjax.report.rows import append_rows, read_rows
from mmjax.report.summary import notes, standard_error, summarise
from mmjax.tasks import load_task


@dataclass(frozen=True)
class Study:
    """What the command line sets.

    Attributes:
        data: folder with MNIST and the Free Spoken Digit Dataset.
        out: folder for rows, figure and summary.
        speakers: who is held out in turn.
        fusions: strategies beside the unimodal baselines.
        seeds: number of seeds.
        steps: train steps.
    """

    data: str
    out: Path
    speakers: tuple[str, ...] = ("george", "jackson", "lucas", "nicolas", "yweweler")
    fusions: tuple[str, ...] = tuple(FUSIONS)
    seeds: int = 3
    steps: int = 500


def main(study: Study) -> None:
    """Runs what is not in rows.jsonl yet, then writes the summary."""
    study.out.mkdir(parents=True, exist_ok=True)
    path = study.out / "rows.jsonl"
    path.touch()
    done = {(row["task"], row["strategy"]) for row in read_rows(path)}
    console = Console()
    for speaker in study.speakers:
        options = {"split": "speaker", "test_speaker": speaker}
        task = load_task("mnist_fsdd", study.data, options)
        shared = {"steps": study.steps, "seeds": tuple(range(study.seeds))}
        arms = [
            make_arm(task, strategy, **shared)
            for strategy in all_strategies(task, study.fusions)
            if (task.name, strategy) not in done
        ]
        if not arms:
            continue
        console.print(f"{speaker} held out", style="bold")
        with ComparisonProgress(arms, console) as progress:

            def on_arm(arm, trained, rows, progress=progress):
                append_rows(path, rows)
                progress.on_arm(arm, trained, rows)

            compare(arms, on_arm=on_arm, progress=progress.on_steps)
    write_summary(study, read_rows(path))


def write_summary(study: Study, rows) -> None:
    """Writes summary.md and gains.png: accuracy by strategy and speaker, and against the image."""
    tasks = {speaker: f"mnist_fsdd/speaker/{speaker}" for speaker in study.speakers}
    scores = {
        speaker: {s.strategy: 100 * s.accuracy for s in summarise(_only(rows, task))}
        for speaker, task in tasks.items()
    }
    strategies = list(scores[study.speakers[0]])
    mean = lambda name: np.mean([scores[speaker][name].mean() for speaker in study.speakers])
    order = sorted(strategies, key=mean, reverse=True)
    lines = [
        "# Fusion with a speaker never heard\n",
        "Test accuracy in %, mean +- standard error over seeds, by the speaker held out; the last "
        "columns are the mean over speakers, and for how many of them the strategy is above the "
        "image alone on average over seeds.\n",
        "| strategy | " + " | ".join(study.speakers) + " | mean | above image |",
        "|---|" + "---:|" * (len(study.speakers) + 2),
    ]
    for name in order:
        cells = [
            f"{scores[s][name].mean():.2f} +- {standard_error(scores[s][name]):.2f}"
            for s in study.speakers
        ]
        gains = [_gain(scores[s], name).mean() > 0 for s in study.speakers]
        shown = "" if name == "image_only" else f"{sum(gains)} of {len(gains)}"
        lines.append(f"| {name} | {' | '.join(cells)} | {mean(name):.2f} | {shown} |")
    lines += ["", notes(rows), "![Gain over the image alone](gains.png)", ""]
    text = "\n".join(lines)
    (study.out / "summary.md").write_text(text, encoding="utf-8")
    save(gain_figure(study.speakers, scores, order), study.out / "gains.png")
    print(text)


def gain_figure(speakers, scores, order) -> Figure:
    """Points of accuracy over the image alone: a row per strategy, a colour per speaker."""
    shown = [name for name in reversed(order) if name != "image_only"]
    figure = Figure(figsize=(7, 1 + 0.32 * len(shown)), layout="constrained")
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


def _gain(scores: dict[str, np.ndarray], name: str) -> np.ndarray:
    return scores[name] - scores["image_only"]


def _only(rows, task: str):
    return [row for row in rows if row["task"] == task]


if __name__ == "__main__":
    main(tyro.cli(Study))
