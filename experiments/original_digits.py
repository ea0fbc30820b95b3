"""Does fusing written and spoken digits beat either alone, as in the study mmjax grew out of?

CNN encoders are trained alone with a mean squared error, image-only and audio-only; then a fusion
network learns on their frozen encodings with cross-entropy, all by Adam. The embeddings of the test
rows are drawn by t-SNE and clustered by k-means.

The study reported: image-only accuracy 95.1 %, audio-only 83.4 %, fusion F1 0.978.

    python experiments/original_digits.py --data DATA --out runs/original
    python experiments/original_digits.py --task written_spoken_digits --data FOLDER --out runs/wsd

Expected on mnist_fsdd (official split, 5 seeds, about 3 minutes on two CPU cores): all three above
the reference, as in
docs/results/original_digits.md, which is what the first command writes as summary.md.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from mmjax.analysis.assessment import Assessment
from mmjax.analysis.representation import cluster_scores, sample
from mmjax.analysis.study import make_study
from mmjax.comparison.arm import Arm, make_arm
from mmjax.comparison.outcomes import ArmResult
from mmjax.comparison.scores import history_rows, score
from mmjax.data.task import Task
from mmjax.methods import TwoStage
from mmjax.objectives import mse
from mmjax.report.figures.representation_figures import project, projection_figure
from mmjax.report.figures.scores_figure import save
from mmjax.report.score_table import score_table
from mmjax.report.tables import markdown_table, notes, summary_markdown
from mmjax.storage.jsonl import append_rows
from mmjax.tasks import load_task
from mmjax.training.fit import Fit, fit

REFERENCE = {"image_only": ("accuracy", 0.951), "audio_only": ("accuracy", 0.834)}
REFERENCE |= {"concat": ("macro_f1", 0.978)}


@dataclass(frozen=True)
class Study:
    """What the command line sets.

    Attributes:
        data: folder with the task's files.
        out: new folder for rows, figure and summary.
        task: mnist_fsdd or written_spoken_digits.
        seeds: number of seeds.
        steps: train steps of each of the three networks.
        shown: test rows that are embedded by t-SNE and clustered.
    """

    data: str
    out: Path
    task: str = "mnist_fsdd"
    seeds: int = 5
    steps: int = 1000
    shown: int = 2000


def main(study: Study) -> None:
    """Trains the three networks, scores them, and draws the embeddings of the first seed."""
    task = load_task(study.task, study.data)
    study.out.mkdir(parents=True)
    shared = {"steps": study.steps, "seeds": tuple(range(study.seeds)), "patience": 15}

    encoders, results = {}, []
    for name in task.modalities:
        arm = make_arm(task, f"{name}_only", objective=mse, **shared)
        trained = fit(arm.recipe, arm.task)
        encoders[f"encoders_{name}"] = trained.params[f"encoders_{name}"]
        results.append(_score(arm, trained))

    arm = make_arm(task, "concat", method=TwoStage(), **shared)
    fused = fit(arm.recipe, arm.task, params=encoders)
    results.append(_score(arm, fused))
    done = Assessment(make_study(task, results, failed={}))
    append_rows(study.out / "rows.jsonl", done.study.rows)

    some = sample(task.test, study.shown)
    embeddings = fused.view(fused.params, some.batch()).embeddings
    views = {name: values[0] for name, values in embeddings.items()}
    maps = {"tsne": {name: project(values, "tsne") for name, values in views.items()}}
    save(projection_figure(maps, some.target), study.out / "embeddings.png")
    write_summary(study, task, done, views, some.target)


def _score(arm: Arm, trained: Fit) -> ArmResult:
    scored = score(arm, trained)
    history = history_rows(arm, trained)
    return ArmResult(arm, trained, scored.rows, scored.predictions, {}, None, history)


def write_summary(study, task: Task, done: Assessment, views, target) -> None:
    """Writes summary.md: scores beside the original ones, then how the embeddings cluster."""
    rows, summaries, scored = done.study.rows, done.summaries, done.study.split
    title = f"# The study that mmjax grew out of, on {task.name}\n"
    lines = [title, done.verdict.text, ""]
    lines += [summary_markdown(score_table(summaries)), notes(rows), "## Against that study\n"]
    table = []
    for strategy, (metric, value) in REFERENCE.items():
        scores = [r[metric] for r in rows if (r["strategy"], r["split"]) == (strategy, scored)]
        table.append([strategy, metric, f"{value:.3f}", f"{np.mean(scores):.4f}"])
    lines.append(markdown_table(["network", "metric", "original", "here"], table, text_columns=2))
    lines += ["", f"## Clusters of {len(target)} test rows, first seed\n"]
    table = [
        [name, *(f"{score:.3f}" for score in cluster_scores(values, target))]
        for name, values in views.items()
    ]
    lines.append(markdown_table(["embedding", "ARI", "NMI", "silhouette"], table))
    lines += ["", "![t-SNE maps of the embeddings](embeddings.png)", ""]
    text = "\n".join(lines)
    (study.out / "summary.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(tyro.cli(Study))
