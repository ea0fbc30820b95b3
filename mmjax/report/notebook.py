"""How a result looks in a notebook."""

from mmjax.analysis.assessment import Assessment
from mmjax.analysis.summary import majority_warnings
from mmjax.report.page import make_environment
from mmjax.report.sections import main_drawing
from mmjax.report.tables import table_heads, table_lines


def result_html(assessment: Assessment) -> str:
    """The verdict, the table and the main figure, as a piece of HTML with a style of its own."""
    summaries = assessment.summaries
    return (
        make_environment()
        .get_template("result.html")
        .render(
            verdict=assessment.verdict,
            warnings=majority_warnings(summaries),
            failed=assessment.study.failed,
            heads=table_heads(summaries),
            rows=table_lines(summaries),
            drawing=main_drawing(assessment),
        )
    )
