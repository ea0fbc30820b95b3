"""The style of the figures of a page."""

import io
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib import figure, rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import Formatter, LogLocator, NullLocator
from numpy.typing import ArrayLike

WIDTH = 3.75  # inches: three figures side by side on a desktop, one on a phone
FUSED, ALONE, QUIET = "#1f6f8b", "#b0622f", "#868d96"
_LETTER = 0.075  # inches
PALETTE = (
    *("#2b7fc0", "#c4572e", "#36935a", "#9a63c2", "#a97b00"),
    *("#cb4b8c", "#14929a", "#a0705a", "#788a21", "#6f74d8"),
)

plain_text = rc_context({"text.parse_math": False})
"""Decorates functions that draw names, in which a dollar sign does not start a formula."""


class Figure(figure.Figure):
    """A Matplotlib figure that notebooks display, whether or not pyplot was imported."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def color_strategies(best_first: Iterable[str], references: Collection[str]) -> Mapping[str, str]:
    """Gives the best strategies a colour each, and grey to what they are compared with.

    Example:
        >>> color_strategies(["gmu", "audio_only", "sum"], ["audio_only"])
        {'gmu': '#2b7fc0', 'sum': '#c4572e', 'audio_only': '#868d96'}
    """
    others = [name for name in best_first if name not in references]
    return {**dict(zip(others, PALETTE, strict=False)), **dict.fromkeys(references, QUIET)}


def calm(axes: Axes, grid: Literal["x", "y", "both"] | None = None) -> None:
    """Removes frame and ticks, and draws a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0, labelsize=9)
    if grid:
        axes.grid(axis=grid, alpha=0.3, linewidth=0.6)
        axes.set_axisbelow(True)


def log_ticks(axis: Axis, form: Formatter | str) -> None:
    """Labels 1, 2 and 5 of each decade of a logarithmic axis, so that it has some within one."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(form)
    axis.set_minor_locator(NullLocator())


def drawing_order(names: Iterable[str], colors: Mapping[str, str]) -> list[str]:
    """The names without a colour, below all others, then the others as in ``colors``."""
    places = {name: place for place, name in enumerate(colors)}
    return sorted(names, key=lambda name: places.get(name, -1))


def draw_line(
    axes: Axes, name: str, colors: Mapping[str, str], x: ArrayLike, y: ArrayLike, marker: str = ""
) -> None:
    """The curve of a strategy: dashed if it is a reference, thin if it has no colour."""
    known = name in colors
    references = [each for each, color in colors.items() if color == QUIET]
    axes.plot(
        x,
        y,
        color=colors.get(name, QUIET),
        linestyle=_DASHES[references.index(name) % len(_DASHES)] if name in references else "-",
        linewidth=1.6 if known else 0.7,
        alpha=1.0 if known else 0.5,
        label=name if known else "_",
        marker=marker if known else "",
        zorder=3 if known else 2,
    )


_DASHES = ("--", ":", "-.")


def shorten(name: str, most: int = 44) -> str:
    """A name without its middle if it is long: its end often tells it from others.

    Example:
        >>> shorten("without positions, width=32", most=20)
        'without p…, width=32'
    """
    if len(name) <= most:
        return name
    return f"{name[: most // 2 - 1]}\N{HORIZONTAL ELLIPSIS}{name[-(most // 2) :]}"


def class_name(index: int, names: Sequence[str] | np.ndarray) -> str:
    """The short name of a class, or its number if classes have no names.

    Example:
        >>> class_name(1, ["ill", "well"]), class_name(1, [])
        ('well', '1')
    """
    return shorten(str(names[index]), most=12) if len(names) else str(index)


def width_beside(names: Sequence[str]) -> float:
    """The width in inches of a figure with these names, shortened, beside its axes.

    Example:
        >>> width_beside(["sum"]), round(width_beside(["a name of fifty characters".ljust(50)]), 1)
        (3.75, 5.6)
    """
    return max(WIDTH, 2.3 + _LETTER * max(len(shorten(name)) for name in names))


def legend_below(figure: Figure) -> None:
    """A legend below the axes, for which the figure grows; each name once, without formulas."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    if not handles:
        return
    room = figure.get_figwidth() / (0.5 + _LETTER * max(len(shorten(name)) for name in handles))
    columns = min(max(int(room), 1), 8)
    figure.set_figheight(figure.get_figheight() + 0.19 * math.ceil(len(handles) / columns))
    legend = figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=columns,
        fontsize=9, frameon=False, columnspacing=1.2, handlelength=1.5,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
        text.set_text(shorten(text.get_text()))
