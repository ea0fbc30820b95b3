"""Figures as SVG that takes its colours and font from the surrounding page."""

import hashlib
import io
import re
from importlib.resources import files
from typing import Any

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.figure import Figure

from mmjax.report.figures.style import ALONE, FUSED

# Black and white are Matplotlib's defaults; the page defines the others for its background.
_COLORS = {
    "#000000": "currentColor",
    "#ffffff": "var(--page)",
    FUSED: "var(--fused)",
    ALONE: "var(--alone)",
}
_SETTINGS: dict[Any, str] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "mmjax",  # the ids are reproducible
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def inline_svg(figure: Figure, label: str) -> Markup:
    """A figure as an ``svg`` element, as wide as it was drawn or as the page allows.

    Args:
        figure: drawn for a transparent background; black takes the colour of the page's text.
        label: for screen readers.

    Example:
        >>> svg = inline_svg(Figure(figsize=(3, 2)), "an empty figure")
        >>> svg.startswith('<svg role="img" aria-label="an empty figure" style="--width: 288px"')
        True
    """
    file = io.StringIO()
    with rc_context(_SETTINGS):
        figure.savefig(file, format="svg", dpi=_DPI, transparent=True, metadata=_NO_METADATA)
    text = file.getvalue()
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # equal in every figure, and ids must be unique
    for name, content in re.findall(r'<clipPath id="(\w+)">(.*?)</clipPath>', text, re.DOTALL):
        # By what is printed: Matplotlib's names depend on the last bits of a layout, which vary.
        text = text.replace(name, f"p{hashlib.sha256(content.encode()).hexdigest()[:10]}")
    text = re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)
    for color, name in _COLORS.items():
        text = text.replace(color, name)
    width = round(96 * figure.get_figwidth())
    head = f'<svg role="img" aria-label="{escape(label)}" style="--width: {width}px" '
    (box,) = re.findall(r'viewBox="[^"]*"', text)[:1]
    return Markup(f"{head}{box} {_NAMESPACES}>{text[text.index('>', text.index('<svg')) + 1 :]}")


def standalone_svg(figure: Figure) -> bytes:
    """A figure as an SVG file, whose colours are those of a page and as light or as dark.

    Example:
        >>> standalone_svg(Figure(figsize=(3, 2))).startswith(b"<svg ")
        True
    """
    page = files("mmjax.report").joinpath("html", "style.css").read_text(encoding="utf-8")
    colors = page[: page.index("* {")]
    svg = inline_svg(figure, "")
    body = svg.index(">") + 1
    return f"{svg[:body]}<style>{colors}{_CANVAS}</style>{svg[body:]}".encode()


_CANVAS = (
    ":root { color-scheme: light dark; background: var(--page); color: var(--ink); "
    "fill: currentColor; font-family: system-ui, sans-serif; }"
)
_DPI = 200  # of what is not made of lines and text
_NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
