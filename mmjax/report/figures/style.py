"""How the figures of a page look."""

import io

from matplotlib import figure, rc_context
from matplotlib.axes import Axes

WIDTH = 5.2  # inches: two figures side by side on a desk, one on a phone
FUSED, ALONE, QUIET = "#1f6f8b", "#b0622f", "#868d96"
PALETTE = ("#2b7fc0", "#c4572e", "#36935a", "#9a63c2", "#a97b00", "#cb4b8c", "#4b8b93", "#7d7a6f")

plain_text = rc_context({"text.parse_math": False})
"""Decorates what draws names that may hold a dollar sign, which does not begin a formula."""


class Figure(figure.Figure):
    """A figure of matplotlib's that notebooks show, whether or not pyplot was imported."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def calm(axes: Axes, grid: str | None = None) -> None:
    """Takes away the frame and the ticks, and draws a faint grid along "x", "y" or "both"."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0, labelsize=9)
    if grid:
        axes.grid(axis=grid, alpha=0.3, linewidth=0.6)
        axes.set_axisbelow(True)


def legend_below(figure: Figure) -> None:
    """Names what has a label, as it is written."""
    legend = figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
