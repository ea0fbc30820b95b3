"""The console: text is text on it, whatever the terminal."""

from typing import Any

from rich.console import Console
from rich.text import Text

from mmjax.errors import printable


class PlainConsole(Console):
    """A console on which nothing in a text is markup, and which shows what a terminal would obey.

    Tables show their titles, heads and cells likewise.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """The text as rich lays it out."""
        return super().render_str(printable(text, keep="\n"), **options)
