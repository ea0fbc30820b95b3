"""Mean and standard deviation over training rows."""

import numpy as np
import pytest

from mmjax.data.scale import find_input_scale, find_scale


@pytest.mark.parametrize("unit", [1e-13, 1e-6, 1.0, 1e12])
def test_features_are_scaled_in_any_unit(unit):
    values = (3 + np.random.default_rng(0).normal(size=(200, 4))).astype(np.float32)
    one = find_input_scale(values, np.ones(200, bool))
    other = find_input_scale((values * np.float32(unit)), np.ones(200, bool))
    np.testing.assert_allclose(other.mean, one.mean * unit, rtol=1e-5)
    np.testing.assert_allclose(other.deviation, one.deviation * unit, rtol=1e-5)
    np.testing.assert_allclose(one.deviation, values.std(axis=0, dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, 7.0, -3.3e-9, 1.6e9])
def test_what_does_not_vary_has_deviation_one(constant):
    values = np.full((999, 1), constant, np.float32)
    assert find_input_scale(values, np.ones(999, bool)).deviation.tolist() == [1]
    assert find_scale(np.full((9, 1), constant)).deviation.tolist() == [1]


def test_rows_that_lack_the_modality_do_not_count():
    values = np.array([[1.0], [3.0], [np.nan], [1e30]], np.float32)
    scale = find_input_scale(values, np.array([True, True, False, False]))
    assert (scale.mean.tolist(), scale.deviation.tolist()) == ([2], [1])


def test_a_scale_restores_what_it_has_standardised():
    values = np.random.default_rng(1).normal(size=(50, 3)) * [1, 10, 100] + 7
    scale = find_scale(values)
    np.testing.assert_allclose(scale.restore(scale.standardise(values)), values, atol=1e-4)
