"""Figures of a page that follow from other files of a run folder."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from mmjax.analysis.attribution import discretise_predictions, estimate, shapley_rows
from mmjax.analysis.study import Study
from mmjax.analysis.summary import summarise
from mmjax.data.targets import MAIN_SCORES
from mmjax.report.figures.attribution_figures import (
    information_figure,
    shapley_figure,
    weights_figure,
)
from mmjax.report.figures.calibration_figures import reliability_figure, selective_figure
from mmjax.report.figures.cost_figures import cost_figure
from mmjax.report.figures.robustness_figures import robustness_figure

PICTURES = {
    "misclassified.png": (
        "Rows that are got wrong",
        "Test rows that the best fusion gets wrong with the most confidence. Look for what they "
        "have in common.",
    ),
    "embeddings.png": (
        "Embeddings",
        "Rows as the best modality alone and the best fusion represent them: each of the fusion's "
        "modalities, and all together. Colours are classes, the number of labels, or fifths of the "
        "first number. In t-SNE only neighbourhoods mean something; PCA keeps distances, as far as "
        "two dimensions can.",
    ),
    "similarity.png": (
        "Which strategies represent alike",
        "Linear CKA of the fused embeddings, and of what the best fusion makes of each modality, "
        "between different seeds. Off the diagonal as high as on it: two strategies are as alike "
        "as two seeds of one.",
    ),
}
"""{file of a run folder: (title, caption)}."""


class Drawing(NamedTuple):
    """A figure of the page; the caption says what to look at."""

    title: str
    caption: str
    figure: Figure


def extra_figures(study: Study, best: Sequence[str]) -> Iterator[Drawing]:
    """Figures that follow from the tables that are there, and from the predictions.

    Args:
        study: of one task.
        best: strategies with predictions whose probabilities are looked at.
    """
    if best and study.kind == "classes":
        yield from _probabilities(study, best)
    yield from _attribution(study)
    if "robustness" in study.tables:
        yield Drawing(
            "When a modality is corrupted",
            "The score against severity of one corruption of one modality. A flat line does not "
            "need it, a steep one leans on it.",
            robustness_figure(study.tables["robustness"]),
        )
    if "cost" in study.tables:
        yield Drawing(
            f"What {MAIN_SCORES[study.metric]} costs",
            "Strategies on the line are beaten by none that is both cheaper and better.",
            cost_figure(summarise(study.rows), study.tables["cost"]),
        )


def _attribution(study: Study) -> Iterator[Drawing]:
    scored = [row for row in study.rows if row["split"] == study.split]
    hidden = [row["strategy"] for row in scored if row["hidden"]]
    shares = shapley_rows([row for row in scored if row["strategy"] in set(hidden)])
    if shares:
        yield Drawing(
            "What each modality adds",
            f"Shapley values: points of {MAIN_SCORES[study.metric]} over all orders in which "
            "modalities could join. A modality near zero could be left out.",
            shapley_figure(shares),
        )
    predictions = [study.predictions.get(name) for name in study.baselines]
    pair = len(predictions) == 2 and all(map(_usable, predictions))
    if study.kind == "classes" and pair and _has_groups(study):
        yield _information(study)
    if "weights" in study.tables:
        yield Drawing(
            "How strategies weigh the modalities",
            "Mean weight of each modality over rows, a dot for each seed: the weights of "
            "strategies that have some, and where attention ends in one token, the share of each "
            "modality in what that token has read (attention rollout). Dots far apart are seeds "
            "that have learned to listen to different modalities.",
            weights_figure(study.tables["weights"]),
        )


def _has_groups(study: Study) -> bool:
    """Whether there are several: the standard errors of one would be unknown."""
    return len(np.unique(study.labels[f"{study.split}_group"])) > 1


def _usable(predictions: Mapping[str, np.ndarray] | None) -> bool:
    """Whether there are any, of few classes and more rows, and the first seed has not diverged."""
    if not predictions:
        return False
    logits = predictions["valid"][0]
    return logits.shape[1] <= min(len(logits), _FEW) and np.isfinite(logits).all()


_FEW = 20  # classes: the time of a decomposition grows with a high power of their number


def _information(study: Study) -> Drawing:
    first, second = study.baselines
    target, group = (study.labels[f"{study.split}_{name}"] for name in ("target", "group"))
    said = [
        discretise_predictions(logits[study.split][0], fit_on=logits["valid"][0])
        for logits in (study.predictions[name] for name in (first, second))
    ]
    parts, errors = estimate(*said, target, group)
    named = zip(_PARTS, parts, errors, strict=True)
    shown = [f"{name} {max(part, 0):.2f} +- {error:.2f}" for name, part, error in named]
    return Drawing(
        "What the modalities know",
        f"Information about the class in what {first} and {second} predict (first seed), in bits: "
        f"{', '.join(shown)}. Redundant is what both say, unique what one alone says; synergy "
        "shows only when both are heard. The decomposition of Bertschinger et al. (2014); standard "
        "errors by jackknife.",
        information_figure({f"{first}, {second}": parts}),
    )


_PARTS = ("redundant", "unique of the first", "unique of the second", "synergy")


def _probabilities(study: Study, best: Sequence[str]) -> Iterator[Drawing]:
    target = study.labels[f"{study.split}_target"]
    logits = {name: study.predictions[name][study.split] for name in best}
    logits = {name: said for name, said in logits.items() if np.isfinite(said).all()}
    if not logits:
        return  # all have diverged
    yield Drawing(
        "Can the probabilities be believed?",
        "Accuracy of rows by how sure the model is of them. Bars under the diagonal: it is too "
        "sure of itself.",
        reliability_figure(logits, target),
    )
    yield Drawing(
        "Answering only when sure",
        "Accuracy on the rows of highest confidence. A curve that starts high and falls late "
        "can leave the hard rows to someone else.",
        selective_figure(logits, target),
    )
