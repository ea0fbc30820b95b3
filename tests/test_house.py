"""The house itself: imports go one way, every public thing is documented, tables are complete."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from mmjax.runs.zoo import TABLES, list_zoo

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "mmjax").rglob("*.py"))

# A module imports only from earlier floors; packages of members share a floor and never meet, but
# for methods, which need an objective's default.
FLOORS = [
    {"errors"},
    {"files", "reading", "terminal", "trees"},
    {"manifest"},
    {"mesh"},
    {
        "cache",
        "checkpoint",
        "coalitions",
        "interrupt",
        "on_disk",
        "optimiser",
        "settings",
        "space",
        "splits",
        "table",
        "targets",
        "threads",
    },
    {"checks", "own_data", "scale", "types"},
    {"lanes", "launchers", "own_inputs", "own_targets"},
    {"attribution", "calibration", "statistics"},
    {"correlation", "dataflow", "layers", "task"},
    {"testing"},
    {"encoders", "fusion", "objectives", "tasks", "corruptions"},
    {"methods"},
    {"model", "train"},
    {"epochs"},
    {"evaluate", "recipe", "sizes", "stream"},
    {"program", "representation", "validation"},
    {"fit"},
    {"encodings", "tune"},
    {"search"},
    {"arms", "run_file"},
    {"scoring"},
    {"comparison", "zoo"},
    {"availability", "cost", "robustness"},
    {"assess", "peaks"},
    {"bench", "report"},
    {"runs"},
    {"track", "trained", "trials", "verify"},
    {"export", "results"},
    {"cli"},
    {"__main__", "__init__"},
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}


def room(path):
    part = path.relative_to(ROOT / "mmjax").parts[0]
    return part.removesuffix(".py")


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mmjax"):
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    here = room(path)
    for other in imported_rooms(path):
        assert other == here or FLOOR[other] < FLOOR[here], f"{here} imports {other}"


MEMBERS = {member.__module__ for table in TABLES.values() for member in table.values()}
# Other methods change joint training; other tasks are made of the files of mnist_fsdd.
SHARED = {"mmjax.methods.joint", "mmjax.tasks.mnist_fsdd"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_members_never_meet(path):
    if path.name == "__init__.py":  # the table
        return
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    package = name.rpartition(".")[0]
    siblings = {other for other in MEMBERS if other.rpartition(".")[0] == package} - {name}
    nodes = ast.walk(ast.parse(path.read_text()))
    imported = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not imported & siblings - SHARED


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_model_and_its_parts_know_flax(path):
    uses = re.search(r"^(import|from) flax", path.read_text(), re.MULTILINE)
    knows = {"dataflow", "encoders", "fusion", "layers", "model", "testing"}
    # The others name nn.Module as a type.
    named = {"train", "evaluate", "recipe", "sizes"}
    assert not uses or room(path) in knows | named


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_modality_is_named_outside_tasks(path):
    if room(path) in ("tasks", "own_inputs"):  # where an image is what samples may look like
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and node.value in ("image", "audio"):
            raise AssertionError(f"line {node.lineno} names {node.value!r}")


def public_objects():
    for path in FILES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if name.endswith("__main__"):
            continue
        module = importlib.import_module(name)
        yield name, module
        for key, value in vars(module).items():
            own = getattr(value, "__module__", None) == name
            if own and not key.startswith("_") and callable(value):
                yield f"{name}.{key}", value


@pytest.mark.parametrize(("name", "value"), [pytest.param(*x, id=x[0]) for x in public_objects()])
def test_public_things_are_documented(name, value):
    assert value.__doc__, name


@pytest.mark.parametrize("table", TABLES)
def test_every_entry_of_the_zoo_has_a_summary_and_a_reference(table):
    for entry in list_zoo()[table]:
        assert entry["summary"].endswith((".", "?")), entry
        assert re.search(r"\d{4}", entry["reference"]), entry


def test_no_two_entries_are_the_same_thing():
    for table in TABLES.values():
        assert len(set(map(id, table.values()))) == len(table)
