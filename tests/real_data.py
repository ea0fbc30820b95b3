"""Where tests find the real MNIST and Free Spoken Digit Dataset files."""

import os
from pathlib import Path

import pytest

FOLDER = Path(
    os.environ.get("MMJAX_DATA") or Path(__file__).parents[1] / ".." / "shared" / "data"
).resolve()

needs_real_data = pytest.mark.skipif(
    not (FOLDER / "mnist").is_dir() or not (FOLDER / "fsdd").is_dir(),
    reason=f"no mnist/ and fsdd/ in {FOLDER}; name their folder in MMJAX_DATA",
)
