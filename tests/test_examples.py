"""The examples in docstrings run and print what they say, and the public names have one."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

from mmjax.augmentations import AUGMENTATIONS
from mmjax.encoders import ENCODERS
from mmjax.fusion import FUSIONS
from mmjax.methods import METHODS
from mmjax.objectives import OBJECTIVES

PACKAGE = Path(__file__).parents[1] / "mmjax"
WITH_EXAMPLES = [p for p in sorted(PACKAGE.rglob("*.py")) if ">>>" in p.read_text()]


def _module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _case(path):
    """Examples that train or compile more than a layer are left to the slow tests."""
    heavy = r">>> .*(\bfit|compare|compare_arms|train_in|score|make_program|make_step|check_\w+)\("
    slow = re.search(heavy, path.read_text()) or path.parent.name in ("methods", "objectives")
    return pytest.param(_module_name(path), marks=[pytest.mark.slow] * bool(slow))


@pytest.mark.parametrize("name", [*map(_case, WITH_EXAMPLES)])
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # an example may write
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    results = doctest.testmod(importlib.import_module(name), optionflags=flags)
    assert results.attempted
    assert not results.failed, "see the report above"


@pytest.mark.parametrize(
    "name",
    ["layers", "encoders", "fusion", "objectives", "methods", "augmentations", "testing"],
)
def test_public_classes_and_functions_have_an_example(name):
    package = importlib.import_module(f"mmjax.{name}")
    public = [getattr(package, key) for key in package.__all__]
    documented = [x for x in public if inspect.isclass(x) or inspect.isfunction(x)]
    assert not [x.__name__ for x in documented if ">>>" not in x.__doc__]


@pytest.mark.parametrize(
    "name",
    [
        *("api", "errors", "tasks", "augmentations.rows", "metrics.scoring", "metrics.own"),
        *("data.coerce", "data.table_columns", "data.targets", "data.splits", "data.codings"),
        *("data.ragged", "data.scale", "training.recipe", "training.sizes", "training.sampling"),
        *("training.class_weights", "runs.settings", "tasks.spoken_digits"),
        *("analysis.statistics", "analysis.attribution", "analysis.corruptions"),
    ],
)
def test_public_functions_have_an_example(name):
    module = importlib.import_module(f"mmjax.{name}")
    own = [x for x in vars(module).values() if getattr(x, "__module__", "") == module.__name__]
    exported = [getattr(module, key) for key in getattr(module, "__all__", ())] or own
    functions = [x for x in exported if inspect.isfunction(x) and x.__name__[0] not in "_<"]
    assert functions
    assert not [x.__name__ for x in functions if ">>>" not in x.__doc__]


@pytest.mark.parametrize("table", [FUSIONS, ENCODERS, OBJECTIVES, METHODS, AUGMENTATIONS])
def test_members_of_the_zoo_have_an_example(table):
    own = {key: x for key, x in table.items() if x.__module__.startswith("mmjax.")}
    assert own
    assert not [key for key, x in own.items() if ">>>" not in x.__doc__]
