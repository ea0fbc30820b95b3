"""The style of the figures of a page."""

import io
from collections.abc import Sequence
from typing import Literal

from matplotlib import figure, rc_context
from matplotlib.axes import Axes

WIDTH = 5.2  # inches: two figures side by side on a desktop, one on a phone
FUSED, ALONE, QUIET = "#1f6f8b", "#b0622f", "#868d96"
_LETTER = 0.075  # inches
PALETTE = ("#2b7fc0", "#c4572e", "#36935a", "#9a63c2", "#a97b00", "#cb4b8c", "#4b8b93", "#7d7a6f")

plain_text = rc_context({"text.parse_math": False})
"""Decorates functions that draw names, in which a dollar sign does not start a formula."""


class Figure(figure.Figure):
    """A Matplotlib figure that notebooks display, whether or not pyplot was imported."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def calm(axes: Axes, grid: Literal["x", "y", "both"] | None = None) -> None:
    """Removes frame and ticks, and draws a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0, labelsize=9)
    if grid:
        axes.grid(axis=grid, alpha=0.3, linewidth=0.6)
        axes.set_axisbelow(True)


def shorten(name: str, most: int = 44) -> str:
    """A name without its middle if it is long: its end often tells it from others.

    Example:
        >>> shorten("without positions, width=32", most=20)
        'without p…, width=32'
    """
    if len(name) <= most:
        return name
    return f"{name[: most // 2 - 1]}\N{HORIZONTAL ELLIPSIS}{name[-(most // 2) :]}"


def width_beside(names: Sequence[str]) -> float:
    """The width in inches of a figure with these names, shortened, beside its axes.

    Example:
        >>> width_beside(["sum"]), round(width_beside(["a name of fifty characters".ljust(50)]), 1)
        (5.2, 5.9)
    """
    return max(WIDTH, 2.6 + _LETTER * max(len(shorten(name)) for name in names))


def legend_below(figure: Figure) -> None:
    """A legend below the axes, without formulas in its labels."""
    names = [name for axes in figure.axes for name in axes.get_legend_handles_labels()[1]]
    if not names:
        return
    room = figure.get_figwidth() / (0.5 + _LETTER * max(len(shorten(name)) for name in names))
    columns = min(max(int(room), 1), 3)
    legend = figure.legend(loc="outside lower center", ncols=columns, fontsize=9, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
        text.set_text(shorten(text.get_text()))
