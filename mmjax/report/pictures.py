"""Pictures that need the data or the embeddings, made while both are at hand."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmjax.compare import Comparison
from mmjax.report.answers import make_answers
from mmjax.report.data import misclassified_figure
from mmjax.report.figures import save
from mmjax.report.representation_figures import project, projection_figure, similarity_figure
from mmjax.representation import Embedded, cka_matrix
from mmjax.task import Task


def save_pictures(
    out: Path, task: Task, compared: Comparison, fused: Mapping[str, Embedded]
) -> None:
    """Draws the worst mistakes of the best fusion, embeddings, and how alike those are.

    Args:
        out: a run folder.
        task: the data.
        compared: what came of all strategies on it.
        fused: {strategy: joint embeddings of the same rows}.
    """
    answers = make_answers(compared)
    if answers is None:
        return
    best = answers.best(alone=False) or answers.best(alone=True)
    split = answers.split
    wrong = misclassified_figure(task.splits[split], compared.predictions[best][split])
    if wrong:
        wrong.suptitle(f"{best}: class, what it said, how sure", fontsize="medium")
        save(wrong, out / "misclassified.png")
    shown = {name: fused[name] for name in (answers.best(alone=True), best) if name}
    maps = {name: project(found.values["fused"][0], "tsne") for name, found in shown.items()}
    save(projection_figure(maps, next(iter(shown.values())).target), out / "embeddings.png")
    if len(fused) > 1:
        matrix = cka_matrix([found.values["fused"] for found in fused.values()])
        save(similarity_figure(np.asarray(matrix), list(fused)), out / "similarity.png")
