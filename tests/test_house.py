"""The house itself: imports go one way, every public thing is documented, tables are complete."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from mmjax.runs.zoo import TABLES, list_zoo

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mmjax"
FILES = sorted(PACKAGE.rglob("*.py"))
ZOO = ("tasks", "encoders", "fusion", "objectives", "methods", "metrics", "augmentations")

# A package or module imports only from those before it.
ORDER = (
    *("errors", "types", "registry", "storage", "layers", "data", "metrics", "tasks"),
    *("encoders", "fusion", "objectives", "methods", "augmentations", "model", "testing"),
    *("training", "comparison", "analysis", "report", "runs", "api", "cli"),
    *("__init__", "__main__"),
)


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """(module, name) of everything that a file imports from the package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mmjax":
            yield from ((node.module, alias.name) for alias in node.names)


def test_imports_go_one_way():
    upward = []
    for path in FILES:
        for module, name in imports(path):
            other = f"{module}.{name}".split(".")[1]
            if other in ORDER and ORDER.index(other) > ORDER.index(room(path)):
                upward.append(f"{path} imports {module}.{name}")
    assert not upward


def test_the_root_is_small_and_everything_in_it_has_its_place():
    found = [path for path in PACKAGE.iterdir() if not path.name.startswith(("_", "."))]
    assert {path.stem for path in found} - {"py"} == set(ORDER) - {"__init__", "__main__"}
    assert sum(path.is_dir() for path in found) <= 16
    assert len(list(PACKAGE.glob("*.py"))) <= 8


def test_each_package_says_what_lives_there():
    for path in PACKAGE.rglob("__init__.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        assigned = [ast.unparse(n.targets[0]) for n in tree.body if isinstance(n, ast.Assign)]
        assert "__all__" in assigned, path


def test_each_file_has_a_name_of_its_own():
    """Members are called as the tables have them, and ``testing`` has a file for each table."""
    own = [path.stem for path in FILES if room(path) not in (*ZOO, "testing")]
    assert {name for name in own if own.count(name) > 1} <= {"__init__"}


MEMBERS = {
    member.__module__
    for name, table in TABLES.items()
    if name != "metrics"  # which are of one type
    for member in table.values()
}
# Other methods change joint training; other tasks are made of the files of mnist_fsdd.
SHARED = {"mmjax.methods.joint", "mmjax.tasks.mnist_fsdd"}


def test_members_never_meet():
    for path in FILES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        package = name.rpartition(".")[0]
        siblings = {other for other in MEMBERS if other.rpartition(".")[0] == package} - {name}
        if path.name != "__init__.py":  # the table
            assert not {module for module, _ in imports(path)} & siblings - SHARED, path


def test_only_the_model_and_its_parts_know_flax():
    parts = ("encoders", "fusion", "layers", "model", "testing")
    # The others name nn.Module as a type, or follow data through a model.
    named = ("training/step", "training/predict", "training/recipe", "training/sizes", "dataflow")
    for path in FILES:
        if re.search(r"^(import|from) flax", path.read_text(), re.MULTILINE):
            assert room(path) in parts or str(path.with_suffix("")).endswith(named), path


def test_no_modality_is_named_outside_tasks():
    for path in FILES:
        # What an image is, is what samples may look like.
        if room(path) != "tasks" and path.name != "coerce_inputs.py":
            for node in ast.walk(ast.parse(path.read_text())):
                named = isinstance(node, ast.Constant) and node.value in ("image", "audio")
                assert not named, f"{path}, line {node.lineno} names {node.value!r}"


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


def test_public_things_are_documented():
    assert not [name for name, value in public_objects() if not value.__doc__]


NOBODYS = {"mean"}  # whom would one cite


@pytest.mark.parametrize("table", TABLES)
def test_every_entry_of_the_zoo_has_a_summary_and_a_reference(table):
    for entry in list_zoo()[table]:
        assert entry["summary"].endswith((".", "?")), entry
        assert ":math:" not in entry["summary"], entry  # the terminal shows it
        assert entry["name"] in NOBODYS or re.search(r"\d{4}", entry["reference"]), entry


def test_no_two_entries_are_the_same_thing():
    for table in TABLES.values():
        assert len(set(map(id, table.values()))) == len(table)
