"""What does fusion buy on tasks harder than digits, and do the same fusions lead on all of them?

    for task in av_mnist strokes digit_sets digit_sum spoken_list; do
        mmjax compare --task $task --data DATA --out runs/harder/$task
    done
    mmjax report runs/harder/* --out runs/harder.html
    python experiments/harder_tasks.py runs/harder/* --out runs/harder_tasks

Noise and lost detail, three modalities, several labels, a number, long sequences: docs/tasks.md has
what the tasks are. Ten fusions of most kinds by the default recipe, which nothing was tuned for; on
labels and numbers, those that are made for classes alone are left out. The page of all five is
runs/harder.html. Two to five minutes a task on two CPU cores, and longer for av_mnist. Expected:
docs/results/harder_tasks.md, which is the summary.md.
"""

from pathlib import Path

import numpy as np
import tyro
from matplotlib.figure import Figure

from mmjax.analysis.assessment import Assessment
from mmjax.analysis.study import Study
from mmjax.comparison.scores import standard_error
from mmjax.report.figures.scores_figure import save
from mmjax.report.figures.style import ALONE, FUSED, calm
from mmjax.report.tables import markdown_table, notes
from mmjax.runs.studies import read_studies


def main(runs: tyro.conf.Positional[tuple[Path, ...]], out: Path) -> None:
    """Reads the runs of all tasks and writes what they say together.

    Args:
        runs: Folders of `mmjax compare`, one for each task.
        out: New folder for the summary and the figure.
    """
    out.mkdir(parents=True)
    studies = read_studies(runs)
    text = summary(studies)
    (out / "summary.md").write_text(text, encoding="utf-8")
    save(gain_figure(studies), out / "gains.png")
    print(text)


def summary(studies: list[Study]) -> str:
    """Scores by strategy and task, and what each task's verdict is."""
    heads = [f"{study.task}, {study.metric.head}" for study in studies]
    baselines = list(dict.fromkeys(name for study in studies for name in study.baselines))
    fusions = {name for study in studies for name in study.strategies} - {*baselines}
    order = sorted(fusions, key=lambda name: -mean_gain(studies, name))
    lines = [
        [f"*{name}*" if name in baselines else name, *(_cell(study, name) for study in studies)]
        for name in [*order, *baselines]
    ]
    headlines = [f"- {s.task}: {Assessment(s).verdict.headline}" for s in studies]
    return "\n".join(
        [
            "# Tasks harder than digits\n",
            "Score of the test rows in %, mean +- standard error over seeds; sorted by the gain "
            "over the best unimodal baseline, in the mean over tasks. Accuracy of several labels "
            "is the share of labels that are right.\n",
            markdown_table(["strategy", *heads], lines),
            "",
            *headlines,
            "",
            *(f"`{study.task}`: {notes(study.rows)}" for study in studies),
            "![Gain over the best unimodal baseline](gains.png)\n",
        ]
    )


def gains(study: Study) -> dict[str, float]:
    """Points of each fusion over the modality that is best on validation."""
    mean = lambda name: 100 * study.scores(name).mean()
    alone = max(study.baselines, key=study.on_validation)
    return {name: mean(name) - mean(alone) for name in study.strategies.keys() - study.baselines}


def mean_gain(studies: list[Study], name: str) -> float:
    """Over the tasks that the strategy was tried on."""
    return float(np.mean([found[name] for study in studies if name in (found := gains(study))]))


def _cell(study: Study, name: str) -> str:
    if name not in study.strategies:
        return ""
    scores = 100 * study.scores(name)
    return f"{scores.mean():.1f} +- {standard_error(scores):.1f}"


def gain_figure(studies: list[Study]) -> Figure:
    """A dot for each fusion by its gain, a line for each task; the best and the worst by name."""
    figure = Figure(figsize=(7, 1 + 0.6 * len(studies)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=ALONE, linewidth=1)
    for place, study in enumerate(reversed(studies)):
        found = gains(study)
        axes.scatter(found.values(), [place] * len(found), s=18, color=FUSED, alpha=0.6)
        for pick, side in ((min, "right"), (max, "left")):
            name = pick(found, key=found.get)
            offset = (-5 if side == "right" else 5, 0)
            where = {"xytext": offset, "textcoords": "offset points", "ha": side, "va": "center"}
            axes.annotate(name, (found[name], place), fontsize=7, **where)
    axes.set_yticks(range(len(studies)), [study.task for study in reversed(studies)])
    axes.margins(x=0.2, y=0.1)
    axes.set_xlabel("gain over the best unimodal baseline, points of the main score")
    calm(axes, grid="x")
    return figure


if __name__ == "__main__":
    tyro.cli(main)
