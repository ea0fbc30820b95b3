"""The LaTeX table and the figures of a paper."""

import re

import pytest
from folders import SKILLS, make_folder

from mmjax.analysis.answers import make_answers
from mmjax.analysis.verdicts import judge
from mmjax.report.latex import escape, latex_table, write_paper
from mmjax.report.lines import make_lines
from mmjax.runs.studies import read_assessments, read_studies


def read_lines(folder):
    (study,) = read_studies([folder])
    answers = make_answers(study)
    return make_lines(study, answers, judge(answers))


def table_rows(table):
    body = table[table.index(r"\midrule") : table.index(r"\bottomrule")]
    lines = body.splitlines()[1:]
    return {cells[0]: cells for cells in (re.split(r" & | \\\\", line) for line in lines)}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("late_mean", r"late\_mean"),
        ("50 % & #1 {x}", r"50 \% \& \#1 \{x\}"),
        ("a\\b~c^d$", r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d\$"),
    ],
)
def test_specials_are_escaped(text, want):
    assert escape(text) == want


def test_the_table_has_the_numbers(tmp_path):
    lines = read_lines(make_folder(tmp_path / "run", groups=200))
    rows = table_rows(latex_table(lines, "A & B", "tab:x"))
    assert len(rows) == len(SKILLS)
    assert all(len(cells) == 9 for cells in rows.values())  # 8 columns and what follows the last
    by_name = {line.strategy: line for line in lines}
    gmu = by_name["gmu"]
    assert rows["gmu"][1] == f"{100 * gmu.score:.2f}"
    assert rows["gmu"][2] == f"[{100 * gmu.interval[0]:.1f}, {100 * gmu.interval[1]:.1f}]"
    assert f"{100 * gmu.gain.mean:+.1f}" in rows["gmu"][3]
    assert rows[r"\emph{b\_only}"][3] == "--"  # the reference itself
    told = {line.strategy for line in lines if line.verdict in ("better", "worse")}
    bold = {
        name.removeprefix(r"\emph{").rstrip("}").replace("\\", "")
        for name, cells in rows.items()
        if "boldmath" in cells[3]
    }
    assert bold == told
    assert told


def test_the_caption_is_escaped_and_the_label_is_not():
    table = latex_table([], "50 % of a_b", "tab:a_b")
    assert r"\caption{50 \% of a\_b}" in table
    assert r"\label{tab:a_b}" in table


def test_without_predictions_there_are_no_intervals(tmp_path):
    lines = read_lines(make_folder(tmp_path / "run", without=("predictions",)))
    assert all(line.interval is None and line.gain is None for line in lines)
    assert table_rows(latex_table(lines, "", "x"))["gmu"][2:4] == ["", "--"]


@pytest.mark.slow
def test_a_paper_has_a_table_and_vector_figures(tmp_path):
    folder = make_folder(tmp_path / "run", {"a_only": 1, "b_only": 2, "gmu": 3})
    write_paper(read_assessments([folder]), tmp_path / "out")
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"table.tex", "all-pairs.pdf", "learning-curves.pdf"} <= files
    assert "gmu" in (tmp_path / "out" / "table.tex").read_text()
    for path in (tmp_path / "out").glob("*.pdf"):
        content = path.read_bytes()
        assert content.startswith(b"%PDF")
        assert b"/Type3" not in content  # publishers refuse such fonts


def test_no_two_tasks_share_a_folder_and_no_two_figures_a_file(tmp_path, monkeypatch):
    """With figures that are saved, but not drawn."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: None)
    names = ["my task", "My-Task!", "Ω", "!"]
    folders = [
        make_folder(tmp_path / str(i), {"a_only": 1, "gmu": 3}, task=name, groups=20 + i)
        for i, name in enumerate(names)
    ]
    write_paper(read_assessments(folders), tmp_path / "out")
    tables = sorted((tmp_path / "out").glob("*/table.tex"))
    labels = [path.parent.name for path in tables]
    assert labels == ["my-task", "my-task-2", "unnamed", "unnamed-2"]
    for path in tables:
        assert rf"\label{{tab:{path.parent.name}}}" in path.read_text()
