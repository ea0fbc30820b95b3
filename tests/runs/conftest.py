"""What the tests of run folders share, and leave as it is."""

import pytest
from commands import COMPARE, run


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """The folder of a comparison that was not disturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert run("compare", *COMPARE, "--out", out) == 0
    return out
