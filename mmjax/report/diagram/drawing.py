"""A diagram of a fusion, drawn from its traced dataflow."""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from textwrap import fill
from typing import Any

from matplotlib import figure as matplotlib_figure
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from mmjax.report.diagram.dataflow import Node, Place, trace_dataflow
from mmjax.report.diagram.placement import Spot, lay_out
from mmjax.report.figures.style import ALONE, FUSED, QUIET, Figure, plain_text
from mmjax.types import Tokens

_WIDTH, _LETTER, _HEIGHT, _LINE, _MARGIN = 1.3, 0.085, 0.6, 0.15, 0.1  # inches
_COLORS = {"modality": ALONE, "module": FUSED, "parameter": FUSED}
_INK, _PAPER = "#000000", "#ffffff"


@plain_text
def module_figure(fusion: Any, tokens: Mapping[str, Tokens]) -> matplotlib_figure.Figure:
    """Draws a fusion: modalities at the top, submodules with output shapes, outputs at the bottom.

    Operations on the way are written beside an arrow; those that join several arrows have no frame.
    A dashed frame is a parameter of the fusion itself. Everything is found by
    ``mmjax.report.diagram.dataflow.trace_dataflow``.

    Args:
        fusion: a Linen module from {modality: Tokens} to [batch, out_dim] or Outputs.
        tokens: its input; ``mmjax.testing.make_tokens`` makes one.

    Example:
        >>> from mmjax.fusion import FUSIONS
        >>> from mmjax.testing import make_tokens
        >>> tokens = make_tokens({"image": (4, 8), "audio": (1, 8)})
        >>> figure = module_figure(FUSIONS["concat"](out_dim=3), tokens)
        >>> "prediction" in [text.get_text() for text in figure.axes[0].texts]
        True
    """
    flow = trace_dataflow(fusion, tokens)
    batch = len(next(iter(tokens.values())).values)
    joins = {p: n.operations or ("select",) for p, n in flow.nodes.items() if p[0] == "operations"}
    sentences = {place: _sentence(words, 6, 26) for place, words in joins.items()}
    high = {place: _LINE * (words.count("\n") + 1) for place, words in sentences.items()}
    heights = {place: high.get(place, _HEIGHT) for place in flow.nodes}
    longest = max(len(text) for place, node in flow.nodes.items() for text in (place[1], node.kind))
    box = max(_WIDTH, _LETTER * longest)
    spots, ways, (width, height) = lay_out(flow, box, heights)
    figure = Figure(figsize=(width + 2 * _MARGIN, height + 2 * _MARGIN))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-_MARGIN, width + _MARGIN)
    axes.set_ylim(-height - _MARGIN, _MARGIN)
    axes.set_axis_off()
    readers = Counter(start for start, _ in flow.edges)
    for stops in ways:
        along = 0.6 if readers[stops[0]] > 1 else 0.3  # away from arrows that share an end
        words = _sentence(flow.edges[stops[0], stops[-1]], 3, 11)
        _draw_arrow(axes, [spots[stop] for stop in stops], words, along)
    for place, node in flow.nodes.items():
        if place in sentences:
            _write(axes, spots[place].x, _middle(spots[place]), sentences[place], 8)
        else:
            _draw_box(axes, spots[place], box, place, node, batch)
    return figure


def _draw_arrow(axes: Axes, spots: list[Spot], words: str, along: float) -> None:
    """An arrow through all spots, with words at a fraction of the way to the second."""
    points: list[tuple[float, float]] = []
    codes: list[Any] = []
    for here, there in pairwise(spots):
        down = there.top < here.top
        start, end = (here.bottom, there.top) if down else (here.top, there.bottom)
        middle = (start + end) / 2
        points += [(here.x, start), (here.x, middle), (there.x, middle), (there.x, end)]
        codes += [Path.LINETO if codes else Path.MOVETO, *[Path.CURVE4] * 3]
    style: dict[str, Any]
    style = {"arrowstyle": "-|>", "mutation_scale": 8, "color": QUIET, "shrinkA": 0, "shrinkB": 0}
    axes.add_patch(FancyArrowPatch(path=Path(points, codes), **style))
    if words:
        bezier = lambda a, b, c, d, t=along: (
            a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t**2 * (1 - t) + d * t**3
        )
        x, y = (bezier(*values) for values in zip(*points[:4], strict=True))
        _write(axes, x, y, words, 7)


def _draw_box(axes: Axes, at: Spot, width: float, place: Place, node: Node, batch: int) -> None:
    """Draws name, class and shape in a frame."""
    kind, name = place
    color = _COLORS.get(kind, _INK)
    frame = FancyBboxPatch(
        (at.x - width / 2, at.bottom),
        width,
        _HEIGHT,
        boxstyle="round,pad=0,rounding_size=0.08",
        facecolor=_PAPER,
        edgecolor=color,
        linestyle="--" if kind == "parameter" else "-",
    )
    axes.add_patch(frame)
    shape = _shape(node.shape, batch if kind != "parameter" else 0)
    below = [text for text in (node.kind, shape) if text]
    first = _middle(at) + _LINE * len(below) / 2
    _write(axes, at.x, first, name, 9, color)
    for i, text in enumerate(below, start=1):
        _write(axes, at.x, first - _LINE * i - 0.02, text, 7.5, QUIET)


def _middle(spot: Spot) -> float:
    return (spot.top + spot.bottom) / 2


def _write(axes: Axes, x: float, y: float, text: str, size: float, color: str = _INK) -> None:
    behind = {"facecolor": _PAPER, "edgecolor": "none", "pad": 0.5}
    axes.text(x, y, text, ha="center", va="center", fontsize=size, color=color, bbox=behind)


def _shape(shape: tuple[int, ...], batch: int) -> str:
    """Such as "[batch, 64]", or "[batch x 5, 64]" where the tokens of all rows share an axis."""
    if not shape:
        return "scalar"
    axes = list(map(str, shape))
    if batch and shape[0] % batch == 0:
        axes[0] = "batch" if shape[0] == batch else f"batch x {shape[0] // batch}"
    return f"[{', '.join(axes)}]"


def _sentence(words: tuple[str, ...], most: int, width: int) -> str:
    more = ("...",) if len(words) > most else ()
    return fill(", ".join(words[:most] + more), width, break_long_words=False)
