"""The majority class: its scores, its line in every table, and who does not beat it."""

import io
import re

import numpy as np
import pytest
from commands import run
from folders import make_folder
from rich.console import Console
from sklearn.dummy import DummyClassifier
from sklearn.metrics import f1_score

import mmjax
from mmjax.analysis.summary import Summary, find_majority, majority_warnings, summarise
from mmjax.metrics import METRICS, majority_scores
from mmjax.metrics.scoring import prior_logits
from mmjax.report.page import write_page
from mmjax.report.paper import write_paper
from mmjax.report.score_table import score_table
from mmjax.report.tables import plain_table, rich_table
from mmjax.runs.compare import write_summary
from mmjax.runs.studies import read_assessments, read_studies
from mmjax.storage.jsonl import read_rows
from mmjax.tasks.arrays import save

FACTS = {"majority_accuracy": 0.955, "majority_macro_f1": 0.4885}


def scores(train, target, out_dim):
    logits = np.broadcast_to(prior_logits(train, out_dim), (len(target), out_dim))
    return {name: METRICS[name].score(logits, target) for name in ("accuracy", "macro_f1")}


@pytest.mark.parametrize("classes", [2, 5])
def test_scores_of_classes_are_those_of_scikit_learns_dummy(classes):
    rng = np.random.default_rng(classes)
    train, target = rng.binomial(classes - 1, 0.3, (2, 80))
    said = DummyClassifier(strategy="most_frequent").fit(train[:, None], train).predict(target)
    got = scores(train, target, classes)
    assert got["accuracy"] == pytest.approx((said == target).mean())
    want = f1_score(target, said, average="macro", zero_division=0)
    assert got["macro_f1"] == pytest.approx(want)


def test_each_label_has_its_own_answer():
    train, target = np.array([[1, 0], [1, 0], [0, 1]]), np.array([[1, 0], [0, 0], [1, 1], [1, 0]])
    assert scores(train, target, 2) == {"accuracy": 0.75, "macro_f1": pytest.approx(6 / 7 / 2)}


def test_numbers_have_none():
    """The R2 of the mean is zero by definition."""
    numbers = np.arange(9.0)
    task = mmjax.Task.from_arrays({"a": numbers}, target=numbers)
    assert majority_scores(task, task.test.target) == {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("run") / "run", **FACTS)


@pytest.mark.slow
def test_every_table_has_its_line(folder, tmp_path, monkeypatch):
    summaries = summarise(read_rows(folder / "rows.jsonl"))
    shown = io.StringIO()
    Console(file=shown, width=120).print(rich_table(score_table(summaries), "title"))
    for text in (shown.getvalue(), plain_table(score_table(summaries))):
        assert re.search(r"majority class +95\.50 +0\.4885 +0 +-", text)
    write_summary(folder, *read_assessments([folder]))
    text = (folder / "summary.md").read_text()
    assert "| *majority class* | 95.50 | 0.4885 | 0 | - |" in text
    assert "the most frequent class of the training split" in text
    monkeypatch.setattr("mmjax.report.paper._save", lambda *_: None)  # figures
    write_paper(read_assessments([folder]), tmp_path)
    table = (tmp_path / "table.tex").read_text()
    assert r"majority class & 95.50 &  & -- & 48.85 & -- & -- & -- \\" in table
    write_page(read_assessments([folder]), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    (line,) = re.findall(r'<tr>\n<th scope="row" data-value="majority class">.*?</tr>', page, re.S)
    assert re.findall(r">([\d.]+)</td>", line) == ["95.50", "48.85"]


def test_its_line_stands_where_its_score_belongs(folder):
    lines = plain_table(score_table(summarise(read_rows(folder / "rows.jsonl")))).splitlines()[1:]
    scores = [float(re.search(r"  (\d+\.\d+)", line)[1]) for line in lines]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 95.5


def test_rows_without_its_scores_have_no_line(tmp_path):
    folder = make_folder(tmp_path / "run", {"a_only": 1.0, "gmu": 2.7})
    summaries = summarise(read_rows(folder / "rows.jsonl"))
    assert find_majority(summaries) is None
    assert majority_warnings(summaries) == []
    assert "majority" not in plain_table(score_table(summaries))
    assert len(read_studies([folder])) == 1


@pytest.mark.parametrize(
    ("accuracy", "who"),
    [
        (0.999, "No strategy beats the majority class, which reaches 99.90 % accuracy"),
        (
            0.635,
            "late_mean, a_only: no better than the majority class, which reaches 63.50 % accuracy",
        ),
        (0.3, None),
    ],
)
def test_those_that_do_not_beat_it_are_named(tmp_path, accuracy, who):
    facts = {"majority_accuracy": accuracy, "majority_macro_f1": 0.2}
    folder = make_folder(tmp_path / "run", **facts)
    summaries = summarise(read_rows(folder / "rows.jsonl"))
    told = majority_warnings(summaries)
    assert [sentence.split(" without")[0] for sentence in told] == ([who] if who else [])
    write_summary(folder, *read_assessments([folder]))
    summary = (folder / "summary.md").read_text()
    assert (who in summary) if who else ("majority class, which" not in summary)


@pytest.mark.slow
def test_the_page_names_them(tmp_path):
    facts = {"majority_accuracy": 0.635, "majority_macro_f1": 0.2}
    folder = make_folder(tmp_path / "run", **facts)
    write_page(read_assessments([folder]), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "late_mean, a_only: no better than the majority class" in page


@pytest.fixture(scope="module")
def rare():
    """Noise, and one positive in twenty."""
    rng = np.random.default_rng(0)
    inputs = {"a": rng.normal(size=(400, 3)), "b": rng.normal(size=(400, 3))}
    return mmjax.Task.from_arrays(inputs, np.where(np.arange(400) % 20, "no", "yes"), name="rare")


@pytest.mark.slow
def test_python_is_told_that_only_the_majority_was_learned(rare):
    result = mmjax.compare(rare, "concat", seeds=1, steps=5, quiet=True)
    share = (rare.test.target == rare.names.index("no")).mean()
    assert re.search(rf"^majority class +{100 * share:.2f} ", str(result), re.M)
    assert "No strategy beats the majority class" in str(result)
    assert "No strategy beats the majority class" in result._repr_html_()
    assert "<th>majority class</th>" in result._repr_html_()


@pytest.mark.slow
def test_the_command_tells_it(rare, tmp_path, capsys):
    save(rare, tmp_path / "rare")
    flags = ("--fusions", "concat", "--seeds", "1", "--steps", "5", "--out", tmp_path / "run")
    assert run("compare", "--task", "arrays", "--data", tmp_path / "rare", *flags) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "majority class" in shown
    assert "No strategy beats the majority class" in shown
    assert "No strategy beats the majority class" in (tmp_path / "run" / "summary.md").read_text()


def test_names_with_commas_are_told_apart():
    of = METRICS["accuracy"]
    names = ["gmu", "width=16, without gate", "sum"]
    summaries = [
        Summary(n, False, of, *[np.full(2, score)] * 3, 10, 1.0, (0.5, 0.3))
        for n, score in zip(names, (0.4, 0.4, 0.9), strict=True)
    ]
    (line,) = majority_warnings(summaries)
    assert line.startswith("gmu; width=16, without gate: no better than the majority class")
