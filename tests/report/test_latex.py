"""The LaTeX table and the figures of a paper."""

import re

import pytest
from commands import run
from folders import SKILLS, make_folder
from matplotlib.text import Text
from simulated_ablations import make_ablation

from mmjax.analysis.answers import make_answers
from mmjax.analysis.verdicts import judge
from mmjax.comparison.ablation import KEPT, REMOVED
from mmjax.errors import UnknownNameError
from mmjax.report.figures.style import Figure, legend_below
from mmjax.report.latex import escape, latex_table
from mmjax.report.lines import make_lines
from mmjax.report.paper import table_of, write_paper
from mmjax.report.venues import VENUES, fit_figure
from mmjax.runs.result import Result
from mmjax.runs.run_file import RunFile
from mmjax.runs.settings import Settings
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


def count_columns(table):
    """The number of columns of the alignment, and of every line of cells."""
    alignment = re.search(r"\\begin\{tabular\}\{(\w+)\}", table)[1]
    spans = lambda line: sum(int(n) - 1 for n in re.findall(r"multicolumn\{(\d)\}", line))
    lines = [line for line in table.splitlines() if line.endswith(r"\\")]
    return len(alignment), {len(line.split(" & ")) + spans(line) for line in lines}


@pytest.mark.parametrize("design", ["one-at-a-time", "grid", "leave-one-out"])
def test_an_ablation_has_the_base_first_and_the_order_of_the_design(design):
    assessment = make_ablation(design=design)
    table = table_of(assessment, "toy")
    width, found = count_columns(table)
    assert found == {width}
    assert width == (3 if design == "grid" else 1) + 5
    rows = [line.split(" & ") for line in table.splitlines() if line.endswith(r"\\")][1:]
    ablation = assessment.study.ablation
    assert len(rows) == len(ablation.points)
    factors = ablation.factors.values()
    levels = lambda p: [words[i] for words, i in zip(factors, p, strict=True)]
    first = [levels(p) if design == "grid" else [name] for name, p in ablation.points.items()]
    assert [row[: width - 5] for row in rows] == [list(map(escape, words)) for words in first]
    assert rows[0][-3:-1] == ["--", ""]
    apart = {"one-at-a-time": 3, "grid": 0, "leave-one-out": 0}
    assert table.count(r"\addlinespace") == apart[design]


def test_the_numbers_of_an_ablation_are_those_of_its_verdict():
    assessment = make_ablation()
    answers, judged = assessment.answers, assessment.verdict.against_baseline
    table = table_of(assessment, "toy")
    rows = [line.split(" & ") for line in table.splitlines() if line.endswith(r"\\")][2:]
    marks = {"better": "^{*}", "worse": r"^{\dagger}", "not distinguishable": ""}
    assert {one.verdict for one in judged} == set(marks)
    for one, cells in zip(judged, rows, strict=True):
        mean, _, low, high = (100 * value for value in one.pair.difference)
        assert cells[5] == f"${mean:+.1f}{marks[one.verdict]}$"
        assert cells[6] == f"$[{low:+.1f}, {high:+.1f}]$"
    best = max(values.mean() for values in answers.scores.values())
    bold = set(re.findall(r"\\textbf\{([\d.]+)\}", table))
    assert bold == {f"{100 * best:.2f}"}
    for part in ("Grid, 12 variants", "4 seeds and 300 test rows.", "Holm-corrected"):
        assert part in table


def test_an_ablation_without_predictions_has_scores_alone():
    table = table_of(make_ablation(without=("predictions",)), "toy")
    width, found = count_columns(table)
    assert found == {width}
    assert "No verdict" in table
    assert r"\dagger" not in table


def draw_curves(names, *, heat=0):
    figure = Figure(figsize=(5.2, 3.9), layout="constrained")
    axes = figure.subplots()
    for name in names:
        axes.plot([0, 1], [0, 1], label=name)
    for column in range(heat):
        axes.text(column / heat, 0.5, "+12.3")
    axes.set(xlabel="step", ylabel="accuracy in %")
    legend_below(figure)
    return figure


@pytest.mark.parametrize("name", VENUES)
def test_figures_are_as_wide_as_a_column_or_the_text(name):
    venue = VENUES[name]
    narrow, wide = draw_curves(["gmu"]), draw_curves(["gmu"], heat=14)
    for figure, width in ((narrow, venue.column), (wide, venue.text)):
        fit_figure(figure, venue)
        assert figure.get_size_inches()[0] == pytest.approx(width)
        shown = [text for text in figure.findobj(Text) if text.get_text()]
        assert {text.get_fontsize() for text in shown} == {venue.points}
        assert {text.get_fontname() for text in shown} == {"STIXGeneral"}
    assert narrow.get_size_inches()[1] <= 3.9 + 0.2  # its legend


def test_a_legend_that_has_no_room_in_a_column_gets_the_text_width():
    figure = draw_curves([f"some_name_{i:02}" for i in range(3)])
    fit_figure(figure, VENUES["acl"])
    assert figure.get_size_inches()[0] == pytest.approx(6.3)


def test_an_unknown_venue_is_refused_before_anything_is_written(tmp_path, capsys):
    folder = make_folder(tmp_path / "run", {"a_only": 1.0, "gmu": 2.0}, without=("history",))
    out = ("--out", tmp_path / "page.html")
    assert run("report", folder, *out, "--paper", "--venue", "icmll") == 2
    assert "Did you mean 'icml'" in capsys.readouterr().err
    assert run("report", folder, *out, "--venue", "icml") == 2
    assert "Add --paper" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_a_result_saves_a_paper_in_the_sizes_of_a_venue(tmp_path, monkeypatch):
    widths = []
    keep_width = lambda figure, *_, **__: widths.append(float(figure.get_figwidth()))
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", keep_width)
    given = make_ablation(factors={"gate": (KEPT, REMOVED)}, effect=lambda point: 0.0).given
    result = Result(RunFile(Settings(), list(given.strategies)), given)
    result.save_paper(tmp_path / "paper", "icml")
    assert (tmp_path / "paper" / "table.tex").read_text().count("&") == 3 * 4 + 1
    assert set(widths) <= {3.25, 6.75}
    assert 3.25 in widths
    with pytest.raises(UnknownNameError, match="neurips"):
        result.save_paper(tmp_path / "other", "neurip")
    assert not (tmp_path / "other").exists()
