"""Figures of the audit, with a panel for each task."""

from collections.abc import Mapping, Sequence

import numpy as np
from audit_claims import CONTAMINATIONS
from audit_measures import SIDES, Inflation, Study, Wins, bounds, claims, true_gains
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmjax.report.figures.style import ALONE, FUSED, QUIET, calm


def panels(tasks: Sequence[str], xlabel: str, share: bool) -> tuple[Figure, list[Axes]]:
    """A panel for each task, three in a row."""
    columns = min(3, len(tasks))
    rows = -(-len(tasks) // columns)
    figure = Figure(figsize=(3 * columns + 1, 2.8 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, sharey=share, squeeze=False).flat)
    for spare in axes[len(tasks) :]:
        spare.set_axis_off()
    for panel, task in zip(axes, tasks, strict=False):
        panel.set_title(task)
        panel.set_xlabel(xlabel)
        calm(panel, grid="x" if share else "both")
    return figure, axes[: len(tasks)]


def inflation_figure(added: Mapping[str, Inflation]) -> Figure:
    """Points added to scores, a panel for each task."""
    figure, axes = panels(list(added), "points added", share=True)
    names = [*CONTAMINATIONS, "all together"][::-1]
    for panel, of_task in zip(axes, added.values(), strict=True):
        for name, values in of_task["scores"].items():
            place = names.index(name)
            each, mean = 100 * values[0], 100 * values.mean(axis=1)
            panel.plot(each, np.full(len(each), place), "|", color=QUIET, markersize=7)
            panel.plot(bounds(mean), [place, place], color=FUSED)
            panel.plot(mean[0], place, "o", color=FUSED, markersize=5)
        panel.axvline(0, color=QUIET, linewidth=0.8)
        panel.set_yticks(range(len(names)), names)
    return figure


def nothing_figure(wins: Mapping[str, Wins]) -> Figure:
    """How often a method that does nothing wins, a panel for each task."""
    tasks = list(next(iter(wins.values())))
    figure, axes = panels(tasks, "wins, % of draws", share=True)
    names = ["none", *CONTAMINATIONS, "all together"][::-1]
    for panel, task in zip(axes, tasks, strict=True):
        for (how, of_task), color in zip(wins.items(), (FUSED, ALONE), strict=True):
            found = of_task[task]
            places = [names.index(name) for name in found]
            shift = 0.12 if SIDES[how] else -0.12
            for place, values in zip(places, found.values(), strict=True):
                ends = 100 * bounds(values[:, 0]).clip(0, 1)
                panel.plot(ends, [place + shift] * 2, color=color, linewidth=1)
            won = [100 * values[0, 0] for values in found.values()]
            heights = np.array(places) + shift
            panel.plot(won, heights, "o", color=color, markersize=5, alpha=0.8, label=how)
        panel.axvline(50, color=QUIET, linewidth=0.8)
        panel.set_xlim(0, 100)
        panel.set_yticks(range(len(names)), names)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def gains_figure(study: Study, added: Mapping[str, Inflation]) -> Figure:
    """Claimed against true gains of all methods, cleanly and with all contaminations."""
    figure, axes = panels(list(study), "true gain, points", share=False)
    for panel, (task, arms) in zip(axes, study.items(), strict=True):
        true = true_gains(task, arms)
        for (label, values), color in zip(claims(added[task]).items(), (FUSED, ALONE), strict=True):
            told = 100 * values[0]
            panel.plot(true, told, "o", color=color, markersize=4, alpha=0.8, label=label)
        low, high = panel.get_ylim()
        ends = min(low, *true), max(high, *true)
        panel.plot(ends, ends, color=QUIET, linewidth=0.8)
        panel.set_ylabel("claimed gain, points")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure
