"""Figures as SVG that takes its colours and its font from the page around it."""

import io
import re

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.figure import Figure

from mmjax.report.figures.style import ALONE, FUSED

# Black and white are matplotlib's own; the page says what the others are on its background.
_COLORS = {
    "#000000": "currentColor",
    "#ffffff": "var(--page)",
    FUSED: "var(--fused)",
    ALONE: "var(--alone)",
}
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mmjax",
}  # text stays text; always the same ids
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def inline_svg(figure: Figure, label: str) -> Markup:
    """A figure as an ``svg`` element, as wide as it was drawn or as the page allows.

    Args:
        figure: with a transparent background in mind: what is black takes the colour of the text.
        label: what a screen reader says.
    """
    file = io.StringIO()
    with rc_context(_SETTINGS):
        figure.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
    text = file.getvalue()
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # the same in every figure, so no ids at all
    text = re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)
    for color, name in _COLORS.items():
        text = text.replace(color, name)
    width = round(96 * figure.get_figwidth())
    head = f'<svg role="img" aria-label="{escape(label)}" style="--width: {width}px" '
    box = re.search(r'viewBox="[^"]*"', text)[0]
    return Markup(f"{head}{box} {_NAMESPACES}>{text[text.index('>', text.index('<svg')) + 1 :]}")


_NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
