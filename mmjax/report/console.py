"""A console that prints text verbatim, whatever the terminal."""

from typing import Any

from rich.console import Console
from rich.text import Text

from mmjax.errors import printable


class PlainConsole(Console):
    """A console that interprets no markup and escapes control characters.

    This holds for the titles, headings and cells of tables, too.

    Example:
        >>> PlainConsole(width=40).print("[bold] is no markup")
        [bold] is no markup
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """The text as rich lays it out."""
        return super().render_str(printable(text, keep="\n"), **options)
