"""Figures of ablations: what each factor does, and how two of them depend on each other."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from mmjax.analysis.changes import Change
from mmjax.comparison.scores import standard_error
from mmjax.report.figures.style import (
    FUSED,
    PALETTE,
    QUIET,
    WIDTH,
    Figure,
    calm,
    legend_below,
    plain_text,
    shorten,
)
from mmjax.types import Metric

_LONGEST = 20  # characters of a level in a figure
_CLOSEST = 0.2  # gap between levels as a share of the mean gap: closer ones would overlap
_LABELS = 0.9  # inches beside the panels
_ROOM = 5.2  # inches of all panels in a row


@plain_text
def effects_figure(
    factors: Mapping[str, Sequence[str]], changes: Sequence[Change], metric: Metric
) -> Figure:
    """What each level of a factor gains over that of the reference: one panel per factor.

    Lines are 95 % intervals, dots are filled where the difference is significant, and numbers are
    on an axis of numbers.

    Args:
        factors: {name: its levels in words}, of the factors to show.
        changes: steps from the reference.
        metric: of the score.

    Example:
        >>> from mmjax.analysis.statistics import compare_pair
        >>> from mmjax.metrics import METRICS
        >>> pair = compare_pair(np.ones((1, 9)), np.eye(9)[:1], np.arange(9))
        >>> change = Change("width", ("64", "32"), pair, 1.0, told=False)
        >>> figure = effects_figure({"width": ("64", "32")}, [change], METRICS["accuracy"])
        >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
        ['64', '32']
    """
    longest = min(max(len(word) for words in factors.values() for word in words), _LONGEST)
    rows = _fill_rows({name: 0.5 + _step(words) * len(words) for name, words in factors.items()})
    height = 1.75 + 0.05 * longest
    room = _ROOM if len(rows) > 1 else sum(rows[0].values())  # a single row takes what it needs
    size = min(room + _LABELS, _ROOM), 0.2 + height * len(rows)
    figure = Figure(figsize=size, layout="constrained")
    first = None
    grid = figure.add_gridspec(len(rows), 1)
    for index, row in enumerate(rows):
        widths = [*row.values(), max(room - sum(row.values()), 0.01)]
        inner = grid[index].subgridspec(1, len(widths), width_ratios=widths)
        for column, name in enumerate(row):
            axes = figure.add_subplot(inner[column], sharey=first)
            first = first or axes
            own = [change for change in changes if change.factor == name]
            _draw_effects(axes, name, factors[name], own, metric)
            axes.tick_params(labelleft=not column)
            if not column:
                axes.set_ylabel(f"gain, {metric.unit}", fontsize=9)
    return figure


def _step(words: Sequence[str]) -> float:
    """Inches that a level needs: more for a word that stays level than for a slanted one."""
    return 0.3 if _is_slanted(words) else 0.5


def _is_slanted(words: Sequence[str]) -> bool:
    return len(words) > 4 or max(map(len, words)) > 6


def _fill_rows(widths: Mapping[str, float]) -> list[dict[str, float]]:
    """Panels in rows of the width of a figure, in their order."""
    rows: list[dict[str, float]] = [{}]
    for name, width in widths.items():
        width = max(width, 0.085 * min(len(name), _LONGEST))
        if rows[-1] and sum(rows[-1].values()) + width > _ROOM - 0.6:
            rows.append({})
        rows[-1][name] = width
    return rows


def _draw_effects(
    axes: Axes, name: str, words: Sequence[str], changes: Sequence[Change], metric: Metric
) -> None:
    places = place_levels(axes, words)
    found = {change.levels[1]: change for change in changes}
    reference = next((change.levels[0] for change in changes), words[0])
    axes.axhline(0, color=QUIET, linewidth=1)
    axes.plot(places[reference], 0, "D", color=QUIET, markersize=5)
    for word, change in found.items():
        mean, _, low, high = (metric.factor * value for value in change.pair.difference)
        x = places[word]
        axes.plot([x, x], [low, high], color=FUSED, linewidth=1.8, solid_capstyle="butt")
        face = FUSED if change.told else "#ffffff"
        axes.plot(x, mean, "o", color=FUSED, markerfacecolor=face, markersize=6)
    axes.set_title(shorten(name, _LONGEST), fontsize=9, parse_math=False)
    calm(axes, grid="y")


def place_levels(axes: Axes, words: Sequence[str]) -> dict[str, float]:
    """Where levels are on the x axis, which gets them as ticks.

    Words are one apart. Numbers are in their order, on a linear or a logarithmic axis, whichever
    spaces them more evenly; those that would be too close to be told apart are one apart as well.

    Example:
        >>> axes = Figure().subplots()
        >>> place_levels(axes, ("64", "16", "32")), axes.get_xscale()
        ({'64': 64.0, '16': 16.0, '32': 32.0}, 'log')
        >>> place_levels(Figure().subplots(), ("joint", "ogm_ge"))
        {'joint': 0.0, 'ogm_ge': 1.0}
    """
    values = read_numbers(words)
    places = np.arange(len(words), dtype=float)
    if values is not None:
        order = np.sort(values)
        evenness = {"linear": _evenness(order)}
        if order[0] > 0:
            evenness["log"] = _evenness(np.log(order))
        scale = max(evenness, key=evenness.__getitem__)
        places = np.argsort(np.argsort(values, kind="stable")).astype(float)
        if evenness[scale] > _CLOSEST:
            axes.set_xscale(scale)
            places = values
    turn: dict[str, Any]
    turn = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if _is_slanted(words) else {}
    axes.set_xticks(places, [shorten(word, _LONGEST) for word in words], parse_math=False, **turn)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.5 / len(words))
    return dict(zip(words, places.tolist(), strict=True))


def _evenness(order: np.ndarray) -> float:
    """The smallest gap, as a share of the mean one."""
    gaps = np.diff(order)
    return float(gaps.min() / gaps.mean()) if gaps.any() else 0.0


def read_numbers(words: Sequence[str]) -> np.ndarray | None:
    """[levels] of finite numbers, or None if some word is none."""
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


@plain_text
def interaction_figure(
    cells: Mapping[tuple[str, str], np.ndarray], factors: tuple[str, str], metric: Metric
) -> Figure:
    """The score over the levels of one factor, with a line for each level of another.

    Bars are one standard error over seeds on either side of the mean.

    Args:
        cells: {(level of the first, level of the second): [seeds] scores}.
        factors: their names.
        metric: of the score.

    Example:
        >>> from mmjax.metrics import METRICS
        >>> score = {("32", "on"): 0.5, ("64", "on"): 0.75, ("32", "off"): 0.5}
        >>> cells = {levels: np.array([value]) for levels, value in score.items()}
        >>> figure = interaction_figure(cells, ("width", "gate"), METRICS["accuracy"])
        >>> figure.axes[0].get_legend_handles_labels()[1]
        ['gate on', 'gate off']
    """
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    words, others = (list(dict.fromkeys(levels[i] for levels in cells)) for i in (0, 1))
    places = place_levels(axes, words)
    for index, other in enumerate(others):
        own = sorted((places[word], cells[word, other]) for word in words if (word, other) in cells)
        xs, scores = [x for x, _ in own], [metric.factor * values for _, values in own]
        axes.errorbar(
            xs,
            [values.mean() for values in scores],
            yerr=[standard_error(values) for values in scores],
            color=PALETTE[index % len(PALETTE)],
            linestyle=_DASHES[index // len(PALETTE) % len(_DASHES)],
            label=f"{shorten(factors[1], _LONGEST)} {shorten(other, _LONGEST)}",
            marker="o",
            markersize=4,
            linewidth=1.8,
            elinewidth=1,
        )
    axes.set_xlabel(factors[0], parse_math=False)
    axes.set_ylabel(metric.axis)
    calm(axes, grid="y")
    legend_below(figure)
    return figure


_DASHES = ("-", "--", ":")
