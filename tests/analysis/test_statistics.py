"""Intervals and tests against SciPy and closed forms, and by simulation against their promises."""

import numpy as np
import pytest
from representatives import slow
from scipy import stats
from simulated import simulate

from mmjax.analysis.statistics import (
    FEWEST,
    Spread,
    bootstrap,
    bootstrap_interval,
    cliques,
    compare_pair,
    detectable,
    estimate,
    holm,
    interquartile_interval,
    interquartile_mean,
    needed,
    performance_profile,
    power,
    rank,
    sign_flip_p,
    spread,
)
from mmjax.errors import UsageError

ROUNDS = 600


def tolerance(rate):
    """Three standard errors of a rate of so many rounds."""
    return 3 * np.sqrt(rate * (1 - rate) / ROUNDS)


def test_one_seed_and_groups_of_one_give_the_t_interval():
    values = np.random.default_rng(0).random((1, 50))
    found = estimate(values, np.arange(50))
    low, high = stats.t.interval(0.95, 49, values.mean(), stats.sem(values[0]))
    np.testing.assert_allclose(found, (values.mean(), stats.sem(values[0]), low, high))


def test_the_parts_of_the_variance_are_those_of_a_two_way_analysis():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 1)) + rng.normal(size=(1, 30)) + rng.normal(size=(4, 30))
    of_seed, of_group = values.mean(1, keepdims=True), values.mean(0, keepdims=True)
    rest = values - of_seed - of_group + values.mean()
    mean_square = np.sum(rest**2) / (3 * 29)
    parts = spread(values, np.arange(30))
    assert parts.both == pytest.approx(mean_square / 120)
    half_a_row = np.square(values - np.median(of_group)).mean() / 30**2 / 4
    assert parts.seeds == pytest.approx((of_seed.var(ddof=1) + half_a_row) / 4)
    assert parts.groups == pytest.approx((4 * of_group.var(ddof=1) - mean_square) / 120)


def test_copies_of_rows_in_a_group_tell_nothing_new():
    values, group = np.random.default_rng(2).random((3, 40)), np.arange(40)
    twice = np.repeat(values, 2, axis=1)
    np.testing.assert_allclose(
        estimate(twice, np.repeat(group, 2)), estimate(values, group), rtol=1e-9
    )
    assert estimate(twice, np.arange(80)).error < estimate(values, group).error


def test_numbers_of_groups_and_their_order_are_names_only():
    values, group = np.random.default_rng(3).random((2, 30)), np.repeat(np.arange(10), 3)
    order = np.random.default_rng(4).permutation(30)
    np.testing.assert_allclose(
        estimate(values[:, order], 7 - 3 * group[order]), estimate(values, group)
    )


def test_variance_at_the_numbers_at_hand_is_the_total():
    parts = spread(np.random.default_rng(5).random((3, 40)), np.arange(40))
    assert parts.at(3, 40)[:2] == pytest.approx(parts[:2])
    assert parts.at(6, 80).total < parts.total
    assert parts.at(6, 80).reach(0.95) < parts.reach(0.95)


def test_no_part_of_the_variance_is_zero_by_luck():
    """Nothing differs, all differs alike, seeds agree exactly: each has an interval that is one."""
    group = np.arange(50)
    few, same = np.zeros((2, 50)), np.ones((2, 50))
    few[:, :2] = 1
    for values in (few, same, 0 * same, few[:1], same[:1]):
        parts = spread(values, group)
        assert parts.groups > 0
        assert parts.seeds > 0 or len(values) == 1
    # Three of fifty rows, the rule of three; equal seeds may differ by half a row.
    least = stats.t.ppf(0.975, 49) * np.sqrt(3 * 50 / 49) / 50
    assert spread(0 * same[:1], group).reach(0.95) == pytest.approx(least)
    assert spread(same, group).seeds == pytest.approx(0.5**2 / 50**2 / 2)


def test_groups_of_unequal_size_count_for_fewer():
    group = np.repeat(np.arange(4), [1, 1, 1, 5])
    values = np.random.default_rng(0).normal(size=(2, 8))
    assert spread(values, group).num_groups == pytest.approx(8**2 / (3 + 25))
    assert spread(values, np.arange(8)).num_groups == pytest.approx(8)


