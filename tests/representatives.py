"""Which cases the fast tests take; the slow ones take all the others."""

import pytest

# Of fusions one of each level but the search: first that of inputs, last what takes longest.
FUSIONS = ("early", "concat", "gmu", "mmtm", "late_mean", "mvae")
METHODS = ("joint", "ogm_ge")


def slow(*values):
    """Parameters of a test, marked slow."""
    return pytest.param(*values, marks=pytest.mark.slow)


def representatives(table, chosen):
    """The names in a table as parameters of a test, those that are not chosen marked slow."""
    assert set(chosen) <= set(table)
    return [name if name in chosen else slow(name) for name in table]
