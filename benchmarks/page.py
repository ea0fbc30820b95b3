"""Pages whose text is written by hand and whose tables by a command, between two markers."""

from pathlib import Path

from mmjax.errors import DataError


def fill(page: Path, content: str, kind: str = "measured") -> None:
    """Puts text between the markers of its kind in a page, in place of what is there.

    Raises:
        DataError: the page lacks a marker.
    """
    begin, end = f"<!-- {kind} -->", f"<!-- /{kind} -->"
    text = page.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise DataError(page, expected=f"{begin} and {end}", got="a page without them")
    before, after = text.split(begin)[0], text.split(end)[1]
    page.write_text(f"{before}{begin}\n{content}\n{end}{after}", encoding="utf-8")