def test_spreads_of_many_are_those_of_each():
    values, group = np.random.default_rng(0).normal(size=(5, 3, 20)), np.arange(20) // 2
    many = spread(values, group)
    for index, each in enumerate(values):
        alone = spread(each, group)
        np.testing.assert_allclose([part[index] for part in many[:3]], alone[:3])
        assert many.reach(0.99)[index] == pytest.approx(alone.reach(0.99))


def test_one_group_is_refused():
    with pytest.raises(UsageError, match="group: expected two groups or more, got 1"):
        estimate(np.ones((2, 5)), np.zeros(5, int))


def accuracy_of(of_seed=0.1, of_group=0.4, skill=0.0):
    """The true accuracy of ``simulate``."""
    return stats.norm.cdf((1 + skill) / np.sqrt(2 + of_seed**2 + of_group**2))


@pytest.mark.parametrize(("seeds", "of_seed"), [(1, 0.0), (3, 0.2), (8, 0.2)])
def test_intervals_cover_the_truth_as_often_as_they_say(seeds, of_seed):
    hits = 0
    for round_ in range(ROUNDS):
        rng = np.random.default_rng((seeds, round_))
        answers, group = simulate(rng, seeds=seeds, of_seed=of_seed)
        found = estimate(answers[0], group)
        hits += found.low <= accuracy_of(of_seed) <= found.high
    assert hits / ROUNDS >= 0.95 - tolerance(0.95)


@pytest.mark.slow
def test_the_bootstrap_interval_covers_for_the_models_at_hand():
    hits = 0
    for round_ in range(ROUNDS):
        answers, group = simulate(np.random.default_rng(round_), of_seed=0.0)
        low, high = bootstrap_interval(answers[0].mean(axis=0), group, num_resamples=300)
        hits += low <= accuracy_of(of_seed=0.0) <= high
    # The percentiles of 300 resamples, of 200 groups, lose about one point.
    assert hits / ROUNDS == pytest.approx(0.945, abs=tolerance(0.95))


@pytest.mark.parametrize(("seeds", "of_seed"), [slow(1, 0.0), slow(3, 0.0), (3, 0.3), slow(8, 0.3)])
def test_copies_of_a_strategy_are_seldom_told_apart(seeds, of_seed):
    false = 0
    for round_ in range(ROUNDS):
        rng = np.random.default_rng((seeds, round_))
        (first, second), group = simulate(rng, seeds=seeds, of_seed=of_seed)
        false += judge(first - second, group) < 0.05
    assert false / ROUNDS <= 0.05 + tolerance(0.05)


@pytest.mark.parametrize(
    ("seeds", "of_seed", "gap"), [(1, 0.0, 0.4), slow(3, 0.1, 0.6), slow(8, 0.1, 0.2)]
)
def test_planted_differences_are_seen_as_often_as_the_power_says(seeds, of_seed, gap):
    seen, parts = 0, []
    for round_ in range(ROUNDS):
        rng = np.random.default_rng(round_)
        (first, second), group = simulate(rng, gap=gap, seeds=seeds, of_seed=of_seed)
        seen += judge(first - second, group) < 0.05
        parts.append(spread(first - second, group))
    truth = accuracy_of(skill=gap, of_seed=of_seed) - accuracy_of(of_seed=of_seed)
    stated = power(Spread(*np.mean(parts, axis=0)), truth)
    assert 0.4 < stated < 0.95  # or the test could not tell
    assert seen / ROUNDS == pytest.approx(stated, abs=0.03 + tolerance(stated))


def test_without_a_difference_the_power_is_at_most_the_level():
    for seeds, groups in [(2, 30), (3, 200), (10, 2000)]:
        assert power(Spread(0.0, 1.0, 0.0, 1, groups), 0.0) == pytest.approx(0.05, abs=0.003)
        assert power(Spread(1.0, 0.0, 0.0, seeds, groups), 0.0) == pytest.approx(0.05, abs=0.003)
        assert power(Spread(1.0, 1.0, 0.0, seeds, groups), 0.0) < 0.05


def test_needed_numbers_have_the_power():
    rng = np.random.default_rng(0)
    (first, second), group = simulate(rng, gap=0.1, seeds=5, groups=200, of_seed=0.2)
    pair = compare_pair(first, second, group)
    seeds, groups = needed(pair)
    of = lambda seeds, groups: power(pair.spread.at(seeds, groups), pair.difference.mean)
    assert of(5, groups) >= 0.8 > of(5, groups - 1)
    assert seeds > 5
    assert of(seeds, 200) >= 0.8 > of(seeds - 1, 200)


