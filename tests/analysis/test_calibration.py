"""Calibration against scikit-learn, closed forms and simulations with known answers."""

from itertools import permutations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from mmjax.analysis.calibration import (
    TEMPERATURES,
    brier_score,
    calibration_rows,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    risk_coverage,
)
from mmjax.errors import DataError
from mmjax.report.figures.calibration_figures import reliability_figure, selective_figure


def simulate(rows, classes=4, scale=2.0, seed=0):
    """Logits, and targets drawn from their softmax: perfectly calibrated."""
    rng = np.random.default_rng(seed)
    logits = scale * rng.normal(size=(rows, classes))
    p = softmax(logits, axis=1)
    target = (rng.random((rows, 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1)
    return logits, target


def two_class(confidence, right):
    """Logits of rows that choose class 0 with a confidence, and targets."""
    p = np.asarray(confidence, np.float64)
    return np.log(np.stack([p, 1 - p], axis=1)), np.where(right, 0, 1)


def test_the_error_of_a_diagram_worked_out_by_hand():
    logits, target = two_class([0.9] * 4 + [0.6] * 4, [1, 1, 1, 1, 1, 1, 0, 0])
    for equal_mass in (False, True):
        bins = reliability(logits, target, 10, equal_mass=equal_mass)
        assert bins.error == pytest.approx(0.5 * 0.1 + 0.5 * 0.1)
        filled = bins.count > 0
        assert bins.count[filled].tolist() == [4, 4]
        np.testing.assert_allclose(bins.confidence[filled], [0.6, 0.9])
        np.testing.assert_allclose(bins.accuracy[filled], [0.5, 1.0])
        assert np.isnan(bins.accuracy[~filled]).all()


@pytest.mark.parametrize(("equal_mass", "strategy"), [(False, "uniform"), (True, "quantile")])
def test_bins_are_those_of_scikit_learn(equal_mass, strategy):
    logits, target = simulate(500)
    got = reliability(logits, target, 12, equal_mass=equal_mass)
    p = softmax(logits, axis=1)
    right = p.argmax(axis=1) == target
    accuracy, confidence = calibration_curve(right, p.max(axis=1), n_bins=12, strategy=strategy)
    filled = got.count > 0
    np.testing.assert_allclose(got.accuracy[filled], accuracy)
    np.testing.assert_allclose(got.confidence[filled], confidence)
    assert got.count.sum() == 500


def test_bins_of_equal_mass_hold_as_many_rows_and_keep_ties_together():
    logits, target = simulate(300)
    counts = reliability(logits, target, 10, equal_mass=True).count
    assert counts.max() - counts.min() <= 1
    tied, target = two_class([0.7] * 60 + [0.8, 0.9], np.arange(62) % 2)
    order = np.random.default_rng(0).permutation(62)
    first = reliability(tied, target, 5, equal_mass=True)
    again = reliability(tied[order], target[order], 5, equal_mass=True)
    assert first.count.max() >= 60
    np.testing.assert_allclose(first.accuracy, again.accuracy)


def test_a_calibrated_model_has_the_error_of_its_sample():
    """A bin's gap is normal with variance p (1 - p) / n, its mean size sqrt(2 / pi) as large."""
    errors, expected = [], []
    for seed in range(60):
        logits, target = simulate(1500, seed=seed)
        bins = reliability(logits, target, 10)
        filled = bins.count > 20
        variance = bins.confidence * (1 - bins.confidence) * bins.count
        errors.append(bins.error)
        expected.append(np.sqrt(2 / np.pi * variance[filled]).sum() / bins.count.sum())
    assert np.mean(errors) == pytest.approx(np.mean(expected), rel=0.1)


def test_an_overconfident_model_has_the_error_that_was_put_in():
    """A logit of 2 says 88 %, and 60 % are right."""
    right = np.arange(1000) % 5 < 3
    logits = np.tile([2.0, 0.0], (1000, 1))
    error = reliability(logits, np.where(right, 0, 1)).error
    assert error == pytest.approx(1 / (1 + np.exp(-2)) - 0.6)


@pytest.mark.parametrize("classes", [2, 5])
def test_scores_are_those_of_scikit_learn(classes):
    logits, target = simulate(200, classes)
    p, labels = softmax(logits, axis=1), range(classes)
    assert negative_log_likelihood(logits, target) == pytest.approx(
        log_loss(target, p, labels=labels)
    )
    want = brier_score_loss(target, p, labels=list(labels), scale_by_half=False)
    assert brier_score(logits, target) == pytest.approx(want)


def test_a_confident_mistake_has_the_largest_brier_score():
    assert brier_score(np.array([[1000.0, -1000.0]], np.float32), np.array([1])) == 2.0


def test_the_temperature_of_a_calibrated_model_is_one_and_scales_with_its_logits():
    logits, target = simulate(20_000)
    assert fit_temperature(logits, target) == pytest.approx(1, rel=0.03)
    logits, target = logits[:500], target[:500]
    base = fit_temperature(logits, target)
    for factor in (0.2, 7.0):
        assert fit_temperature(factor * logits, target) == pytest.approx(factor * base, rel=1e-4)


def test_at_the_temperature_the_loss_is_flat():
    """There the mean logit of the target is the mean logit that the model expects."""
    logits, target = simulate(400, scale=3.0, seed=3)
    p = softmax(logits / fit_temperature(logits, target), axis=1)
    chosen = logits[np.arange(400), target]
    assert chosen.mean() == pytest.approx((p * logits).sum(axis=1).mean(), abs=1e-4)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_the_temperature_of_separable_rows_is_the_lower_bound(scale):
    logits, _ = simulate(50)
    assert fit_temperature(scale * logits, logits.argmax(axis=1)) == TEMPERATURES[0]


def test_the_temperature_of_rows_that_are_always_wrong_is_the_upper_bound():
    logits, _ = simulate(50)
    assert fit_temperature(logits, logits.argmin(axis=1)) == pytest.approx(TEMPERATURES[1])


def test_the_curve_is_the_mean_over_all_orders_of_ties():
    confidence = np.array([0.9, 0.7, 0.7, 0.7, 0.6])
    logits, target = two_class(confidence, [1, 1, 0, 0, 1])
    right = target == 0
    curves = [
        np.cumsum(right[list(order)]) / np.arange(1, 6)
        for order in permutations(range(5))
        if (np.diff(confidence[list(order)]) <= 0).all()
    ]
    got = risk_coverage(logits, target)
    assert len(curves) == 6
    np.testing.assert_allclose(got.accuracy, np.mean(curves, axis=0))
    np.testing.assert_allclose(got.coverage, [0.2, 0.4, 0.6, 0.8, 1])
    order = [3, 0, 4, 2, 1]
    np.testing.assert_allclose(risk_coverage(logits[order], target[order]).accuracy, got.accuracy)


def test_areas_of_the_best_the_blind_and_the_worst_order():
    blind = risk_coverage(*two_class([0.8] * 10, np.arange(10) < 7))
    assert blind.area == pytest.approx(0.3)
    assert blind.accuracy[-1] == pytest.approx(0.7)
    falling = np.linspace(0.9, 0.6, 10)
    best = risk_coverage(*two_class(falling, np.arange(10) < 7)).area
    assert best == pytest.approx((1 / 8 + 2 / 9 + 3 / 10) / 10)
    assert risk_coverage(*two_class(falling, np.arange(10) >= 3)).area > 0.3


def test_rows_have_the_scores_before_and_after_scaling_on_validation():
    logits, target = simulate(400)
    both, half = np.stack([3 * logits, logits]), slice(200)
    rows = calibration_rows(both[:, half], target[half], both[:, 200:], target[200:], seeds=(5, 6))
    assert [(row["seed"], row["scaled"]) for row in rows] == [
        (5, False),
        (5, True),
        (6, False),
        (6, True),
    ]
    raw, scaled, plain, again = rows
    assert raw["temperature"] == 1.0
    assert scaled["temperature"] == pytest.approx(fit_temperature(3 * logits[half], target[half]))
    for name in ("ece", "ece_equal_mass", "brier", "nll"):
        assert scaled[name] < raw[name]
        assert scaled[name] == pytest.approx(again[name], rel=1e-3)
    assert plain["nll"] == pytest.approx(negative_log_likelihood(logits[200:], target[200:]))
    assert all(isinstance(row["ece"], float) and isinstance(row["aurc"], float) for row in rows)


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        (np.zeros((2, 3, 4)), np.zeros(2, int), "logits and target: expected"),
        (np.zeros((2, 3)), np.zeros(3, int), "logits and target: expected"),
        (np.zeros((0, 3)), np.zeros(0, int), "at least one row"),
        (np.array([[np.nan, 0], [0, 1]]), np.zeros(2, int), r"NaN or infinity in row 0\."),
        (np.zeros((2, 3)), np.array([0, 3]), "classes from 0 to 2, got values from 0 to 3"),
        (np.zeros((2, 3)), np.array([-1, 0]), "got values from -1 to 0"),
    ],
)
def test_arrays_that_do_not_fit_are_named(logits, target, message):
    for score in (reliability, brier_score, fit_temperature, risk_coverage):
        with pytest.raises(DataError, match=message):
            score(logits, target)


