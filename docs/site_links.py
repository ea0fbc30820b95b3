"""Whether the pages of a site hold together: every link in it leads somewhere, and none is loaded.

Sphinx warns of what it cannot resolve in the sources; this reads the HTML that a browser gets.
"""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.util.logging import getLogger


class _Page(HTMLParser):
    """The ids of a page, where its links lead, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        loads = tag == "link" and values.get("rel") in ("stylesheet", "icon")
        self.links |= {values[name] for name in ("href", "src") if name in values}
        self.loaded |= {values["src"]} if "src" in values else set()
        self.loaded |= {values["href"]} if loads else set()


def broken_links(site: Path) -> list[str]:
    """A sentence for each link without a target, and for each file that would be loaded from afar.

    Args:
        site: a folder with HTML files, at any depth.
    """
    site = site.resolve()
    pages = {path: _Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    complaints = []
    for path, page in pages.items():
        where = path.relative_to(site)
        for link in sorted(page.links - {"#"}):  # which a script answers
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if parts.scheme or parts.netloc:
                if link in page.loaded and parts.scheme != "data":
                    complaints.append(f"{where} loads {link}")
            elif not target.exists():
                complaints.append(f"{where} has a link to {link}, and there is no such file")
            elif target in pages and unquote(parts.fragment) not in {"", *pages[target].ids}:
                complaints.append(f"{where} has a link to {link}, and there is no such anchor")
    return complaints


def _check(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        for complaint in broken_links(Path(app.outdir)):
            getLogger(__name__).warning(complaint)


def setup(app: Sphinx) -> dict[str, bool]:
    """Checks a site when it is built."""
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