def test_no_number_of_groups_helps_where_few_seeds_decide():
    rng = np.random.default_rng(0)
    (first, second), group = simulate(rng, gap=0.1, groups=2000, of_seed=0.4)
    assert needed(compare_pair(first, second, group)).groups is None


def test_no_number_of_seeds_helps_where_the_groups_decide():
    values = np.tile(np.random.default_rng(0).normal(size=50), (3, 1))
    pair = compare_pair(values, np.zeros_like(values), np.arange(50))
    assert needed(pair).seeds is None
    assert needed(pair).groups > 50


def judge(difference, group):
    """The p of ``compare_pair``, without the cost of its bootstrap."""
    return compare_pair(difference, np.zeros_like(difference), group).p


def test_strategies_that_agree_everywhere_are_not_distinguishable():
    answers, group = np.ones((3, 40)), np.arange(40)
    pair = compare_pair(answers, answers, group)
    assert pair.p == 1
    assert pair.verdict() == "not distinguishable"


def test_a_strategy_that_is_always_right_is_better():
    right, wrong = np.ones((3, 40)), np.zeros((3, 40))
    pair = compare_pair(right, wrong, np.arange(40))
    assert pair.verdict() == "better"
    assert compare_pair(wrong, right, np.arange(40)).verdict() == "worse"


def test_the_sides_of_a_pair_are_symmetric():
    (first, second), group = simulate(np.random.default_rng(7), gap=0.2)
    there, back = compare_pair(first, second, group), compare_pair(second, first, group)
    assert there.p == pytest.approx(back.p)
    assert there.difference.mean == pytest.approx(-back.difference.mean)


@pytest.mark.parametrize(("wins", "losses"), [(3, 0), (5, 0), (7, 2), (4, 4), (12, 3)])
def test_signs_of_ones_are_mid_p_mcnemar(wins, losses):
    sums = np.array([0.1] * wins + [-0.1] * losses + [0] * 7)
    law = stats.binom(wins + losses, 0.5)
    most = max(wins, losses)
    want = min(2 * (law.sf(most) + law.pmf(most) / 2), 1)
    if wins == losses:  # both tails have the middle
        want = 1 - law.pmf(most) / 2
    assert sign_flip_p(sums) == pytest.approx(want)


def test_signs_of_any_sums_are_a_permutation_test():
    sums = np.random.default_rng(0).normal(0.5, size=11)
    found = stats.permutation_test(
        (sums,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    assert sign_flip_p(sums) == pytest.approx(found.pvalue, abs=2 / 2**11)
    assert sign_flip_p(np.ones(20)) == 0.5**20


def test_a_verdict_needs_five_rows_that_differ():
    for wins in (4, 5):
        better = np.zeros((3, 200))
        better[:, :wins] = 1
        pair = compare_pair(better, np.zeros_like(better), np.arange(200))
        assert pair.differing == wins
        assert (pair.verdict() == "better") == (wins >= FEWEST)
        assert (pair.difference.low > 0) == (wins >= FEWEST)


@pytest.mark.parametrize("seeds", [2, slow(3)])
def test_luck_is_never_certain(seeds):
    """Fair coins on few rows: with parts of the variance at zero, p was 1e-12 in one of ten."""
    rng, sure = np.random.default_rng(0), 0
    for _ in range(ROUNDS):
        first, second = rng.integers(0, 2, (2, seeds, 12))
        sure += compare_pair(first, second, np.arange(12)).p < 0.001
    assert sure / ROUNDS <= 0.0015 + tolerance(0.0015)


def test_the_detectable_difference_has_the_power():
    parts = Spread(1e-4, 2e-4, 5e-5, 3, 200)
    for alpha in (0.05, 0.005):
        assert power(parts, detectable(parts, alpha), alpha) == pytest.approx(0.8)
    assert detectable(parts.at(5, 200)) < detectable(parts)


def test_holm_against_its_definition():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])
    assert len(holm([])) == 0


