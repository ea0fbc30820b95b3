"""Pictures that need the data or the embeddings, drawn while both are in memory."""

from collections.abc import Mapping, Sequence

from mmjax.analysis.assessment import Assessment
from mmjax.analysis.representation import cka_matrix
from mmjax.comparison.outcomes import Embedded
from mmjax.data.task import Task
from mmjax.report.figures.representation_figures import (
    methods,
    project,
    projection_figure,
    similarity_figure,
)
from mmjax.report.figures.samples import misclassified_figure
from mmjax.report.figures.style import Figure
from mmjax.report.figures.svg import standalone_svg


def draw_pictures(
    task: Task, assessment: Assessment, embedded: Mapping[str, Embedded]
) -> dict[str, bytes]:
    """Draws the most confident errors of the best fusion, embeddings, and their similarity.

    Args:
        task: the data.
        assessment: the results of all strategies on it.
        embedded: {strategy: embeddings of the same rows}; may be empty.

    Returns:
        {file name: SVG}.
    """
    answers = assessment.answers
    if answers is None:
        return {}
    best = answers.best(alone=False) or answers.best(alone=True)
    if best is None:
        return {}
    figures: dict[str, Figure] = {}
    if task.kind == "classes":
        predictions = assessment.study.predictions[best][answers.split]
        wrong = misclassified_figure(
            task.splits[answers.split], predictions, task.codings, task.names
        )
        if wrong:
            wrong.suptitle(f"{best}: class → prediction, confidence", fontsize="medium")
            figures["misclassified.svg"] = wrong
    if embedded:
        figures |= _draw_embeddings(best, answers.best(alone=True), embedded, task.names)
    return {name: standalone_svg(figure) for name, figure in figures.items()}


def _draw_embeddings(
    best: str, alone: str | None, embedded: Mapping[str, Embedded], classes: Sequence[str]
) -> dict[str, Figure]:
    joint = {name: found.values["fused"] for name, found in embedded.items()}
    parts = {f"{best}, {n}": v for n, v in embedded[best].values.items() if n != "fused"}
    shown = {**({alone: joint[alone]} if alone else {}), **parts, best: joint[best]}
    maps = {m: {name: project(v[0], m) for name, v in shown.items()} for m in methods()}
    figures: dict[str, Figure]
    figures = {"embeddings.svg": projection_figure(maps, embedded[best].target, classes)}
    if len(joint) > 1:
        matrix = cka_matrix(list((joint | parts).values()))
        figures["similarity.svg"] = similarity_figure(matrix, list(joint | parts))
    return figures
