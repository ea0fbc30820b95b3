"""Which fusions can use a synergy, and which lose nothing where there is none?

    python experiments/zoo_synthetic.py --out runs/zoo_synthetic

Every strategy, end to end, on the four synthetic tasks, whose best accuracies are known. ``xor``
is the test of interaction: each modality alone says nothing about the class. A strategy whose
decision is built from scores of one modality each, added or multiplied or compared, cannot solve
it; ``UNIMODAL_SCORES`` names those, with the reason, before anything is trained, and the summary
holds the result against it. Only `fuse_moe` was added when its result had shown that the list
lacked it.

Rows are appended as they come; the same command goes on where it was stopped. About 20 minutes on
two CPU cores. Expected: docs/results/zoo_synthetic.md, which is its summary.md.
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
from mmjax.tasks.synthetic import KINDS

ADDED = "the logits are sums of functions of one modality each"
MIXED = "the probabilities are means of those of one modality each"
UNIMODAL_SCORES = {
    "a_only": "one modality",
    "b_only": "one modality",
    "sum": ADDED,
    "mean": ADDED,
    "weighted": ADDED,
    "late_mean": ADDED,
    "late_weighted": ADDED,
    "mmcosine": ADDED,
    "product_of_experts": ADDED,
    "energy_weighted": ADDED,
    "embracenet": ADDED,
    "fuse_moe": ADDED,
    "stacking": ADDED,
    "deep_cca": ADDED,
    "late_prob_mean": MIXED,
    "mmvae": MIXED,
    "late_max": "a class wins by its best unimodal score",
    "evidential": "Dempster's rule multiplies plausibilities of one modality each",
}
SOLVED = 95.0  # % of accuracy
# Three of four combinations can be had by scores that add up, the fourth cannot.
THREE_OF_FOUR = 75.0


@dataclass(frozen=True)
class Study:
    """What the command line sets.

    Attributes:
        out: folder for rows, figure and summary.
        fusions: strategies beside the unimodal baselines.
        kinds: kinds of the synthetic task.
        seeds: number of seeds.
        steps: train steps.
        size: rows of each task.
    """

    out: Path
    fusions: tuple[str, ...] = (*FUSIONS, *PLAIN)
    kinds: tuple[str, ...] = tuple(KINDS)
    seeds: int = 5
    steps: int = 300
    size: int = 4000


def main(study: Study) -> None:
    """Runs what is not in rows.jsonl yet, then writes the summary."""
    console = Console()
    sweep = Sweep(study.out / "rows.jsonl", console)
    options = {kind: {"kind": kind, "size": str(study.size)} for kind in study.kinds}
    tasks = [load_task("synthetic", options=options[kind]) for kind in study.kinds]
    strategies = all_strategies(tasks[0], study.fusions)
    recipe = {"seeds": tuple(range(study.seeds)), "steps": study.steps}
    sweep.compare_each(tasks, strategies, lambda task, name: make_arm(task, name, **recipe))
    write_summary(study, sweep.rows)


def accuracies(rows: Rows) -> dict[str, dict[str, np.ndarray]]:
    """{strategy: {kind: test accuracy in %, [seeds]}}."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        if row["split"] == "test":
            kind = row["task"].removeprefix("synthetic/")
            found.setdefault(row["strategy"], {}).setdefault(kind, []).append(row["accuracy"])
    return {
        name: {kind: 100 * np.array(values) for kind, values in kinds.items()}
        for name, kinds in found.items()
    }


def write_summary(study: Study, rows: Rows) -> None:
    """Writes summary.md and accuracy.png from the rows."""
    scores = accuracies(rows)
    order = sorted(scores, key=lambda name: -scores[name]["xor"].mean())
    params = {row["strategy"]: row["params"] for row in rows if row["task"] == "synthetic/xor"}
    lines = []
    for name in order:
        cells = [_cell(scores[name][kind]) for kind in study.kinds]
        shown = f"*{name}*" if name.endswith("_only") else name
        lines.append([shown, *cells, f"{params[name]:,}"])
    some = [row for row in rows if row["task"] == "synthetic/xor"]
    parts = [
        "# The whole zoo on tasks whose answer is known\n",
        f"Test accuracy in %, mean +- standard error over {study.seeds} seeds; end to end, "
        f"{study.steps} steps of 64 rows. The best possible is 100 everywhere; for one modality it "
        'is 100 on "redundant", 100 for "a" and 50 for "b" on "unique", 75 on "and", and 50 on '
        '"xor".\n',
        markdown_table(["strategy", *study.kinds, "parameters"], lines),
        "",
        *verdicts(scores),
        "",
        notes(some),
        "![Accuracy](accuracy.png)\n",
    ]
    text = "\n".join(parts)
    (study.out / "summary.md").write_text(text, encoding="utf-8")
    save(accuracy_figure(scores, order, study.kinds), study.out / "accuracy.png")
    print(text)


def verdicts(scores: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """Who solves exclusive or, who does not, and whether that is what the form of each implies."""
    mean = {name: kinds["xor"].mean() for name, kinds in scores.items()}
    error = {name: standard_error(kinds["xor"]) for name, kinds in scores.items()}
    listed = lambda names: ", ".join(sorted(names)) or "none"
    solved = [name for name in mean if mean[name] >= SOLVED]
    bound = [name for name in mean if _is_bound(name)]
    partly = [n for n in mean if n not in solved and n not in bound]
    beyond = [n for n in bound if mean[n] - 2 * error[n] > THREE_OF_FOUR]
    return [
        f"Exclusive or is solved (at least {SOLVED:.0f} %) by: {listed(solved)}.\n",
        f"It is out of reach of: {listed(bound)}. Their decisions compare scores of one modality "
        "each, which get three of the four combinations right at most, and chance is what the "
        "loss prefers. "
        + (f"Contradicted by: {listed(beyond)}." if beyond else "None is above three of four."),
        f"\nNot forbidden by its form, and still not solved on average: {listed(partly)}.",
    ]


def _is_bound(name: str) -> bool:
    return name.partition(":")[0] in UNIMODAL_SCORES


def _cell(values: np.ndarray) -> str:
    return f"{values.mean():.1f} +- {standard_error(values):.1f}"


def accuracy_figure(scores, order, kinds) -> Figure:
    """Accuracy of every strategy, a panel for each kind; hollow where theory forbids it."""
    figure = Figure(figsize=(3 * len(kinds), 1.2 + 0.2 * len(order)), layout="constrained")
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        for y, name in enumerate(reversed(order)):
            values = scores[name][kind]
            color = "tab:gray" if _is_bound(name) else "tab:blue"
            axes.errorbar(
                values.mean(), y, xerr=standard_error(values), fmt="o", color=color, capsize=2
            )
        axes.set_title(kind)
        axes.set_xlabel("accuracy in %")
        axes.set_xlim(45, 102)
        axes.grid(axis="x", alpha=0.3)
        axes.set_ylim(-1, len(order))
    panels[0].set_yticks(range(len(order)), list(reversed(order)))
    figure.suptitle("gray: decisions from scores of one modality each")
    return figure


if __name__ == "__main__":
    main(tyro.cli(Study))
