"""The HTML of a result in a notebook."""

from mmjax.analysis.assessment import Assessment
from mmjax.analysis.summary import majority_warnings
from mmjax.report.drawings import main_drawing
from mmjax.report.page import make_environment
from mmjax.report.score_table import table_for


def result_html(assessment: Assessment) -> str:
    """The verdict, the table and the main figure, as an HTML fragment with its own style.

    Example:
        >>> from mmjax.analysis.study import Study
        >>> row = {"strategy": "sum", "modalities": "a+b", "hidden": "", "seed": 0,
        ...        "accuracy": 0.9, "macro_f1": 0.9, "params": 10, "seconds": 1.0}
        >>> rows = [{**row, "split": split} for split in ("valid", "test")]
        >>> html = result_html(Assessment(Study("toy", (), rows, [], {}, {}, {}, (), {}, {})))
        >>> "<th>sum</th><td>90.00</td>" in html
        True
    """
    summaries = assessment.summaries
    return (
        make_environment()
        .get_template("result.html")
        .render(
            verdict=assessment.verdict,
            warnings=majority_warnings(summaries),
            failed=assessment.study.failed,
            table=table_for(assessment),
            drawing=main_drawing(assessment),
        )
    )
