"""What comes from outside is data: nothing runs it, and no terminal or page obeys it."""

import ast
import csv
import io
import json
import socket
import sys
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pytest
from bad_inputs import BAD, FOREIGN, NPZS
from folders import make_folder
from representatives import slow
from rich.table import Table
from small import make_task

from mmjax.analysis.summary import summarise
from mmjax.errors import DataError, UsageError
from mmjax.report.console import PlainConsole
from mmjax.report.page import write_page
from mmjax.report.paper import write_paper
from mmjax.report.score_table import score_table
from mmjax.report.tables import rich_table
from mmjax.report.task_tables import task_facts, task_tables
from mmjax.runs.studies import read_assessments
from mmjax.storage.files import write_csv
from mmjax.storage.jsonl import append_rows, read_rows
from mmjax.storage.reading import read_npz
from mmjax.tasks import load_task
from mmjax.tasks.tfds import prepare

FILES = sorted((Path(__file__).parents[1] / "mmjax").rglob("*.py"))
RUNS_DATA = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml"}
NETWORK = {"urllib", "http", "ftplib", "socket", "requests", "httpx", "aiohttp", "huggingface_hub"}
NAUGHTY = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
COLOURS = "\x1b[31mred\x1b[2J\n"


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def called(tree):
    """(name, {keyword: constant}) of every call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            constants = {k.arg: getattr(k.value, "value", ...) for k in node.keywords}
            yield ast.unparse(node.func), constants


def test_no_code_runs_data_or_opens_a_connection():
    running = ("eval", "exec", "compile", "__import__", "os.system", "os.popen")
    assert FILES
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not set(imported(tree)) & (RUNS_DATA | NETWORK), path
        for name, keywords in called(tree):
            assert name not in running, (path, name)
            assert keywords.get("shell", False) is False, path
            assert keywords.get("allow_pickle", False) is False, path
            if name in ("np.load", "numpy.load"):
                assert keywords["allow_pickle"] is False, path


def test_built_in_and_prepared_tasks_need_no_network(monkeypatch, tmp_path):
    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    task = load_task("synthetic", options={"size": "40"})
    prepare(task, tmp_path)
    assert load_task("tfds", tmp_path).digest() == task.digest()


@pytest.mark.parametrize("kind", ["tfds", "tfds on disk"])
def test_a_prepared_task_does_not_choose_what_is_imported(kind, tmp_path):
    (bad,) = (b for b in BAD if (b.kind, b.name) == (kind, "a class of another module"))
    with pytest.raises(DataError, match=f"a feature of class '{FOREIGN}'"):
        bad.run(tmp_path)
    assert FOREIGN.split(".")[0] not in sys.modules


def test_an_archive_writes_nothing(tmp_path):
    inner = tmp_path / "in" / "in"
    inner.mkdir(parents=True)
    (inner / "a.npz").write_bytes(NPZS["a name that climbs out"])
    with pytest.raises(DataError, match=r"the entry '\.\./\.\./a\.npy'"):
        read_npz(inner / "a.npz")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.npz"]


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self, text):
        super().__init__()
        self.names, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += [name for name, _ in attrs]


def naughty_folder(folder, name):
    """A run folder in which every text is the same naughty one."""
    make_folder(folder, {"a_only": 1.0, "b_only": 1.5, "gmu": 2.0}, task=name, recipe=name)
    rename = lambda text: "+".join(f"{part}{name}" for part in text.split("+")) if text else ""
    for file in ("rows", "history"):
        rows = read_rows(folder / f"{file}.jsonl")
        for row in rows:
            names = {k: rename(row[k]) for k in ("modalities", "hidden") if k in row}
            row |= names | {"versions": name, "device": name}
        (folder / f"{file}.jsonl").unlink()
        append_rows(folder / f"{file}.jsonl", rows)
    weights = {"strategy": name, "modality": name, "seed": 0, "weight": 0.5, "task": name}
    append_rows(folder / "weights.jsonl", [weights])
    run = {"strategies": ["gmu", name], "task": name, "options": [f"x={name}"], "method": name}
    (folder / "run.json").write_text(json.dumps(run))
    return folder


@pytest.mark.filterwarnings("ignore:constrained_layout not applied", "ignore:Glyph")
@pytest.mark.parametrize("name", [NAUGHTY, slow(IMAGE), COLOURS, slow(r"$\x{_$ %")])
def test_a_report_shows_any_text_as_text(name, tmp_path):
    folder = naughty_folder(tmp_path / "run", name)
    write_page(read_assessments([folder]), tmp_path / "report.html")
    tags = Tags((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert tags.names.count("script") == 1  # its own
    assert "img" not in tags.names
    assert not any(attribute.startswith("on") for attribute in tags.attributes)


def test_a_table_for_a_paper_shows_any_text_as_text(tmp_path, monkeypatch):
    monkeypatch.setattr("mmjax.report.paper._save", lambda *_: None)  # figures
    write_paper(
        read_assessments([naughty_folder(tmp_path / "run", r"\input{x}$%")]), tmp_path / "paper"
    )
    table = (tmp_path / "paper" / "table.tex").read_text(encoding="utf-8")
    assert r"\input{" not in table
    assert r"\textbackslash{}input\{x\}\$\%" in table


def shown(*things):
    file = io.StringIO()
    PlainConsole(file=file, width=200).print(*things)
    return file.getvalue()


def test_names_are_no_markup_of_the_console():
    name = "[/red] [bold]task"
    task = replace(make_task(), name=name)
    assert name in shown(task_facts(task), *task_tables(task))
    rows = [
        {"strategy": name, "modalities": "a", "seed": 0, "split": "test", "hidden": ""}
        | {"accuracy": 0.5, "macro_f1": 0.5, "params": 1, "seconds": 1.0}
    ]
    table = shown(rich_table(score_table(summarise(rows)), f"title {name}"))
    assert f"title {name}" in table
    assert table.count(name) == 2


def test_the_console_shows_what_a_terminal_would_obey():
    text = f"{COLOURS}[bold]:smile: \udcff"
    table = Table(text, title=text)
    table.add_row(text)
    plain = r"\x1b[31mred\x1b[2J", r"[bold]:smile: \udcff"
    printed = shown(text, table)
    assert "\x1b" not in printed
    assert [printed.count(part) for part in plain] == [4, 4]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
        ("@SUM(1)", "'@SUM(1)"),
        ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
        ("+1-555", "'+1-555"),
        ("\t=1", r"\t=1"),
        ("\r=1", r"\r=1"),
        ("\x1b[2Jx", r"\x1b[2Jx"),
        ("caf\u00e9 =1", "caf\u00e9 =1"),
        ("-0.5", "-0.5"),
        (-1e-30, "-1e-30"),
        (-3, "-3"),
    ],
)
def test_a_spreadsheet_runs_nothing_of_a_table(text, cell, tmp_path):
    write_csv(tmp_path / "a.csv", [["name", "n"], [text, 1]])
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["name", "n"], [cell, "1"]]


@pytest.mark.parametrize("make", [partial(UsageError, COLOURS), partial(DataError, Path(COLOURS))])
def test_an_error_is_one_line_whatever_it_tells(make):
    error = make(expected="a name", got=COLOURS, fix=COLOURS)
    assert str(error).isprintable()
    assert r"\x1b[31mred\x1b[2J\n" in str(error)
