"""Figures of a page beyond the scores: calibration, attribution, robustness, cost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from mmjax.analysis.attribution import discretise_predictions, estimate, shapley_rows
from mmjax.analysis.robustness import score_curves
from mmjax.analysis.study import Study
from mmjax.analysis.summary import summarise
from mmjax.report.figures.attribution_figures import (
    information_figure,
    name_parts,
    shapley_figure,
    weights_figure,
)
from mmjax.report.figures.calibration_figures import reliability_figure, selective_figure
from mmjax.report.figures.cost_figures import cost_figure
from mmjax.report.figures.robustness_figures import robustness_figure, split_flat

PICTURES = {
    "misclassified.svg": (
        "Which rows are misclassified",
        "The rows that the best fusion misclassifies with the highest confidence. Look for what "
        "they have in common.",
        False,
    ),
    "embeddings.svg": (
        "Embeddings",
        "Rows in the embedding spaces of the best unimodal baseline and of the best fusion (each "
        "modality, and fused), coloured by class, number of labels, or quintile of the first "
        "target. Look for classes that separate only after fusion. Only neighbourhoods are "
        "meaningful in t-SNE; PCA preserves distances as far as two dimensions can.",
        True,
    ),
    "similarity.svg": (
        "Similarity of representations",
        "Linear CKA between different seeds, for the fused embeddings and for those of each "
        "modality in the best fusion. Off-diagonal values as high as the diagonal: two strategies "
        "are as similar as two seeds of one.",
        True,
    ),
}
"""{file of a run folder: (title, caption, whether it is folded)}."""


class Drawing(NamedTuple):
    """A figure of the page.

    Attributes:
        title: of the figure.
        caption: what to look for.
        figure: as it is drawn.
        files: of a run folder, from which it is drawn.
        folded: whether it says too little to be seen before one asks for it.
    """

    title: str
    caption: str
    figure: Figure
    files: tuple[str, ...] = ("predictions",)
    folded: bool = False

    @property
    def width(self) -> int:
        """In pixels."""
        return round(96 * self.figure.get_figwidth())

    @property
    def is_wide(self) -> bool:
        """Whether it takes the width of a page rather than of a column."""
        return self.width > 600


def extra_figures(
    study: Study, best: Sequence[str], colors: Mapping[str, str]
) -> Iterator[Drawing]:
    """The figures that the available tables and predictions allow.

    Args:
        study: the results on one task.
        best: strategies with predictions whose calibration is shown.
        colors: of the strategies.
    """
    if best and study.kind == "classes":
        yield from _probabilities(study, best, colors)
    yield from _attribution(study)
    if "robustness" in study.tables:
        yield from _robustness(study, colors)


def draw_cost(study: Study, colors: Mapping[str, str]) -> Iterator[Drawing]:
    """The figure of what strategies cost, if it was measured."""
    if "cost" in study.tables:
        yield Drawing(
            f"{study.metric.title} against cost",
            "Strategies on the line form the Pareto front: no other is both cheaper and better.",
            cost_figure(summarise(study.rows), study.tables["cost"], colors),
            ("rows.jsonl", "cost.jsonl"),
        )


def _robustness(study: Study, colors: Mapping[str, str]) -> Iterator[Drawing]:
    steep, flat = split_flat(score_curves(study.tables["robustness"]))
    if steep:
        yield Drawing(
            "Robustness to corruption",
            "Score by severity, for one corruption of one modality per panel. A flat line means "
            "that the strategy does not need the modality, a steep one that it relies on it.",
            robustness_figure(steep, study.metric, colors),
            ("robustness.jsonl",),
        )
    if flat:
        yield Drawing(
            "Corruptions with little effect",
            "Corruptions that change no score by more than a tenth of the largest change. The "
            "axis is not that of the others.",
            robustness_figure(flat, study.metric, colors),
            ("robustness.jsonl",),
            folded=True,
        )


def _attribution(study: Study) -> Iterator[Drawing]:
    scored = [row for row in study.rows if row["split"] == study.split]
    hidden = [row["strategy"] for row in scored if row["hidden"]]
    shares = shapley_rows([row for row in scored if row["strategy"] in set(hidden)])
    if shares:
        yield Drawing(
            "Contribution of each modality",
            f"Shapley values: mean gain in {study.metric.unit} over all orders "
            "in which modalities can be added, with one standard error. A modality near zero could "
            "be left out.",
            shapley_figure(shares),
            ("rows.jsonl",),
        )
    predictions = [study.predictions.get(name) for name in study.baselines]
    pair = not study.folds and len(predictions) == 2 and all(map(_usable, predictions))
    if study.kind == "classes" and pair and _has_groups(study):
        yield _information(study)
    if "weights" in study.tables:
        yield Drawing(
            "How strategies weight the modalities",
            "Mean over rows, one dot per seed: the weights that a fusion computes, or the share of "
            "each modality in its last token (attention rollout). Dots of one modality that lie "
            "far apart are seeds that have learned to rely on different modalities.",
            weights_figure(study.tables["weights"]),
            ("weights.jsonl",),
        )


def _has_groups(study: Study) -> bool:
    """Whether there are several groups: with one, the standard errors would be unknown."""
    return len(np.unique(study.group)) > 1


def _usable(predictions: Mapping[str, np.ndarray] | None) -> bool:
    """Whether there are few classes, more rows, and a first seed that has not diverged."""
    if not predictions:
        return False
    logits = predictions["valid"][0]
    return logits.shape[1] <= min(len(logits), _FEW) and bool(np.isfinite(logits).all())


_FEW = 20  # classes: the time of a decomposition grows with a high power of their number


def _information(study: Study) -> Drawing:
    first, second = study.baselines
    symbols = [
        discretise_predictions(logits[study.split][0], fit_on=logits["valid"][0])
        for logits in (study.predictions[name] for name in (first, second))
    ]
    parts, errors = estimate(symbols[0], symbols[1], study.target, study.group)
    modalities = study.strategies[first], study.strategies[second]
    named = zip(name_parts(*modalities), parts, errors, strict=True)
    shown = [f"{name} {max(part, 0):.2f} +- {error:.2f}" for name, part, error in named]
    return Drawing(
        "Information in the modalities",
        f"In the predictions of {first} and {second} (first seed): {', '.join(shown)}. Redundant: "
        "in both; synergistic: only in both together. Decomposition of Bertschinger et al. (2014), "
        "errors by jackknife.",
        information_figure({"": parts}, modalities),
    )


def _probabilities(
    study: Study, best: Sequence[str], colors: Mapping[str, str]
) -> Iterator[Drawing]:
    logits = {name: study.predictions[name][study.split] for name in best}
    logits = {name: finite for name, finite in logits.items() if np.isfinite(finite).all()}
    if not logits:
        return  # all have diverged
    yield Drawing(
        "Are the probabilities calibrated?",
        "Accuracy by confidence (reliability diagram). Bars below the diagonal: the model is "
        "overconfident.",
        reliability_figure(logits, study.target),
    )
    yield Drawing(
        "Selective prediction",
        "Accuracy on the most confident rows. With a curve that starts high and falls late, "
        "abstaining on the least confident rows pays off.",
        selective_figure(logits, study.target, colors),
        folded=True,
    )
