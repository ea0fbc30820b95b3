"""Figures in the sizes of venues: as wide as a column or the page, in the font of the text."""

import warnings
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.text import Text


class Venue(NamedTuple):
    """The sizes of a venue's style.

    Attributes:
        column: width of a column in inches.
        text: width of the text, which all columns share, in inches.
        points: size of the text in figures, no larger than that of captions.
    """

    column: float
    text: float
    points: float


# As their instructions to authors state.
VENUES = {
    "neurips": Venue(5.5, 5.5, 9),
    "icml": Venue(3.25, 6.75, 8),
    "acl": Venue(3.03, 6.3, 8),
    "ieee": Venue(3.5, 7.16, 8),
    "cvpr": Venue(3.25, 6.875, 8),
}
"""All of them set their text in Times, which STIX matches and Matplotlib always has."""

_FONT = "STIXGeneral"


def fit_figure(figure: Figure, venue: Venue) -> None:
    """Makes a figure as wide as a column, or where its text has no room there, as the page.

    All text gets the font and the size of the venue; the height shrinks with the width.

    Example:
        >>> figure = Figure(figsize=(6.5, 4), layout="constrained")
        >>> _ = figure.subplots().set_xlabel("score")
        >>> fit_figure(figure, VENUES["icml"])
        >>> figure.get_size_inches().tolist()
        [3.25, 2.0]
    """
    size = figure.get_size_inches()
    for axes in figure.axes:
        axes.tick_params(which="both", labelsize=venue.points, labelfontfamily=_FONT)
    for text in figure.findobj(Text):
        text.set(fontsize=venue.points, fontfamily=_FONT)
    for width in (venue.column, venue.text):
        figure.set_size_inches(width, size[1] * min(1, width / size[0]))
        if _has_room(figure):
            return


def _has_room(figure: Figure) -> bool:
    """Whether the axes have a size, all text is inside the figure, and no two overlap."""
    with warnings.catch_warnings(record=True) as collapsed:
        warnings.simplefilter("always")
        figure.draw_without_rendering()
    if collapsed:
        return False
    outside = set(_ticks_outside(figure))
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    texts = [text for text in texts if text not in outside]
    boxes = [Text.get_window_extent(text) for text in texts]  # of annotations without their arrows
    frame = figure.bbox.padded(2)
    if not all(frame.contains(*corner) for box in boxes for corner in (box.min, box.max)):
        return False
    slanted = [bool(text.get_rotation() % 90) for text in texts]  # whose boxes overlap if they fit
    level = [box.padded(-1) for box, turned in zip(boxes, slanted, strict=True) if not turned]
    return not any(one.overlaps(other) for one, other in combinations(level, 2))


def _ticks_outside(figure: Figure) -> Iterator[Text]:
    """The labels of ticks beyond the limits of their axis, which are not drawn."""
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)
