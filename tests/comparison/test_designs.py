"""Designs: their known properties."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax.comparison.designs import _log_det, aliases, make_points
from mmjax.comparison.hadamard import hadamard
from mmjax.errors import UsageError

LEVELS = st.lists(st.integers(2, 4), min_size=1, max_size=5)


@given(LEVELS, st.sampled_from(["one-at-a-time", "grid", "leave-one-out"]))
def test_points_differ_and_the_reference_is_first(levels, design):
    points = make_points(levels, design)
    assert len(set(points)) == len(points)
    assert all(0 <= k < n for point in points for k, n in zip(point, levels, strict=True))
    if design != "leave-one-out":
        assert points[0] == (0,) * len(levels)
    if design == "grid":
        assert len(points) == np.prod(levels)
    else:
        changed = [sum(a != b for a, b in zip(point, points[0], strict=True)) for point in points]
        assert changed == [0, *[1] * (len(points) - 1)]


@given(st.lists(st.integers(2, 3), min_size=2, max_size=6))
def test_a_fractional_design_determines_all_effects_with_the_base(levels):
    points = make_points(levels, "fractional")
    assert points[0] == (0,) * len(levels)
    assert len(set(points)) == len(points) <= np.prod(levels)
    assert np.isfinite(_log_det(points, levels))


@pytest.mark.parametrize("factors", [3, 7, 11, 12, 19, 23, 31])
def test_plackett_burman_designs_are_orthogonal(factors):
    points = np.array(make_points([2] * factors, "fractional"))
    assert len(points) == 4 * (factors // 4 + 1)
    signs = 1 - 2 * points
    np.testing.assert_array_equal(signs.sum(axis=0), 0)
    np.testing.assert_array_equal(signs.T @ signs, len(points) * np.eye(factors))


@pytest.mark.parametrize("size", [2, 4, 12, 20, 28, 36, 40, 44, 76])
def test_hadamard_matrices(size):
    matrix = hadamard(size)
    assert set(np.unique(matrix)) == {-1, 1}
    np.testing.assert_array_equal(matrix.T @ matrix, size * np.eye(size))
    np.testing.assert_array_equal(matrix[:, 0], 1)


def test_sizes_without_a_construction():
    assert [size for size in range(4, 112, 4) if hadamard(size) is None] == [52, 92, 100]
    assert hadamard(6) is None
    assert len(make_points([2] * 50, "fractional")) == 56


@given(st.lists(st.integers(2, 3), min_size=2, max_size=6), st.integers(2, 40))
def test_no_design_has_more_runs_than_asked_for(levels, runs):
    if runs <= sum(levels) - len(levels):
        return
    points = make_points(levels, "fractional", runs=runs)
    multiple = runs // 4 * 4 if max(levels) == 2 else runs
    assert len(points) in {min(runs, np.prod(levels)), multiple}
    assert np.isfinite(_log_det(points, levels))


def test_columns_of_a_large_matrix_that_repeat_themselves_are_no_design():
    assert len(make_points([2] * 5, "fractional", runs=28)) == 28


def test_the_exchange_finds_the_best_design_of_a_small_grid():
    levels, runs = [3, 2, 2], 6
    grid = list(product(*map(range, levels)))
    best = max(_log_det([grid[0], *rest], levels) for rest in combinations(grid[1:], runs - 1))
    found = make_points(levels, "fractional", runs=runs)
    assert _log_det(found, levels) == pytest.approx(best)


def test_the_same_design_every_time():
    assert make_points([3, 3, 2], "fractional") == make_points([3, 3, 2], "fractional")


def test_leave_one_out_keeps_components():
    assert make_points([2, 3], "leave-one-out", removes=[True, False]) == [(0, 2), (1, 2), (0, 0)]


@pytest.mark.parametrize(
    ("levels", "design", "runs", "match"),
    [
        ([2], "fractional", None, "at least two factors"),
        ([3, 3, 3], "fractional", 6, "runs: expected at least 7"),
        ([2, 2], "grid", 3, "a number of its own"),
    ],
)
def test_impossible_designs_are_refused(levels, design, runs, match):
    with pytest.raises(UsageError, match=match):
        make_points(levels, design, runs=runs)


def test_aliases_are_those_of_the_textbook():
    # In a half fraction of 2^3 every main effect is that of an interaction, and in twelve runs of
    # Plackett and Burman a third of every one that it is no part of.
    half = make_points([2] * 3, "fractional")
    assert aliases(half, list("abc"), [2] * 3) == [
        "The effect of a is mixed with b x c.",
        "The effect of b is mixed with a x c.",
        "The effect of c is mixed with a x b.",
    ]
    twelve = make_points([2] * 5, "fractional", runs=12)
    (first, *_) = aliases(twelve, list("abcde"), [2] * 5)
    assert first == "The effect of a is mixed with 6 interactions, each at most 0.33 of it."
    assert not aliases(make_points([2, 2], "grid"), list("ab"), [2, 2])
