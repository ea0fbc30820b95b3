"""Figures of Shapley values, information decompositions and modality weights."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import numpy as np

from mmjax.analysis.attribution import LIKELIHOOD, Decomposition
from mmjax.analysis.summary import Rows, group_by, scored_split
from mmjax.comparison.scores import over_folds, standard_error
from mmjax.metrics import find_metric
from mmjax.report.figures.style import (
    FUSED,
    QUIET,
    WIDTH,
    Figure,
    calm,
    legend_below,
    plain_text,
    shorten,
    width_beside,
)


@plain_text
def shapley_figure(rows: Rows) -> Figure:
    """Shapley values in points of the score, with one standard error on either side.

    Args:
        rows: the result of ``shapley_rows``, on one task.

    Example:
        >>> row = {"task": "toy", "strategy": "sum", "seed": 0, "split": "test"}
        >>> shares = [{**row, "metric": "accuracy", "modality": name, "shapley": share}
        ...           for name, share in (("image", 0.5), ("audio", 0.25))]
        >>> figure = shapley_figure(shares)
        >>> sorted(round(bar.get_width()) for bar in figure.axes[0].patches)
        [25, 50]
    """
    split = scored_split(rows)
    scored = [row for row in rows if row["metric"] != LIKELIHOOD]
    metric = find_metric(scored[0]["metric"])
    shown = [row for row in scored if row["split"] == split]
    by_modality = group_by(shown, itemgetter("modality"))
    strategies = sorted({row["strategy"] for row in rows}, reverse=True)
    size = width_beside(strategies), 0.7 + 0.26 * len(strategies)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(by_modality)
    for index, (modality, part) in enumerate(sorted(by_modality.items())):
        of_strategy = group_by(part, itemgetter("strategy"))
        own = [place for place, name in enumerate(strategies) if name in of_strategy]
        values = [
            metric.factor * over_folds(of_strategy[strategies[place]], "shapley") for place in own
        ]
        axes.barh(
            np.array(own) + (len(by_modality) / 2 - 0.5 - index) * height,
            [v.mean() for v in values],
            height,
            xerr=[standard_error(v) for v in values],
            color="#000000",
            alpha=_shade(index, len(by_modality)),
            linewidth=0,
            error_kw={"ecolor": QUIET, "elinewidth": 1},
            label=modality,
        )
    axes.set_yticks(range(len(strategies)), list(map(shorten, strategies)))
    axes.set_ylim(-0.7, len(strategies) - 0.3)
    axes.axvline(0, color=QUIET, linewidth=1)
    unit = "points of" if metric.percent else "gain in"
    axes.set_xlabel(f"{unit} {split} {metric.label}")
    calm(axes, grid="x")
    legend_below(figure)
    return figure


def _shade(index: int, count: int) -> float:
    """The opacity that stands for a modality, since colours stand for strategies."""
    return 0.75 - 0.55 * index / max(count - 1, 1)


@plain_text
def information_figure(
    decompositions: Mapping[str, Decomposition], names: tuple[str, str]
) -> Figure:
    """The four parts of each decomposition, stacked; negative ones, which are noise, as zero.

    Args:
        decompositions: {what is decomposed: its parts}.
        names: of the two sources of information.
    """
    parts = np.maximum(np.array(list(decompositions.values())), 0)
    left = np.cumsum(parts, axis=1) - parts
    figure = Figure(figsize=(WIDTH, 0.7 + 0.36 * len(parts)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(parts))[::-1]
    for index, (label, look) in enumerate(zip(name_parts(*names), _LOOKS, strict=True)):
        axes.barh(rows, parts[:, index], 0.7, left[:, index], label=label, linewidth=0, **look)
    axes.set_yticks(rows, list(decompositions))
    axes.set_xlabel("information about the class in bits")
    calm(axes, grid="x")
    legend_below(figure)
    return figure


def name_parts(first: str, second: str) -> tuple[str, ...]:
    """What the parts of a decomposition are, in their order.

    Example:
        >>> name_parts("audio", "image")
        ('redundant', 'unique to audio', 'unique to image', 'synergistic')
    """
    return "redundant", f"unique to {first}", f"unique to {second}", "synergistic"


_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": FUSED, "alpha": 0.45},
    {"color": "#000000", "alpha": _shade(0, 2)},  # as in the other figures of modalities
    {"color": "#000000", "alpha": _shade(1, 2)},
    {"color": FUSED},
)


@plain_text
def weights_figure(rows: Rows) -> Figure:
    """Mean weight of each modality: one row per strategy, dot per seed, colour per modality."""
    strategies = list(dict.fromkeys(row["strategy"] for row in rows))
    modalities = sorted({row["modality"] for row in rows})
    size = width_beside(strategies), 0.7 + 0.26 * len(strategies)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    for index, modality in enumerate(modalities):
        own = [row for row in rows if row["modality"] == modality]
        heights = [len(strategies) - 1 - strategies.index(row["strategy"]) for row in own]
        axes.scatter(
            [row["weight"] for row in own],
            heights,
            s=28,
            label=modality,
            color="#000000",
            alpha=_shade(index, len(modalities)),
            linewidths=0,
        )
    axes.set_yticks(range(len(strategies)), list(map(shorten, strategies[::-1])))
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.6, len(strategies) - 0.4), xlabel="mean weight")
    calm(axes, grid="x")
    legend_below(figure)
    return figure
