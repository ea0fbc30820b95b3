"""A few seconds of benchmarks/fuzz.py, which finds nothing that is not a clear error."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"
needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="needs the extra fuzz"
)


@pytest.mark.slow
@needs_atheris
def test_fuzzing_finds_nothing(tmp_path):
    command = [sys.executable, str(SCRIPT), "wav", "--seconds", "2"]
    path = os.pathsep.join([str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, "--corpus", str(tmp_path / "corpus")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((tmp_path / "corpus").iterdir())) > 2  # it has found new code to run
