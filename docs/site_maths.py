"""Formulas as MathML, which browsers set by themselves: without a script, and offline."""

from collections.abc import Iterator
from xml.etree.ElementTree import Element, fromstring, tostring

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

_BREAKS = frozenset("=←+\N{MINUS SIGN}∝,;≤∥")  # a line may end after these, outside brackets


def typeset(latex: str, display: str) -> Element:
    """A formula as MathML, for a line of text ("inline") or a paragraph of its own ("block")."""
    formula = fromstring(convert(latex, xmlns="", display=display))
    for part in formula.iter():
        word = part.tag in ("mo", "mtext") and (part.text or "").replace(" ", "").isalpha()
        part.tag = "mi" if word else "mo" if part.text in (",", ";", "±") else part.tag
        if part.text == "|":  # of which MathML does not know the side
            part.set("lspace", "0")
            part.set("rspace", "0")
    for row in formula.iter("mrow"):
        row[:] = _space(row)
    return formula


def _space(row: Element) -> Iterator[Element]:
    """The row with a thin space around names, such as tanh, and none after a minus that negates."""
    base = None
    for part in row:
        sign = base is None or (base.tag == "mo" and base.text not in (")", "]"))
        if sign and part.text == "\N{MINUS SIGN}":
            part.set("form", "prefix")
        elif not sign and part.tag != "mo" and (_is_name(base) or _is_name(_base(part))):
            yield Element("mspace", width=".17em")
        yield part
        base = _base(part)


def _base(part: Element) -> Element:
    """What has the subscripts and exponents of a part of a formula."""
    return part[0] if part.tag in ("msub", "msup", "msubsup") else part


def _is_name(part: Element) -> bool:
    return part.tag == "mi" and len(part.text or "") > 1


def pieces(row: Element) -> Iterator[Element]:
    """The formula in pieces between which a line may end: browsers break none by themselves."""
    depth, piece = 0, Element("mrow")
    for part in row:
        piece.append(part)
        sign = part.text if part.tag == "mo" else None
        depth += (sign in ("(", "[", "{")) - (sign in (")", "]", "}"))
        if depth == 0 and sign in _BREAKS and len(piece) > 1:
            yield piece
            piece = Element("mrow")
    yield piece


def _visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    rows = pieces(typeset(node.astext(), "inline")[0])
    maths = (f"<math>{tostring(row, 'unicode')}</math>" for row in rows)
    translator.body.append(f'<span class="math">{"<wbr>".join(maths)}</span>')
    raise nodes.SkipNode


def _visit_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    formula = tostring(typeset(node.astext(), "block"), "unicode")
    translator.body.append(f'<div class="math">{formula}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Adds the renderer."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
