"""Pictures that need the data or the embeddings, made while both are at hand."""

from collections.abc import Mapping
from pathlib import Path

from mmjax.analysis.answers import make_answers
from mmjax.analysis.representation import Embedded, cka_matrix
from mmjax.comparison.loop import Comparison
from mmjax.data.task import Task
from mmjax.report.figures.representation_figures import (
    methods,
    project,
    projection_figure,
    similarity_figure,
)
from mmjax.report.figures.samples import misclassified_figure
from mmjax.report.figures.scores_figure import save


def save_pictures(
    out: Path, task: Task, compared: Comparison, embedded: Mapping[str, Embedded]
) -> None:
    """Draws the worst mistakes of the best fusion, embeddings, and how alike those are.

    Args:
        out: a run folder.
        task: the data.
        compared: what came of all strategies on it.
        embedded: {strategy: embeddings of the same rows}; where there are none, pictures of them
            that are there stay.
    """
    answers = make_answers(compared)
    if answers is None:
        return
    best = answers.best(alone=False) or answers.best(alone=True)
    split = answers.split
    classes = task.kind == "classes"
    said = compared.predictions[best][split]
    wrong = misclassified_figure(task.splits[split], said) if classes else None
    if wrong:
        wrong.suptitle(f"{best}: class, what it said, how sure", fontsize="medium")
        save(wrong, out / "misclassified.png")
    if not embedded:
        return
    joint = {name: found.values["fused"] for name, found in embedded.items()}
    parts = {f"{best}, {n}": v for n, v in embedded[best].values.items() if n != "fused"}
    alone = answers.best(alone=True)
    shown = {**({alone: joint[alone]} if alone else {}), **parts, best: joint[best]}
    maps = {m: {name: project(v[0], m) for name, v in shown.items()} for m in methods()}
    save(projection_figure(maps, embedded[best].target), out / "embeddings.png")
    if len(joint) > 1:
        matrix = cka_matrix(list((joint | parts).values()))
        save(similarity_figure(matrix, list(joint | parts)), out / "similarity.png")
