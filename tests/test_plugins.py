"""Members of another package: found by their entry points, checked, listed and compared."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import jax.numpy as jnp
import pytest
from small import make_task

from mmjax import registry as table
from mmjax.errors import UsageError
from mmjax.fusion import FUSIONS
from mmjax.registry import Table
from mmjax.runs import zoo
from mmjax.runs.inspect import add_sizes
from mmjax.runs.zoo import list_zoo, zoo_tables
from mmjax.testing import check_augmentation, check_encoder, check_fusion, check_objective

PACKAGE = Path(__file__).parent / "example_package"
OFFERED = {
    "fusions": "squared_sum",
    "encoders": "moments",
    "objectives": "hinge",
    "methods": "gradient_noise",
    "augmentations": "gain",
    "tasks": "moons",
}


@pytest.fixture(scope="module")
def run_mmjax(tmp_path_factory):
    """Runs the command in an environment where the package is installed."""
    folder = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(PACKAGE, folder / "source")  # building leaves files behind
    site = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install = [*pip, "--no-deps", "--no-build-isolation", "--target", str(site), str(source)]
    subprocess.run(install, check=True)

    def run(*words):
        command = [sys.executable, "-m", "mmjax", *words]
        path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
        env = os.environ | {"PYTHONPATH": path, "COLUMNS": "200"}
        done = subprocess.run(
            command, capture_output=True, text=True, env=env, cwd=folder, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_an_installed_package_appears_in_the_zoo(run_mmjax):
    zoo = json.loads(run_mmjax("zoo", "--json"))
    for kind, name in OFFERED.items():
        entry = next(entry for entry in zoo[kind] if entry["name"] == name)
        assert entry["reference"], entry


@pytest.mark.slow
def test_an_installed_package_takes_part_in_a_comparison(run_mmjax):
    flags = (
        "--task moons --fusions squared_sum,concat --encoders vertical=moments --objective hinge "
        "--method gradient_noise --augment vertical=gain+noise --steps 60 --seeds 2 --out out"
    )
    printed = run_mmjax("compare", *flags.split())
    assert "squared_sum" in printed
    assert "moons" in printed


@pytest.mark.slow
def test_its_members_keep_the_contracts(monkeypatch):
    monkeypatch.syspath_prepend(PACKAGE)
    import mmjax_example

    check_fusion(mmjax_example.SquaredSumFusion(out_dim=3))
    check_encoder(mmjax_example.Moments(), jnp.arange(24.0).reshape(2, 4, 3) ** 1.5)
    check_objective(mmjax_example.hinge)
    check_augmentation(mmjax_example.Gain(), jnp.arange(24.0).reshape(2, 4, 3))


class _FakeEntry(EntryPoint):
    @property
    def dist(self):
        return EntryPoint(name="broken-package", value="", group="")


def offer(monkeypatch, name, *values):
    entries = [_FakeEntry(name=name, value=value, group="mmjax.fusions") for value in values]
    monkeypatch.setattr(table, "entry_points", lambda group: entries)


@pytest.mark.parametrize(
    ("name", "values", "problem"),
    [
        ("ours", ["b:B"], "b:B is ignored: mmjax.fusions already has 'ours'"),
        ("theirs", ["c:C", "b:B"], "c:C is ignored: mmjax.fusions already has 'theirs'"),
        ("a_only", ["b:B"], "'a_only' cannot name a member"),
        ("../x", ["b:B"], "'../x' cannot name a member"),
    ],
)
def test_names_that_are_taken_or_no_names_are_ignored(monkeypatch, name, values, problem):
    offer(monkeypatch, name, *values)
    with pytest.warns(UserWarning, match=re.escape(problem)):
        names = list(Table("mmjax.fusions", {"ours": 1}))
    assert names == ["ours", *(["theirs"] if name == "theirs" else [])]


def test_a_package_that_cannot_be_imported_is_named_when_it_is_looked_up(monkeypatch):
    offer(monkeypatch, "theirs", "no_such_module:Fusion")
    fusions = Table("mmjax.fusions", {"ours": 1})
    assert list(fusions) == ["ours", "theirs"]
    with pytest.raises(UsageError, match=r"'theirs' of mmjax.fusions.*broken-package"):
        fusions["theirs"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        ("raise BaseException('oh')", "BaseException: oh"),
    ],
)
def test_a_broken_package_is_reported_and_the_zoo_is_listed(code, error, monkeypatch, tmp_path):
    (tmp_path / "careless.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    offer(monkeypatch, "theirs", "careless:Fusion")
    fusions = Table("mmjax.fusions", {"concat": FUSIONS["concat"]})
    monkeypatch.setattr(zoo, "TABLES", {"fusions": fusions})
    concat, theirs = list_zoo()["fusions"]
    assert concat["name"] == "concat"
    assert theirs["broken"]
    assert f"{error}. Repair or remove" in theirs["summary"]
    add_sizes(theirs, None)  # has none to add
    assert list(zoo_tables({"fusions": [theirs]}))


def test_a_fusion_that_cannot_be_built_is_reported_and_has_no_sizes(monkeypatch):
    def explode(out_dim):
        raise ZeroDivisionError("of no use")

    monkeypatch.setitem(FUSIONS._own, "theirs", explode)
    entry = {"name": "theirs", "summary": "What it is."}
    add_sizes(entry, make_task())
    assert entry["summary"].startswith("What it is. No sizes: ")
    assert "ZeroDivisionError: of no use" in entry["summary"]
    assert "params" not in entry


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "import no_such_module"])
def test_what_cannot_be_imported_is_left_out_of_all_with_a_warning(code, monkeypatch, tmp_path):
    (tmp_path / "leaving.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    offer(monkeypatch, "theirs", "leaving:Fusion")
    fusions = Table("mmjax.fusions", {"ours": 1})
    with pytest.warns(UserWarning, match="Left out: entry point 'theirs'"):
        assert fusions.usable() == ("ours",)


def test_own_members_come_before_others_of_the_same_name(monkeypatch):
    offer(monkeypatch, "ours", "math:pi")
    fusions = Table("mmjax.fusions", {"ours": 1})
    with pytest.warns(UserWarning, match="already has 'ours'"):
        assert dict(fusions) == {"ours": 1}


def test_a_table_is_a_mapping(monkeypatch):
    offer(monkeypatch, "theirs", "math:pi")
    fusions = Table("mmjax.fusions", {"ours": 1})
    assert "theirs" in fusions
    assert "other" not in fusions
    assert fusions.get("other") is None
    assert len(fusions) == 2
    assert fusions["theirs"] > 3