def test_the_reliability_figure_pools_seeds_and_shades_the_gap():
    logits, target = simulate(300)
    figure = reliability_figure({"one": logits[None], "two": np.stack([logits] * 2)}, target)
    assert [axes.get_title().split("\n")[0] for axes in figure.axes[:2]] == ["one", "two"]
    bins = reliability(logits, target)
    filled = bins.count > 0
    for axes, times in zip(figure.axes[2:], (1, 2), strict=True):
        heights = [bar.get_height() for bar in axes.patches]
        np.testing.assert_allclose(heights, times * bins.count[filled])
    shares, gaps = np.split(np.array(figure.axes[0].patches), 2)
    tops = [bar.get_y() + bar.get_height() for bar in gaps]
    np.testing.assert_allclose(tops, bins.confidence[filled])
    np.testing.assert_allclose([bar.get_height() for bar in shares], bins.accuracy[filled])
    assert f"ECE {100 * bins.error:.1f} %" in figure.axes[1].get_title()


def test_the_selective_figure_ends_at_the_accuracy():
    logits, target = simulate(300)
    figure = selective_figure({"one": np.stack([logits, 2 * logits])}, target)
    (line,) = figure.axes[0].get_lines()
    accuracy = 100 * (logits.argmax(axis=1) == target).mean()
    np.testing.assert_allclose(line.get_xydata()[-1], [100, accuracy])
    assert line.get_ydata()[10] > accuracy
