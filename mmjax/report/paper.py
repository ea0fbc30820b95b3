"""Results for a paper: LaTeX tables, and figures as PDF."""

import re
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from matplotlib import rc_context

from mmjax.analysis.assessment import Assessment
from mmjax.errors import look_up
from mmjax.report.across import over_tasks
from mmjax.report.drawings import make_drawings
from mmjax.report.extras import Drawing
from mmjax.report.latex import latex_table
from mmjax.report.latex_ablation import ablation_table
from mmjax.report.lines import make_lines
from mmjax.report.venues import VENUES, fit_figure
from mmjax.storage.files import whole_file, write_text

_EMBEDDED: Any = {"pdf.fonttype": 42}  # TrueType: publishers reject type 3


def write_paper(assessments: Sequence[Assessment], out: Path, venue: str | None = None) -> None:
    """Writes table.tex and a PDF of each figure, in one folder per task if there are several.

    Args:
        assessments: one per task.
        out: a folder, created if necessary; files of the same names are replaced.
        venue: a key of ``VENUES``, whose sizes and font the figures get; by default they are as on
            the page.

    Raises:
        UnknownNameError: there is no such venue.
        OSError: a file cannot be written.

    Example:
        >>> from mmjax.analysis.study import Study
        >>> rows = [{"strategy": name, "modalities": used, "split": split, "hidden": "", "seed": 0,
        ...          "accuracy": score, "macro_f1": score, "params": 10, "seconds": 1.0}
        ...         for name, used, score in (("a_only", "a", 0.6), ("sum", "a+b", 0.9))
        ...         for split in ("valid", "test")]
        >>> write_paper([Assessment(Study("toy", (), rows, [], {}, {}, {}, (), {}, {}))], Path("."))
        >>> sorted(path.name for path in Path(".").iterdir())
        ['accuracy.pdf', 'table.tex']
    """
    if venue is not None:
        look_up("venue", venue, VENUES)
    studies = [assessment.study for assessment in assessments]
    names = file_names([study.task for study in studies])
    for assessment, name in zip(assessments, names, strict=True):
        place = out if len(studies) == 1 else out / name
        place.mkdir(parents=True, exist_ok=True)
        write_text(place / "table.tex", table_of(assessment, name))
        _save(list(make_drawings(assessment)), place, venue)
    _save(over_tasks(studies), out, venue)


def table_of(assessment: Assessment, name: str) -> str:
    """The table of a study, labelled ``tab:NAME``, with the verdict in its caption."""
    study, verdict = assessment.study, assessment.verdict
    if study.ablation:
        return ablation_table(assessment, f"tab:{name}")
    lines = make_lines(study, assessment.answers, verdict)
    metric = study.metric
    named = f"{verdict.baseline}, {verdict.reference} on validation"
    over = named if verdict.baseline else verdict.reference
    gain = _GAIN.format("points" if metric.percent else metric.label, over)
    caption = f"{study.task}. {metric.title} {gain} {verdict.headline}"
    return latex_table(lines, caption, f"tab:{name}", metric)


_GAIN = (
    "with 95 % intervals for new seeds and new groups; gain in {} over {}, in bold where "
    "significant."
)


def _save(drawings: Sequence[Drawing], folder: Path, venue: str | None) -> None:
    names = file_names([drawing.title for drawing in drawings])
    with rc_context(_EMBEDDED):
        for drawing, name in zip(drawings, names, strict=True):
            if venue:
                fit_figure(drawing.figure, VENUES[venue])
            with whole_file(folder / f"{name}.pdf") as file:
                drawing.figure.savefig(file, format="pdf", metadata={"CreationDate": None})


def file_names(texts: Sequence[str]) -> list[str]:
    """A distinct file name for each text, portable across file systems."""
    names: list[str] = []
    for text in texts:
        plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unnamed"
        numbered = (f"{plain}-{number}" for number in count(2))
        names.append(next(name for name in chain([plain], numbered) if name not in names))
    return names
