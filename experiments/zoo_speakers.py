"""The whole zoo with a speaker never heard: who holds, who falls, and by what?

    for speaker in george jackson lucas nicolas yweweler; do
        mmjax compare --task mnist_fsdd --data DATA \\
            --fusions all bottleneck:cross_entropy centralnet:cross_entropy \\
                evidential:cross_entropy etmc:cross_entropy energy_weighted:cross_entropy \\
            --options split=speaker test_speaker=$speaker \\
            --examine scores --out runs/speakers/$speaker
    done
    mmjax report runs/speakers/* --out runs/speakers.html
    python experiments/zoo_speakers.py runs/speakers/* --out runs/zoo_speakers

Every strategy of the table, end to end by the default recipe. The page of all five is
runs/speakers.html; what it concludes is put together here. About two hours on two CPU cores.
Expected: docs/results/zoo_speakers.md, which is its summary.md.
"""

from pathlib import Path

import numpy as np
import tyro
from matplotlib.figure import Figure

from mmjax.analysis.answers import Answers, make_answers
from mmjax.analysis.statistics import rank
from mmjax.analysis.study import Study
from mmjax.analysis.verdicts import format_p, judge
from mmjax.comparison.scores import standard_error
from mmjax.report.figures.scores_figure import save
from mmjax.report.figures.style import ALONE, FUSED, calm
from mmjax.report.tables import markdown_table, notes
from mmjax.runs.studies import read_studies

NAMED = 5  # strategies at either end of the figure


def main(runs: tyro.conf.Positional[tuple[Path, ...]], out: Path) -> None:
    """Reads the runs of all speakers and writes what they say together.

    Args:
        runs: Folders of `mmjax compare`, one for each speaker held out.
        out: New folder for the summary and the figure.
    """
    out.mkdir(parents=True)
    studies = {study.task.rpartition("/")[2]: study for study in read_studies(runs)}
    answers = {speaker: make_answers(study) for speaker, study in studies.items()}
    shared = set.intersection(*(set(found.scores) for found in answers.values()))
    names = [name for name in next(iter(answers.values())).scores if name in shared]
    alone = best_alone(answers, names)
    write_summary(out, studies, answers, names, alone)


def best_alone(answers: dict[str, Answers], names: list[str]) -> str:
    """The modality that is best on validation, in the mean over speakers."""
    baselines = [name for name in names if name in next(iter(answers.values())).baselines]
    mean = lambda name: np.mean([found.valid_score[name] for found in answers.values()])
    return max(baselines, key=mean)


def exchange(answers: dict[str, Answers], name: str, alone: str) -> tuple[float, float]:
    """Rows in % that only the strategy has right, and only the modality alone: mean of speakers."""
    gained, lost = np.mean([found.exchange(name, alone) for found in answers.values()], axis=0)
    return float(gained), float(lost)


def write_summary(
    out: Path,
    studies: dict[str, Study],
    answers: dict[str, Answers],
    names: list[str],
    alone: str,
) -> None:
    """Writes summary.md and exchange.png."""
    accuracy = {
        name: {s: 100 * found.scores[name].mean(axis=1) for s, found in answers.items()}
        for name in names
    }
    mean = {name: np.mean([a.mean() for a in of.values()]) for name, of in accuracy.items()}
    trades = {name: exchange(answers, name, alone) for name in names}
    above = lambda name: sum(accuracy[name][s].mean() >= accuracy[alone][s].mean() for s in answers)
    order = sorted(names, key=lambda name: -mean[name])
    lines = []
    for name in order:
        cells = [f"{a.mean():.1f} +- {standard_error(a):.1f}" for a in accuracy[name].values()]
        traded = ["", "", ""] if name == alone else [*map(_one_digit, trades[name]), above(name)]
        shown = f"*{name}*" if name.endswith("_only") else name
        lines.append([shown, *cells, _one_digit(mean[name]), *traded])
    heads = ["strategy", *answers, "mean", "gained", "lost", "at or above"]
    table = np.array([[accuracy[name][s].mean() for name in names] for s in answers])
    parts = [
        "# The whole zoo with a speaker never heard\n",
        "Test accuracy in %, mean +- standard error over seeds, by the speaker held out. Gained: "
        f"rows in % that the strategy has right and {alone} wrong, lost: the reverse; means over "
        f"speakers. At or above: speakers for whom it is not below {alone}.\n",
        markdown_table(heads, lines),
        "",
        *(f"- {speaker}: {judge(found).headline}" for speaker, found in answers.items()),
        f"\nFriedman's test that all have the same mean rank: {format_p(rank(table).p)}.\n",
        notes(next(iter(studies.values())).rows),
        "![Rows gained and lost](exchange.png)\n",
    ]
    text = "\n".join(parts)
    (out / "summary.md").write_text(text, encoding="utf-8")
    save(exchange_figure(trades, alone, order), out / "exchange.png")
    print(text)


def _one_digit(value: float) -> str:
    return f"{value:.1f}"


def exchange_figure(trades: dict[str, tuple[float, float]], alone: str, order: list[str]) -> Figure:
    """Rows gained against rows lost; above the diagonal fusion pays."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    fusions = [name for name in order if not name.endswith("_only")]
    lost, gained = np.array([trades[name][::-1] for name in fusions]).T
    most = 1.05 * max(gained.max(), 1)
    axes.plot([0, most], [0, most], color=ALONE, linewidth=1)
    axes.scatter(lost, gained, s=18, color=FUSED)
    for place, name in enumerate(dict.fromkeys([*fusions[:NAMED], *fusions[-NAMED:]])):
        right = place % 2 or place >= NAMED  # the best are close together
        side, ha = ((4, 3), "left") if right else ((-4, 3), "right")
        spot = trades[name][1], trades[name][0]
        axes.annotate(name, spot, side, ha=ha, textcoords="offset points", fontsize=7)
    axes.set(ylim=(0, most))
    axes.set_xlabel(f"rows in % that only {alone} has right")
    axes.set_ylabel("rows in % that only the fusion has right")
    axes.set_title("above the line fusion pays", fontsize="medium")
    calm(axes, grid="both")
    return figure


if __name__ == "__main__":
    tyro.cli(main)
