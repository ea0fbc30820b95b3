"""How a result looks in a notebook."""

from mmjax.analysis.answers import Answers
from mmjax.analysis.study import Study
from mmjax.analysis.summary import majority_warnings, summarise
from mmjax.analysis.verdicts import Verdict
from mmjax.report.page import make_environment
from mmjax.report.sections import main_drawing
from mmjax.report.tables import table_heads, table_lines


def result_html(study: Study, answers: Answers | None, verdict: Verdict) -> str:
    """The verdict, the table and the main figure, as a piece of HTML with a style of its own."""
    summaries = summarise(study.rows)
    return (
        make_environment()
        .get_template("result.html")
        .render(
            verdict=verdict,
            warnings=majority_warnings(summaries),
            failed=study.failed,
            heads=table_heads(summaries),
            rows=table_lines(summaries),
            drawing=main_drawing(study, answers, verdict),
        )
    )
