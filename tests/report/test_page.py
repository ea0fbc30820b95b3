"""The report page: what it shows, leaves out, escapes and refuses."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from folders import SKILLS, make_folder
from matplotlib.figure import Figure
from representatives import slow
from simulated_ablations import make_ablation
from sklearn.metrics import confusion_matrix

from mmjax.analysis.answers import Answers, make_answers
from mmjax.analysis.assessment import Assessment
from mmjax.analysis.statistics import bootstrap_interval, compare_pair
from mmjax.analysis.study import rename
from mmjax.analysis.verdicts import judge
from mmjax.errors import DataError, UsageError
from mmjax.report import drawings
from mmjax.report.across import over_tasks
from mmjax.report.figures.style import ALONE, FUSED, PALETTE, QUIET
from mmjax.report.figures.svg import inline_svg
from mmjax.report.figures.verdict_figures import NUM_CLASSES, confusion_figure, exchange_figure
from mmjax.report.lines import make_lines
from mmjax.report.page import write_page
from mmjax.runs.studies import read_assessments, read_studies

SMALL = {"a_only": 1.0, "b_only": 1.6, "gmu": 2.7}
NAUGHTY = "<script>alert(1)</script>"


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def named(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def render(*folders, out):
    write_page(read_assessments(folders), out)
    return out.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    make_folder(folder / "run", groups=200)
    (folder / "run" / "embeddings.svg").write_bytes(b"\x89PNG not really")
    return folder, render(folder / "run", out=folder / "report.html")


def test_the_verdict_comes_first(page):
    folder, text = page
    (study,) = read_studies([folder / "run"])
    verdict = judge(make_answers(study))
    body = text[text.index("<main>") :]
    first = re.search(r"<h1>(.*?)</h1>", body)
    assert html.unescape(first[1]) == verdict.headline
    assert (
        first.start()
        < body.index("<table>")
        < body.index("<svg")
        < body.index("<h2>How to read this page")
    )
    assert (
        "mmjax compare --task toy --data DATA --seeds 3 --fusions concat,<wbr>gmu,<wbr>late_mean"
        in body
    )
    assert "secret" not in body


def test_the_page_needs_nothing_but_itself(page):
    tags = Tags(page[1])
    for tag, attributes in tags.tags:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action"):
            if tag != "a":  # what links lead to is not needed
                assert attributes.get(name, "#").startswith(("data:", "#")), (tag, attributes)
    assert "url(http" not in page[1]
    assert "@import" not in page[1]
    (script,) = re.findall(r"<script>(.*?)</script>", page[1], re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (m["content"] for m in tags.named("meta") if m.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert policy.endswith(f"script-src 'sha256-{digest}'")


def ids_and_links(text):
    tags = Tags(text).tags
    own = ("section", "h2", "figure", "div")  # others are inside pictures
    ids = [attributes["id"] for tag, attributes in tags if tag in own and "id" in attributes]
    links = [attributes["href"] for tag, attributes in tags if tag == "a"]
    assert len(set(ids)) == len(ids)
    return ids, [link for link in links if link[0] == "#"]


def test_contents_lead_to_everything_on_the_page(page):
    ids, links = ids_and_links(page[1])
    assert sorted(links) == sorted(f"#{name}" for name in ids if name != "task-1")
    listed = r'<li><a href="#(task-1-(?:figure|picture)-\d+)">(.*?)</a>'
    found = re.findall(listed, page[1])
    assert {title for _, title in found} >= {"Learning curves", "Embeddings", "Confusion matrices"}
    for name, title in found:
        place, title = rf'<figure id="{name}">\s*', re.escape(title)
        folded = rf"<details>\s*<summary>{title}</summary>\s*{place}"
        assert re.search(rf"{place}<h3>{title}</h3>|{folded}", page[1])


def test_figures_lead_to_the_files_that_they_are_drawn_from(page):
    folder, text = page
    links = {a["href"] for a in Tags(text).named("a") if a["href"][0] != "#"}
    assert links >= {"run/rows.jsonl", "run/history.jsonl", "run/predictions", "run/embeddings.svg"}
    assert all((folder / link).exists() for link in links)


def test_figures_of_several_folders_name_their_files_without_links(tmp_path):
    folders = [make_folder(tmp_path / n, {n: 1.0, "b_only": 1.6}) for n in ("sum", "gmu")]
    text = render(*folders, out=tmp_path / "report.html")
    assert "From rows.jsonl." in text
    assert all(a["href"][0] == "#" for a in Tags(text).named("a"))


@pytest.mark.parametrize(("skill", "folded"), [slow(9.0, True), (0.1, False)])
def test_confusion_matrices_with_fewer_errors_than_cells_are_folded(tmp_path, skill, folded):
    skills = dict.fromkeys(SMALL, skill)
    text = render(make_folder(tmp_path / "run", skills), out=tmp_path / "report.html")
    assert ("<summary>Confusion matrices</summary>" in text) == folded
    assert ("<h3>Confusion matrices</h3>" in text) != folded


def test_a_strategy_has_one_colour_and_baselines_are_grey(page):
    (study,) = read_studies([page[0] / "run"])
    colors = drawings.study_colors(study)
    assert colors["a_only"] == colors["b_only"] == QUIET
    others = [color for name, color in colors.items() if name not in study.baselines]
    assert sorted(others) == sorted(PALETTE[: len(others)])
    titles = ("Gain of each strategy over b_only", "Learning curves", "Selective prediction")
    found = {d.title: d for d in drawings.make_drawings(Assessment(study))}
    for title in titles:
        lines = [line for axes in found[title].figure.axes for line in axes.get_lines()]
        shown = {line.get_color() for line in lines}
        assert colors[judge(make_answers(study)).fusion] in shown, title
        assert shown <= {*colors.values()}, title


@pytest.fixture(scope="module")
def ablation_page(tmp_path_factory):
    out = tmp_path_factory.mktemp("ablation") / "report.html"
    assessment = make_ablation()
    write_page([assessment], out)
    return assessment, out.read_text()


def test_the_page_of_an_ablation_is_about_its_base(ablation_page):
    assessment, text = ablation_page
    assert "<title>toy, variants of gmu: what matters?</title>" in text
    assert html.unescape(re.search(r"<h1>(.*?)</h1>", text)[1]) == assessment.verdict.headline
    assert "gmu <small>base</small></th>" in text
    assert text.count("<small>base</small>") == 1
    assert "better than that of the base" in text
    assert '<h2 id="task-1-table">All variants</h2>' in text
    ids, links = ids_and_links(text)
    assert {link[1:] for link in links} <= set(ids)
    for title in ("What each factor does", "Interaction of width and gate"):
        assert f">{title}</a></li>" in text
    for word in ("unimodal", "best fusion", "with fusion", "headline are tested first"):
        assert word not in text, word


def test_a_base_that_failed_leaves_a_page_of_scores(tmp_path):
    given = make_ablation(rows=60).given
    others = {name: name for name in given.strategies if name != "gmu"}
    study = rename(given, others)._replace(failed={"gmu": "out of memory"})
    write_page([Assessment(study)], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "gmu failed: out of memory" in text
    assert "No verdict" in text
    assert "<small>base</small>" not in text


def test_a_base_that_alone_has_not_failed_leaves_a_page_of_scores(tmp_path):
    study = rename(make_ablation(rows=60).given, {"gmu": "gmu"})
    write_page([Assessment(study)], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "No effect could be judged" in text
    assert "dotted: gmu" in text


def test_variants_with_one_modality_are_marked(tmp_path):
    factors = {"modalities": ("a+b", "a")}
    assessment = make_ablation(factors, "one-at-a-time", lambda point: 0.0)
    rows = assessment.given.rows
    alone = [{**r, "modalities": "a"} if r["strategy"] != "gmu" else r for r in rows]
    write_page([Assessment(assessment.given._replace(rows=alone))], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "modalities=a <small>unimodal</small></th>" in text


def test_the_table_has_known_values(page):
    (study,) = read_studies([page[0] / "run"])
    answers = make_answers(study)
    lines = {line.strategy: line for line in make_lines(study, answers, judge(answers))}
    accuracy = [line.score for line in lines.values()]
    assert accuracy == sorted(accuracy, reverse=True)
    gmu = lines["gmu"]
    assert gmu.score == pytest.approx(study.scores("gmu", "accuracy").mean())
    pair = compare_pair(answers.scores["gmu"], answers.scores["b_only"], answers.group)
    assert gmu.gain == pair.difference
    want = bootstrap_interval(answers.scores["gmu"].mean(axis=0), answers.group)
    np.testing.assert_allclose(gmu.group_interval, want)
    assert lines["b_only"].verdict == "reference"
    assert lines["a_only"].alone
    assert not gmu.alone
    assert f'<td data-value="{gmu.gain.mean}">{100 * gmu.gain.mean:+.1f}</td>' in page[1]


@pytest.mark.slow
def test_the_page_is_the_same_every_time(page):
    again = page[0] / "again.html"
    assert render(page[0] / "run", out=again) == page[1]


def test_pictures_are_part_of_the_page(page):
    (image,) = Tags(page[1]).named("img")
    assert base64.b64decode(image["src"].split(",")[1]) == b"\x89PNG not really"


def test_a_table_alone_makes_a_page(tmp_path):
    without = ("predictions", "labels", "history", "run")
    folder = make_folder(tmp_path / "run", SMALL, without=without)
    text = render(folder, out=tmp_path / "report.html")
    assert "No verdict: it requires the predictions" in text
    titles = re.findall(r"<h3>(.*?)</h3>", text)
    assert titles == [
        "Accuracy",
        "Robustness to missing modalities",
        "Contribution of each modality",
    ]
    assert "<dt>command</dt>" not in text


def test_rows_of_one_group_make_a_page(tmp_path):
    folder = make_folder(tmp_path / "run", SMALL, groups=1)
    text = render(folder, out=tmp_path / "report.html")
    assert "No verdict" in text
    assert "Information in the modalities" not in text


def test_what_comes_from_files_is_escaped(tmp_path):
    image = "<img src=x onerror=alert(2)>"
    skills = {"a_only": 1.0, NAUGHTY: 2.0, image: 2.5, "$a_b$": 2.0}
    facts = {"recipe": NAUGHTY, "versions": NAUGHTY, "device": "</script>"}
    folder = make_folder(tmp_path / "run", skills, task=f"{NAUGHTY} & co", **facts)
    text = render(folder, out=tmp_path / "report.html")
    tags = Tags(text)
    assert len(tags.named("script")) == 1
    assert not tags.named("img")
    assert "alert(1)&lt;/script&gt;" in text
    assert "onerror=alert(2)&gt;" in text
    assert "$a_b$</text>" in text  # a dollar sign does not begin a formula


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", b'{"task": "toy"\n'),
        ("rows.jsonl", b'{"task": "toy"}\n'),
        ("rows.jsonl", b""),
        ("history.jsonl", b"[1]"),
        ("robustness.jsonl", b"\xff\xfe\n"),
        ("run.json", b"[]"),
        ("run.json", b"{}"),
        ("labels.npz", b"PK\x03\x04 torn"),
        ("labels.npz", b""),
        ("predictions/gmu.npz", b"no array"),
    ],
)
def test_a_torn_file_is_named(tmp_path, name, content):
    folder = make_folder(tmp_path / "run", SMALL)
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(str(folder / name))):
        write_page(read_assessments([folder]), tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_predictions_must_fit_the_labels(tmp_path):
    folder = make_folder(tmp_path / "run", SMALL)
    short = {"seeds": np.arange(3), "valid": np.zeros((3, 120, 3)), "test": np.zeros((3, 7, 3))}
    np.savez(folder / "predictions" / "gmu.npz", **short)
    with pytest.raises(DataError, match=r"gmu.npz: expected test of shape \(3, 120, outputs\)"):
        read_studies([folder])


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere: there is no such folder"):
        write_page(read_assessments([tmp_path / "nowhere"]), tmp_path / "report.html")


def test_folders_of_the_same_data_are_one_study(tmp_path):
    one = make_folder(tmp_path / "one", SMALL)
    two = make_folder(tmp_path / "two", {"a_only": 1.0, "b_only": 1.6, "concat": 2.0})
    (study,) = read_studies([one, two])
    assert list(study.strategies) == ["a_only", "b_only", "gmu", "concat"]
    assert len(study.scores("a_only", "accuracy")) == 3  # not counted twice
    assert {row["strategy"] for row in study.history} == set(study.predictions)
    assert set(study.predictions) == set(study.strategies)


def test_another_recipe_of_the_same_name_is_another_strategy(tmp_path):
    one, two = (make_folder(tmp_path / n, SMALL, recipe=n) for n in ("one", "two"))
    (study,) = read_studies([one, two])
    assert list(study.strategies) == [*SMALL, *(f"{name} (2)" for name in SMALL)]
    assert study.baselines == ["a_only", "b_only", "a_only (2)", "b_only (2)"]


def test_other_data_is_another_study(tmp_path):
    one, two = (make_folder(tmp_path / n, SMALL, data=n) for n in ("one", "two"))
    assert len(read_studies([one, two])) == 2


def test_tasks_share_a_section_of_ranks(tmp_path):
    better = {"a_only": 1.0, "b_only": 1.5, "sum": 1.7, "gmu": 3.5}
    make = lambda name: make_folder(tmp_path / name, better, task=name, without=("predictions",))
    folders = [make("one"), make("two"), make("three")]
    drawings = over_tasks(read_studies(folders))
    assert [drawing.title for drawing in drawings] == [
        "Critical differences",
        "Interquartile means",
        "Performance profiles",
    ]
    words = [text.get_text() for text in drawings[0].figure.axes[0].texts]
    assert "gmu  1.00" in words  # first on every task
    assert any("best unimodal baseline" in word for word in words)
    assert not any("_only" in word for word in words)
    text = render(*folders, out=tmp_path / "report.html")
    assert text.count("<table>") == 3
    assert "Critical differences" in text
    assert not over_tasks(read_studies(folders[:1]))


def test_confusions_are_those_of_scikit_learn(page):
    (study,) = read_studies([page[0] / "run"])
    logits, target = study.predictions["gmu"]["test"], study.labels["test_target"]
    want = sum(confusion_matrix(target, one.argmax(axis=-1)) for one in logits)
    np.testing.assert_array_equal(drawings._confusions(study, "gmu"), want)


def test_missing_modalities_are_told_by_what_is_left(page):
    (study,) = read_studies([page[0] / "run"])
    found = drawings._by_subset(study, list(SKILLS))
    assert list(found) == ["concat", "gmu", "late_mean"]  # baselines have nothing to lose
    rows = [r for r in study.rows if r["strategy"] == "gmu" and r["split"] == "test"]
    want = np.mean([r["accuracy"] for r in rows if r["hidden"] == "a"])
    assert found["gmu"][frozenset("b")] == pytest.approx(want)
    assert set(found["gmu"]) == {frozenset("ab"), frozenset("a"), frozenset("b"), frozenset()}


def test_figures_take_their_colours_from_the_page():
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=FUSED, markerfacecolor="white", marker="o")
    axes.set_title("words")
    svg = inline_svg(figure, 'a "label"')
    assert svg.startswith('<svg role="img" aria-label="a &#34;label&#34;"')
    assert "--width: 288px" in svg
    for color in ("#000000", "#ffffff", FUSED):
        assert color not in svg
    for name in ("currentColor", "var(--page)", "var(--fused)"):
        assert name in svg
    assert ">words</text>" in svg
    assert "DejaVu" not in svg
    assert "<style" not in svg
    assert not re.search(r'<g id="', svg)


def test_figures_whose_layout_differs_by_rounding_are_the_same_svg():
    def draw(shift):
        figure = Figure(figsize=(4, 3))
        axes = figure.add_axes((0.1 + shift, 0.1, 0.8, 0.8))
        axes.plot([1, 2, 3])
        return inline_svg(figure, "line")

    assert "clip-path" in draw(0)
    assert draw(0) == draw(1e-15)


@pytest.mark.parametrize("background", ["#ffffff", "#14171a"])
def test_colours_are_legible_on_light_and_on_dark(background):
    """Graphics need a contrast of 3 to 1 (WCAG 2.1, criterion 1.4.11)."""

    def luminance(color):
        parts = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    own = () if background == "#14171a" else (FUSED, ALONE)  # the style has its own on dark
    for color in (*PALETTE, QUIET, *own):
        low, high = sorted([luminance(color), luminance(background)])
        assert (high + 0.05) / (low + 0.05) >= 3, color


BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
_SORT = """<script>
const table = document.querySelector("table");
const names = () => [...table.querySelectorAll("tbody th")].map((cell) => cell.dataset.value);
const click = (column) => table.querySelectorAll("thead button")[column].click();
const state = () => [...table.querySelectorAll("thead th")].map((head) => head.ariaSort);
const seen = { first: names() };
click(1); seen.ascending = names(); seen.state = state();
click(0); seen.byName = names();
click(5); seen.byGain = names();
seen.width = document.documentElement.scrollWidth;
document.title = JSON.stringify(seen);
parent.postMessage(seen.width, "*");
</script>"""
_FRAME = """<title></title><script>
addEventListener("message", (event) => { document.title = event.data; });
</script><iframe src="click.html" width="360" height="800"></iframe>"""


def browse(path, profile):
    flags = "--headless --no-sandbox --disable-gpu --enable-logging=stderr --dump-dom"
    options = [*flags.split(), "--virtual-time-budget=3000", f"--user-data-dir={profile}"]
    command = [BROWSER, *options, path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser on the PATH")
def test_a_browser_has_nothing_to_complain_about_and_sorts(page, tmp_path):
    folder, text = page
    shown = browse(folder / "report.html", tmp_path / "profile")
    assert "CONSOLE" not in shown.stderr  # the policy allows its script and its style
    assert "<h1>" in shown.stdout

    policy = re.search(r"<meta http-equiv.*?>", text)[0]
    (tmp_path / "click.html").write_text(text.replace(policy, "").replace("</body>", _SORT))
    title = re.search(
        r"<title>(.*?)</title>", browse(tmp_path / "click.html", tmp_path / "p").stdout
    )
    seen = json.loads(html.unescape(title[1]))
    assert seen["ascending"] == seen["first"][::-1]
    assert seen["state"] == [None, "ascending"] + [None] * 11
    assert seen["byName"] == sorted(SKILLS)
    assert seen["byGain"][-1] == "b_only"  # the reference has no gain, so it comes last

    (tmp_path / "frame.html").write_text(_FRAME)
    narrow = browse(tmp_path / "frame.html", tmp_path / "p").stdout
    assert int(re.search(r"<title>(\d+)</title>", narrow)[1]) <= 360


@pytest.mark.parametrize("diverged", [slow("b_only"), slow("gmu"), "concat"])
def test_a_strategy_that_has_diverged_is_shown_and_wins_nothing(tmp_path, diverged):
    skills = {**SMALL, "concat": 2.6, diverged: np.nan}
    text = render(make_folder(tmp_path / "run", skills), out=tmp_path / "report.html")
    (study,) = read_studies([tmp_path / "run"])
    verdict = judge(make_answers(study))
    assert diverged not in (verdict.fusion, verdict.baseline)
    assert f"<td>{diverged}</td>" in text or f">{diverged}<" in text
    assert "nan %" not in text


@pytest.mark.slow
def test_strategies_that_have_all_diverged_make_a_page(tmp_path):
    skills = dict.fromkeys(SMALL, np.nan)
    text = render(make_folder(tmp_path / "run", skills), out=tmp_path / "report.html")
    assert "Are the probabilities calibrated?" not in text


@pytest.mark.slow
def test_the_confusions_of_many_classes_are_those_with_the_most_errors():
    counts = 10 * np.eye(100) + np.diag(np.arange(99) % 2, 1)
    axes = confusion_figure({"sum": counts}).axes[0]
    names = [int(label.get_text()) for label in axes.get_yticklabels()]
    assert len(axes.patches) == NUM_CLASSES**2
    assert names == sorted(names)
    assert all(name % 2 for name in names)  # the odd ones have errors


def test_confusions_have_the_names_of_classes():
    axes = confusion_figure({"sum": np.eye(2)}, np.array(["ill", "well"])).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["ill", "well"]


def test_what_is_gained_and_lost_makes_the_difference():
    right = {"alone": [[1, 1, 0, 0]], "same": [[1, 1, 0, 0]], "trades": [[0, 1, 1, 1]]}
    right = {name: np.array(values, float) for name, values in right.items()}
    answers = Answers(right, np.arange(4), dict.fromkeys(right, 0.5), ["alone"], "test")
    (axes,) = exchange_figure(answers, ["same", "trades"], "alone").axes
    gained, lost = ([bar.get_width() for bar in bars] for bars in axes.containers)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["same", "trades"]
    assert (gained, lost) == ([0, 50], [0, -25])
    net = next(line for line in axes.lines if line.get_label() == "difference")
    assert list(net.get_xdata()) == [0, 25]


def test_a_page_does_not_replace_the_rows_of_its_run(tmp_path):
    folder = make_folder(tmp_path / "run", {"a_only": 1, "b_only": 2, "gmu": 3})
    rows = folder / "rows.jsonl"
    before = rows.read_bytes()
    for taken in (rows, folder):
        with pytest.raises(UsageError, match="not that of an HTML file"):
            write_page(read_assessments([folder]), taken)
    assert rows.read_bytes() == before
