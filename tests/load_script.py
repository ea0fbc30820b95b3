"""The scripts of experiments/ and benchmarks/ as modules."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]


def load_script(name, folder="experiments"):
    spec = importlib.util.spec_from_file_location(name, ROOT / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
