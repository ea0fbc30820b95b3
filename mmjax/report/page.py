"""One self-contained HTML page."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mmjax.analysis.assessment import Assessment
from mmjax.analysis.verdicts import format_p
from mmjax.report.across import over_tasks
from mmjax.report.extras import Drawing
from mmjax.report.figures.svg import inline_svg
from mmjax.report.sections import make_section
from mmjax.storage.files import write_text
from mmjax.storage.manifest import renew


def write_page(assessments: Sequence[Assessment], out: Path) -> None:
    """Writes a page that needs nothing but itself: no network, no other file.

    What a study lacks is left out; over several, there is one more section. The manifest of a run
    that the page is part of stays true.

    Args:
        assessments: a section each.
        out: an HTML file.
    """
    sections = [make_section(assessment) for assessment in assessments]
    shared = over_tasks([assessment.study for assessment in assessments])
    write_text(out, render("page.html", sections=sections, over_tasks=shared))
    renew(out)


def render(template: str, **content: Any) -> str:
    """A page from a template in report/html, with everything that it needs within it.

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
    """The templates of report/html; what they show is escaped."""
    environment = Environment(
        loader=PackageLoader("mmjax.report", "html"),
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
