"""One self-contained HTML page from run folders."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mmjax.files import write_text
from mmjax.manifest import renew
from mmjax.report.across import over_tasks
from mmjax.report.extras import Drawing
from mmjax.report.sections import make_section
from mmjax.report.study import Study, read_studies
from mmjax.report.svg import inline_svg
from mmjax.report.verdicts import format_p


def write_report(folders: Sequence[Path], out: Path) -> None:
    """Writes a page that needs nothing but itself: no network, no other file.

    A part whose file is not in the folders is left out. Folders of the same task and data share a
    section; with several tasks there is one more, over all of them.

    Args:
        folders: what ``mmjax compare`` has filled.
        out: an HTML file.

    Raises:
        DataError: a file is torn or is not what its name promises; the message names it.
    """
    write_page(read_studies(folders), out)


def write_page(studies: Sequence[Study], out: Path) -> None:
    """Writes the page of some studies; the manifest of a run that it is part of stays true."""
    sections = [make_section(study) for study in studies]
    write_text(out, render("page.html", sections=sections, over_tasks=over_tasks(studies)))
    renew(out)


def render(template: str, **content: Any) -> str:
    """A page from a template in report/page, with everything that it needs within it.

    Args:
        template: name of the file.
        **content: what it shows, beside the style and the script of all pages.
    """
    environment = make_environment()
    source = lambda name: Markup(environment.loader.get_source(environment, name)[0])
    script = source("sort.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template(template)
    return page.render(style=source("style.css"), script=script, digest=digest, **content)


def make_environment() -> Environment:
    """The templates of report/page; what they show is escaped."""
    environment = Environment(
        loader=PackageLoader("mmjax.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = _svg
    environment.filters["p"] = format_p
    return environment


def _svg(drawing: Drawing) -> Markup:
    return inline_svg(drawing.figure, drawing.title)
