"""A self-contained HTML page."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mmjax.analysis.assessment import Assessment
from mmjax.analysis.verdicts import format_p
from mmjax.errors import UsageError
from mmjax.report.across import over_tasks
from mmjax.report.extras import Drawing
from mmjax.report.figures.svg import inline_svg
from mmjax.report.sections import make_section
from mmjax.storage.files import write_text
from mmjax.storage.manifest import renew


def write_page(assessments: Sequence[Assessment], out: Path) -> None:
    """Writes a self-contained page, which needs no network and no other file.

    Whatever a study lacks is omitted; several studies get one more section on all tasks. If the
    page is part of a run folder, its manifest is updated.

    Args:
        assessments: one section each.
        out: an HTML file, which may exist.

    Raises:
        UsageError: another file exists there, such as the rows of a run.

    Example:
        >>> from mmjax.analysis.study import Study
        >>> row = {"strategy": "sum", "modalities": "a+b", "hidden": "", "seed": 0, "data": "x",
        ...        "accuracy": 0.9, "macro_f1": 0.9, "params": 10, "seconds": 1.0}
        >>> rows = [{**row, "split": split} for split in ("valid", "test")]
        >>> study = Study("toy", (), rows, [], {}, {}, {}, (), {}, {})
        >>> write_page([Assessment(study)], Path("report.html"))
        >>> "No verdict: it requires the predictions" in Path("report.html").read_text()
        True
    """
    if out.is_dir() or (out.is_file() and out.suffix.lower() not in (".html", ".htm")):
        problem = f"{out} exists, and its name is not that of an HTML file"
        raise UsageError("out", problem, fix="Name a page, such as report.html.")
    sections = [make_section(assessment, out) for assessment in assessments]
    shared = over_tasks([assessment.study for assessment in assessments])
    write_text(out, render("page.html", sections=sections, over_tasks=shared))
    renew(out)


def render(template: str, **content: Any) -> str:
    """Renders a template of report/html with the style and the script that all pages share.

    Args:
        template: name of the file.
        **content: variables of the template.
    """
    environment = make_environment()
    loader = PackageLoader("mmjax.report", "html")
    source = lambda name: Markup(loader.get_source(environment, name)[0])
    script = source("sort.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template(template)
    return page.render(style=source("style.css"), script=script, digest=digest, **content)


def make_environment() -> Environment:
    """The templates of report/html, with autoescaping."""
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
