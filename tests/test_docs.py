"""The documentation: what its pages promise, and the check of its links."""

import re
import sys
from pathlib import Path

import pytest
from load_script import load_script

from mmjax.fusion import FUSIONS
from mmjax.methods import METHODS
from mmjax.objectives import OBJECTIVES

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def test_every_fusion_is_on_one_page():
    text = "\n".join(page.read_text() for page in PAGES)
    directives = re.findall(r"^```\{fusions\} (.*)$", text, re.MULTILINE)
    shown = [name for names in directives for name in names.split()]
    own = [name for name in FUSIONS if FUSIONS[name].__module__.startswith("mmjax.")]
    assert sorted(shown) == sorted(own)


@pytest.mark.parametrize(
    ("heading", "table"),
    [("Fusions", FUSIONS), ("Objectives", OBJECTIVES), ("Methods", METHODS)],
)
def test_every_member_is_held_against_published_code(heading, table):
    section = (DOCS / "parity.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (.+) \| .+ \| .+ \|$", section, re.MULTILINE)
    own = [name for name in table if table[name].__module__.startswith("mmjax.")]
    assert [name for name, _ in rows] == own
    verdicts = "match|equivalent|deviates by choice|no official code|not compared"
    assert all(re.fullmatch(verdicts, verdict) for _, verdict in rows)


def test_links_between_pages_work_on_a_code_host():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if not link.startswith(("http://", "https://")):
                assert (page.parent / link).exists(), (page, link)


def test_no_sentence_is_lost_as_a_comment():
    for page in PAGES:  # MyST leaves out a line that begins with a percent sign
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        assert not re.findall(r"^%.*", text, re.MULTILINE), page


def test_pages_state_how_many_entries_the_tables_have():
    script = load_script("count_zoo")
    stated = [page for page in script.pages() if "<!-- count " in page.read_text()]
    assert len(stated) > 2
    for page in stated:
        assert script.count(page.read_text()) == page.read_text(), "run experiments/count_zoo.py"


def test_each_picture_of_the_gallery_is_small_and_has_its_command():
    made = set(re.findall(r"runs/gallery/(\w+)", (DOCS / "gallery.md").read_text()))
    pictures = {path.stem: path for path in (DOCS / "gallery").iterdir()}
    assert made == set(pictures)
    assert sum(path.stat().st_size for path in pictures.values()) < 600_000


@pytest.fixture(scope="module")
def extension():
    """Imports an extension of the site."""
    pytest.importorskip("sphinx")
    sys.path.insert(0, str(DOCS))
    yield pytest.importorskip
    sys.path.remove(str(DOCS))


@pytest.fixture
def site_links(extension):
    return extension("site_links")


@pytest.fixture
def site_maths(extension):
    extension("latex2mathml")
    return extension("site_maths")


@pytest.mark.parametrize(
    ("latex", "pieces"),
    [
        (r"h_m = \tanh(W_m x_m + b_m)", ["hm=", "tanh(Wmxm+bm)"]),  # no break inside brackets
        (r"\text{loss} + \lambda \sum_m L_m", ["loss+", "λ∑mLm"]),
    ],
)
def test_formulas_may_break_after_signs_outside_brackets(site_maths, latex, pieces):
    found = site_maths.pieces(site_maths.typeset(latex, "inline")[0])
    assert ["".join(piece.itertext()) for piece in found] == pieces


def test_names_in_formulas_keep_their_distance(site_maths):
    row = site_maths.typeset(r"V \text{relu}(x) - \exp(-x)", "inline")[0]
    assert [part.tag for part in row[:3]] == ["mi", "mspace", "mi"]
    assert [part.get("form") for part in row if part.text == "\N{MINUS SIGN}"] == [None, "prefix"]


@pytest.mark.parametrize(
    ("link", "complaint"),
    [
        ("other.html", ""),
        ("other.html#there", ""),
        ("#here", ""),
        ("https://example.org", ""),
        ("lost.html", "no such file"),
        ("other.html#lost", "no such anchor"),
        ("#lost", "no such anchor"),
    ],
)
def test_broken_links_are_found(tmp_path, site_links, link, complaint):
    (tmp_path / "page.html").write_text(f'<p id="here"><a href="{link}">to</a></p>')
    (tmp_path / "other.html").write_text('<p id="there">')
    found = site_links.broken_links(tmp_path)
    assert len(found) == bool(complaint)
    assert all(complaint in sentence and "page.html" in sentence for sentence in found)


@pytest.mark.parametrize(
    "loaded",
    [
        '<script src="https://example.org/x.js"></script>',
        '<link rel="stylesheet" href="//example.org/x.css">',
    ],
)
def test_what_would_be_loaded_from_afar_is_found(tmp_path, site_links, loaded):
    (tmp_path / "page.html").write_text(loaded)
    (sentence,) = site_links.broken_links(tmp_path)
    assert "page.html loads" in sentence
