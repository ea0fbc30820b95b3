"""The content of a page on one study."""

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mmjax.analysis.assessment import Assessment
from mmjax.analysis.study import Study
from mmjax.analysis.summary import majority_warnings
from mmjax.analysis.verdicts import Verdict
from mmjax.data.targets import Kind
from mmjax.metrics import second_metric
from mmjax.report.drawings import base_of, make_drawings
from mmjax.report.extras import PICTURES, Drawing
from mmjax.report.grids import Grid, make_grids
from mmjax.report.lines import Line, make_lines
from mmjax.types import Metric

_WIDEST = 550  # pixels of a column of figures


class Picture(NamedTuple):
    """A figure that needs the data, drawn when the run ended."""

    title: str
    caption: str
    folded: bool
    file: str
    content: str  # in base64


class Section(NamedTuple):
    """One task on the page."""

    title: str
    base: str | None  # of an ablation
    metric: Metric
    second: Metric
    kind: Kind
    verdict: Verdict
    warnings: list[str]
    failed: Mapping[str, str]
    lines: list[Line]
    grids: list[Grid]
    drawings: list[Drawing]
    pictures: list[Picture]
    folder: str | None  # the run folder, as the page refers to it
    facts: list[tuple[str, str]]
    recipes: dict[str, str]

    @property
    def question(self) -> str:
        """What the headline answers."""
        return "what matters?" if self.base else "does fusion pay?"

    @property
    def heading(self) -> str:
        """That of the table."""
        return "All variants" if self.base else "All strategies"

    @property
    def column(self) -> int:
        """Pixels that a column of figures takes: as many as the widest, but two fit a page."""
        widths = [d.width for d in self.drawings if not (d.is_wide or d.folded)]
        return min(max(widths, default=0), _WIDEST)


def make_section(assessment: Assessment, out: Path) -> Section:
    """Assembles the section of a study on a page: tables, figures and facts."""
    study, verdict = assessment.study, assessment.verdict
    base = base_of(study)
    return Section(
        title=f"{study.task}, variants of {base}" if base else study.task,
        base=base,
        metric=study.metric,
        second=second_metric(study.metric),
        kind=study.kind,
        verdict=verdict,
        warnings=majority_warnings(assessment.summaries),
        failed=study.failed,
        lines=make_lines(study, assessment.answers, verdict),
        grids=list(make_grids(study)),
        drawings=list(make_drawings(assessment)),
        pictures=_pictures(study),
        folder=_refer_to(study.folders, out),
        facts=_facts(study),
        recipes={row["strategy"]: row["recipe"] for row in study.rows if row.get("recipe")},
    )


def _refer_to(folders: Sequence[Path], out: Path) -> str | None:
    """The path of the run folder relative to the page, if there is exactly one."""
    if len(folders) != 1:
        return None
    return Path(os.path.relpath(folders[0].resolve(), out.resolve().parent)).as_posix()


def _pictures(study: Study) -> list[Picture]:
    return [
        Picture(*PICTURES[name], name, base64.b64encode(study.pictures[name]).decode())
        for name in PICTURES
        if name in study.pictures
    ]


def _facts(study: Study) -> list[tuple[str, str]]:
    distinct = lambda key: "; ".join(
        dict.fromkeys(str(row[key]) for row in study.rows if key in row)
    )
    digests = ", ".join(f"{digest} ({name})" for name, digest in study.data.items())
    commands = [("command", command) for command in study.commands]
    facts = [*commands, ("versions", distinct("versions")), ("device", distinct("device"))]
    return [(name, value) for name, value in (*facts, ("data digest", digests)) if value]
