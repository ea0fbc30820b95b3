"""The correction for folds that share training rows."""

import numpy as np
from scipy import stats

from mmjax.analysis.statistics import Folds, compare_pair, correct, estimate, fold_error, widen


def draw(seed=0, repeats=2, seeds=3, rows=60, folds=5):
    rng = np.random.default_rng(seed)
    fold = np.stack([rng.permutation(np.arange(rows) % folds) for _ in range(repeats)])
    return rng.normal(size=(repeats * seeds, rows)) + 0.1, Folds(fold, share=0.3)


def test_the_error_is_that_of_nadeau_and_bengio():
    values, folds = draw()
    means = [
        values[3 * repeat : 3 * repeat + 3, folds.fold[repeat] == index].mean()
        for repeat in range(2)
        for index in range(5)
    ]
    want = np.sqrt((1 / 10 + 0.3) * np.var(means, ddof=1))
    np.testing.assert_allclose(fold_error(values, folds), want)
    found = widen(estimate(values, np.arange(60)), values, folds)
    reach = stats.t.ppf(0.975, 9) * want
    assert found.low <= found.mean - 0.999 * reach
    assert found.high >= found.mean + 0.999 * reach


def test_p_is_that_of_students_t_unless_the_rows_say_less():
    values, folds = draw(seed=3)
    group = np.arange(60)
    plain = compare_pair(values, 0 * values, group)
    found = correct(plain, values, folds)
    t = values.mean() / fold_error(values, folds)
    want = 2 * stats.t.sf(abs(t), 9)
    np.testing.assert_allclose(found.p, max(want, plain.p))
    assert (found.p < 0.05) == (found.difference.low > 0 or found.difference.high < 0)


def test_alike_strategies_have_no_difference():
    values, folds = draw()
    pair = correct(compare_pair(values, values, np.arange(60)), 0 * values, folds)
    assert pair.p == 1
    assert pair.difference.mean == 0
