"""How does the whole zoo do on digits, and with speakers that training never heard?

    python experiments/zoo_digits.py --data DATA --out runs/zoo_digits

Two protocols. Two-stage: unimodal models are trained once for each seed, and every strategy then
learns on their encoders' cached output, the same for all. End to end: a dozen strategies train
their encoders too. ``digits`` is the built-in task; ``mnist_fsdd`` is split by speaker, each held
out in turn, and the next by name serves validation.

Rows are appended as they come; the same command goes on where it was stopped. About an hour on two
CPU cores. Expected: docs/results/zoo_digits.md, which is its summary.md.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from matplotlib.figure import Figure
from rich.console import Console
from sweep import PLAIN, Sweep

from mmjax.analysis.summary import Rows
from mmjax.comparison.arm import all_strategies, make_arm
from mmjax.comparison.scores import standard_error
from mmjax.fusion import FUSIONS
from mmjax.report.figures.scores_figure import save
from mmjax.report.tables import markdown_table, notes
from mmjax.tasks import load_task

DOZEN = (
    "early",
    "concat",
    "sum",
    "attention_pool",
    "gmu",
    "film",
    "low_rank",
    "mutan",
    "embracenet",
    "transformer",
    "cross_attention",
    "bottleneck",
    "late_mean",
    "product_of_experts",
    "i2m2",
    "evidential",
    "mvae",
)
# What early fusion joins is raw input, not encodings.
CACHED = (*(name for name in FUSIONS if FUSIONS[name].level != "input"), *PLAIN)
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "yweweler")


@dataclass(frozen=True)
class Study:
    """What the command line sets.

    Attributes:
        out: folder for rows, figure and summary.
        data: folder with MNIST and the Free Spoken Digit Dataset; without it the speakers are left
            out.
        fusions: strategies of the two-stage protocol.
        end_to_end: strategies that train their encoders too.
        speakers: who is held out in turn.
        seeds: number of seeds.
        steps: train steps of each model, 200 in the end-to-end protocol of ``mmjax compare``.
    """

    out: Path
    data: str | None = None
    fusions: tuple[str, ...] = CACHED
    end_to_end: tuple[str, ...] = DOZEN
    speakers: tuple[str, ...] = SPEAKERS
    seeds: int = 5
    steps: int = 200


def main(study: Study) -> None:
    """Runs what is not in rows.jsonl yet, then writes the summary."""
    console = Console()
    sweep = Sweep(study.out / "rows.jsonl", console)
    seeds = tuple(range(study.seeds))
    digits = load_task("digits")
    console.print("digits, two-stage", style="bold")
    sweep.compare_encoded(digits, study.fusions, seeds, steps=study.steps)
    console.print("digits, end to end", style="bold")
    missing = sweep.missing(digits.name, all_strategies(digits, study.end_to_end))
    if missing:
        sweep.compare([make_arm(digits, n, seeds=seeds, steps=study.steps) for n in missing])
    for speaker in study.speakers if study.data else ():
        console.print(f"{speaker} held out, two-stage", style="bold")
        options = {"split": "speaker", "test_speaker": speaker}
        task = load_task("mnist_fsdd", study.data, options)
        sweep.compare_encoded(task, study.fusions, seeds, steps=study.steps)
    write_summary(study, sweep.rows)


_PROTOCOL = """Test accuracy in %, mean +- standard error over seeds; for unseen speakers each
seed counts with its mean over {speakers} speakers, held out in turn. Two-stage: every strategy
learns on the same cached encodings, of encoders that were trained alone, as the baselines. End to
end: encoders and fusion learn together. {steps} steps of 64 rows in every stage. Seconds:
compilation, training and validation of all seeds on `digits`; those of the two-stage protocol come
on top of the baselines', which are shared.
"""


def write_summary(study: Study, rows: Rows) -> None:
    """Writes summary.md and accuracy.png from the rows."""
    speakers = [f"mnist_fsdd/speaker/{name}/encoded" for name in study.speakers if study.data]
    columns = {
        "digits, two-stage": accuracies(rows, ["digits/encoded"]),
        "digits, end to end": accuracies(rows, ["digits"]),
    }
    if speakers:
        columns["unseen speakers, two-stage"] = accuracies(rows, speakers)
    first = columns["digits, two-stage"]
    order = sorted(first, key=lambda name: -first[name].mean())
    order += [name for name in columns["digits, end to end"] if name not in first]
    whole = {row["strategy"]: row for row in rows if row["task"] == "digits"}
    encoded = {row["strategy"]: row for row in rows if row["task"] == "digits/encoded"}
    heads = [*columns, "parameters of the fusion", "seconds, two-stage", "seconds, end to end"]
    lines = []
    for name in order:
        cells = [_cell(column.get(name)) for column in columns.values()]
        # A model on encodings has no encoders: its parameters are the fusion's.
        cells.append(f"{encoded[name]['params']:,}" if name in encoded else "")
        for part in (encoded, whole):
            cells.append(f"{part[name]['seconds']:.1f}" if name in part else "")
        shown = f"*{name}*" if name.endswith("_only") else name
        lines.append([shown, *cells])
    digits = [row for row in rows if row["task"] == "digits"]
    parts = [
        "# The whole zoo on digits\n",
        _PROTOCOL.format(speakers=len(speakers), steps=study.steps),
        markdown_table(["strategy", *heads], lines),
        f"\nFor `digits`: {notes(digits)}",
        "![Accuracy](accuracy.png)\n",
    ]
    text = "\n".join(parts)
    (study.out / "summary.md").write_text(text, encoding="utf-8")
    save(accuracy_figure(columns, order), study.out / "accuracy.png")
    print(text)


def accuracies(rows: Rows, tasks: list[str]) -> dict[str, np.ndarray]:
    """{strategy: test accuracy in %, [seeds]}, averaged over tasks.

    The baselines of encoded tasks are the unimodal models whose encoders made them.
    """
    alone = [task.removesuffix("/encoded") for task in tasks]
    found: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        known = alone if row["strategy"].endswith("_only") else tasks
        if row["split"] == "test" and row["task"] in known:
            by_seed = found.setdefault(row["strategy"], {})
            by_seed.setdefault(row["seed"], []).append(100 * row["accuracy"])
    return {
        name: np.array([np.mean(by_seed[seed]) for seed in sorted(by_seed)])
        for name, by_seed in found.items()
    }


def _cell(values: np.ndarray | None) -> str:
    return "" if values is None else f"{values.mean():.2f} +- {standard_error(values):.2f}"


def accuracy_figure(columns: dict[str, dict[str, np.ndarray]], order: list[str]) -> Figure:
    """Accuracy of every strategy, a panel for each column of the table."""
    figure = Figure(figsize=(4 * len(columns), 1.2 + 0.2 * len(order)), layout="constrained")
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, (title, column) in zip(panels, columns.items(), strict=True):
        for y, name in enumerate(reversed(order)):
            if name in column:
                values = column[name]
                color = "tab:gray" if name.endswith("_only") else "tab:blue"
                axes.errorbar(
                    values.mean(), y, xerr=standard_error(values), fmt="o", color=color, capsize=2
                )
        best = max(v.mean() for n, v in column.items() if n.endswith("_only"))
        axes.axvline(best, color="tab:gray", linestyle=":", linewidth=1)
        axes.set_title(title)
        axes.set_xlabel("accuracy in % (dotted: best unimodal baseline)")
        axes.grid(axis="x", alpha=0.3)
        axes.set_ylim(-1, len(order))
    panels[0].set_yticks(range(len(order)), list(reversed(order)))
    return figure


if __name__ == "__main__":
    main(tyro.cli(Study))
