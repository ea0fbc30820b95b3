"""Which members of a table the fast tests take; the slow ones take all the others."""

import pytest

# One of each level, and one that has a method of its own.
FUSIONS = ("early", "concat", "gmu", "mmtm", "late_mean", "mvae")
METHODS = ("joint", "ogm_ge", "two_stage")


def representatives(table, chosen):
    """The names in a table as parameters of a test, those that are not chosen marked slow."""
    assert set(chosen) <= set(table)
    slow = lambda name: pytest.param(name, marks=pytest.mark.slow)
    return [name if name in chosen else slow(name) for name in table]
