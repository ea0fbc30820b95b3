"""What is built can be installed, and does what the README says, away from the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LISTED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
FILES = LISTED.stdout.split()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FILES, reason="tells files of the project by git"),
]


def run(*command, cwd, **variables):
    env = os.environ | {name: str(value) for name, value in variables.items()}
    words = list(map(str, command))
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with a wheel and an sdist of the tracked files; nothing is downloaded."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    for name in FILES:
        if not name.startswith(("docs/", "benchmarks/")) and (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def scripts(wheel, tmp_path_factory):
    """The commands of a fresh environment with the wheel; its dependencies are lent by this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    paths = sysconfig.get_paths(vars={"base": folder, "platbase": folder})
    python = Path(paths["scripts"], "python")
    install = ("--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    run(sys.executable, "-m", "pip", *install, cwd=folder)
    lent = f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n"
    Path(paths["purelib"], "lent.pth").write_text(lent)  # last, or pip would find mmjax there
    where = run(python, "-c", "import mmjax; print(mmjax.__file__)", cwd=folder)
    assert Path(where.strip()).is_relative_to(folder)
    return Path(paths["scripts"])


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


@pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")
def test_a_wheel_may_bring_kernels_for_machines_without_a_compiler(built, tmp_path):
    source, out = built / "source", tmp_path / "out"
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", out, source)
    lent = {"PYTHONPATH": source, "MMJAX_WHEEL_KERNELS": "1"}
    run(sys.executable, *build, cwd=tmp_path, **lent)
    (wheel,) = out.iterdir()
    assert not wheel.stem.endswith("any")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path)
    ask = "import mmjax.layers.kernels as k; print(k.__file__, k.available(), k.version())"
    without = {"CXX": "none", "XDG_CACHE_HOME": tmp_path, "MMJAX_KERNELS": "1"}
    where, found, _ = run(sys.executable, "-c", ask, cwd=tmp_path, **without).split(maxsplit=2)
    assert Path(where).is_relative_to(tmp_path)
    assert found == "True"


def test_the_wheel_has_every_file_of_the_package(wheel):
    with zipfile.ZipFile(wheel) as file:
        packed = set(file.namelist())
    own = {name for name in FILES if name.startswith("mmjax/") and (ROOT / name).exists()}
    assert own <= packed
    assert "mmjax/py.typed" in packed
    assert not any(name.startswith(("tests", "benchmarks", "experiments")) for name in packed)


def test_the_sdist_has_the_tests(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} <= names
    assert {name for name in FILES if name.startswith("tests/")} <= names


def test_the_installed_wheel_passes_the_tests_of_the_sdist(built, scripts, tmp_path):
    """Some of them: those that read nothing but themselves."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as file:
        file.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    shutil.rmtree(unpacked / "mmjax")
    files = (
        "tests/layers/test_layers.py",
        "tests/data/test_targets.py",
        "tests/training/test_predict.py",
    )
    assert "passed" in run(scripts / "python", "-m", "pytest", "-n", "0", *files, cwd=unpacked)


def test_the_installed_wheel_compares(scripts, tmp_path):
    flags = "--task synthetic --options size=200 --batch-size 32 --steps 4 --seeds 1 --fusions sum"
    printed = run(scripts / "mmjax", "compare", *flags.split(), "--out", "run", cwd=tmp_path)
    assert "report.html" in printed
    assert (tmp_path / "run" / "report.html").exists()
