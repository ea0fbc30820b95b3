"""Pages whose text is written by hand and whose tables by a command, between two markers."""

from pathlib import Path

from mmjax.errors import DataError

BEGIN, END = "<!-- measured -->", "<!-- /measured -->"


def fill(page: Path, measured: str) -> None:
    """Puts text between the markers of a page, in place of what is there.

    Raises:
        DataError: the page lacks a marker.
    """
    text = page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise DataError(page, expected=f"{BEGIN} and {END}", got="a page without them")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{measured}\n{END}{after}", encoding="utf-8")