def test_bootstrap_has_the_error_of_the_mean():
    values, group = np.random.default_rng(0).random((2, 500)), np.arange(500)
    means = bootstrap(values, group)
    assert means.shape == (2000, 2)
    np.testing.assert_allclose(means.std(axis=0), stats.sem(values, axis=1), rtol=0.1)
    np.testing.assert_array_equal(means, bootstrap(values, group))
    # SciPy's own, on ungrouped rows.
    own = stats.bootstrap((values[0],), np.mean, n_resamples=2000, method="percentile", rng=1)
    np.testing.assert_allclose(
        bootstrap_interval(values[0], group), own.confidence_interval, atol=0.003
    )


def test_bootstrap_weighs_groups_by_their_rows():
    values, group = np.array([1.0, 1, 1, 0]), np.array([0, 0, 0, 1])
    means = bootstrap(values, group, num_resamples=4000)
    # Both groups (half of the time), the first twice, the second twice.
    np.testing.assert_allclose(np.unique(means), [0, 0.75, 1])
    assert np.mean(means == 0.75) == pytest.approx(0.5, abs=0.03)


def test_ranks_against_scipy_and_the_published_example():
    # Demsar (2006), table 6: fourteen data sets, four classifiers.
    auc = np.array(
        [
            [0.763, 0.768, 0.771, 0.798],
            [0.599, 0.591, 0.590, 0.569],
            [0.954, 0.971, 0.968, 0.967],
            [0.628, 0.661, 0.654, 0.657],
            [0.882, 0.888, 0.886, 0.898],
            [0.936, 0.931, 0.916, 0.931],
            [0.661, 0.668, 0.609, 0.685],
            [0.583, 0.583, 0.563, 0.625],
            [0.775, 0.838, 0.866, 0.875],
            [1.000, 1.000, 1.000, 1.000],
            [0.940, 0.962, 0.965, 0.962],
            [0.619, 0.666, 0.614, 0.669],
            [0.972, 0.981, 0.9751, 0.975],
            [0.957, 0.978, 0.946, 0.970],
        ]
    )
    found = rank(auc)
    np.testing.assert_allclose(found.mean_ranks, [3.143, 2.000, 2.893, 1.964], atol=1e-3)
    assert found.critical_difference == pytest.approx(1.25, abs=0.01)
    assert found.p == pytest.approx(stats.friedmanchisquare(*auc.T).pvalue)


def test_ranks_of_equal_strategies():
    found = rank(np.ones((3, 4)))
    np.testing.assert_allclose(found.mean_ranks, 2.5)
    assert found.p == 1
    with pytest.raises(UsageError, match="two tasks and three strategies"):
        rank(np.ones((1, 4)))


def test_cliques_are_the_largest_runs():
    assert cliques(np.array([1.0, 1.5, 2.2, 4.0]), 1.0) == [(0, 1), (1, 2)]
    assert cliques(np.array([1.0, 1.5, 2.0]), 1.0) == [(0, 2)]
    assert cliques(np.array([1.0, 3.0]), 1.0) == []


def test_interquartile_mean_drops_a_quarter_at_either_end():
    scores = np.array([[0.0, 1, 2, 3], [4, 5, 6, 100]])
    assert interquartile_mean(scores) == pytest.approx((2 + 3 + 4 + 5) / 4)
    low, high = interquartile_interval(scores)
    assert low <= interquartile_mean(scores) <= high
    assert interquartile_interval(np.ones((2, 3))) == (1, 1)


def test_performance_profile_falls_from_one_to_zero():
    profile = performance_profile(np.array([[0.2, 0.4], [0.6, 0.8]]), [0.0, 0.4, 0.7, 1.0])
    np.testing.assert_allclose(profile, [1, 0.5, 0.25, 0])


def test_signs_of_any_scale_count_alike_and_what_is_no_number_is_refused():
    assert sign_flip_p(np.full(8, 1e4 / 3)) == sign_flip_p(np.ones(8)) == 2 * 0.5**8 / 2
    with pytest.raises(UsageError, match="finite"):
        sign_flip_p(np.array([np.nan, 1, 1, 1, 1, 1, 1]))


def test_what_cannot_vary_has_no_interval():
    with pytest.raises(UsageError, match="two groups"):
        bootstrap_interval(np.ones(3), np.zeros(3, int))
    with pytest.raises(UsageError, match="two seeds"):
        interquartile_interval(np.array([[0.5], [0.6]]))
