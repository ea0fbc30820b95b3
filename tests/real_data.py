"""Where tests find the real MNIST and Free Spoken Digit Dataset files."""

import os
from pathlib import Path

import pytest

FOLDER = Path(
    os.environ.get("MMJAX_DATA") or Path(__file__).parents[1] / ".." / "shared" / "data"
).resolve()

_there = (FOLDER / "mnist").is_dir() and (FOLDER / "fsdd").is_dir()
_lacking = f"no mnist/ and fsdd/ in {FOLDER}; name their folder in MMJAX_DATA"


def needs_real_data(test):
    """Marks a slow test of the real files, which is skipped where there are none."""
    return pytest.mark.slow(pytest.mark.skipif(not _there, reason=_lacking)(test))
