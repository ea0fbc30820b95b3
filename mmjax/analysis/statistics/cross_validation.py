"""The uncertainty of cross-validation, whose folds share training rows."""

from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from mmjax.analysis.statistics.intervals import Estimate
from mmjax.analysis.statistics.pairs import ALPHA, Pair


class Folds(NamedTuple):
    """How rows were dealt.

    Attributes:
        fold: [repeats, rows] integers, the fold of each row.
        share: rows tested in a fold over those trained on, on average.
    """

    fold: np.ndarray
    share: float

    @property
    def total(self) -> int:
        """The number of folds of all repeats."""
        return sum(len(np.unique(part)) for part in self.fold)


def fold_error(values: np.ndarray, folds: Folds) -> float:
    """The standard error of a mean over folds (Nadeau and Bengio, Machine Learning 52, 2003).

    Folds share training rows, and repeats all rows, so their means are correlated: their variance
    over the number of folds would be too small by far, and the share of tested over training rows
    is added to the inverse of that number. See also Bouckaert and Frank (PAKDD 2004), and Bates et
    al., Cross-Validation: What Does It Estimate and How Well Does It Do It? (JASA 2023).

    Args:
        values: [repeats * seeds, rows], seeds of a repeat side by side.
        folds: how rows were dealt.

    Example:
        >>> values = np.random.default_rng(0).random((1, 100))
        >>> folds = Folds(np.arange(100)[None] % 5, share=0.25)
        >>> means = values.reshape(20, 5).mean(axis=0)
        >>> bool(np.isclose(fold_error(values, folds), means.std(ddof=1) * (1 / 5 + 0.25) ** 0.5))
        True
    """
    repeats = len(folds.fold)
    of_repeat = values.reshape(repeats, -1, values.shape[-1]).mean(axis=1)
    means = [
        row[part == index].mean()
        for row, part in zip(of_repeat, folds.fold, strict=True)
        for index in np.unique(part)
    ]
    return float(np.std(means, ddof=1) * (1 / len(means) + folds.share) ** 0.5)


def widen(found: Estimate, values: np.ndarray, folds: Folds) -> Estimate:
    """An estimate with at least the standard error and the interval that the folds imply.

    Args:
        found: from ``estimate``.
        values: [repeats * seeds, rows], what it was made of.
        folds: how rows were dealt.

    Example:
        >>> from mmjax.analysis.statistics import estimate
        >>> values = np.repeat([0.0, 1.0], 50)[None]
        >>> folds = Folds(np.arange(100)[None] // 20, share=0.25)
        >>> narrow = estimate(values, np.arange(100))
        >>> widen(narrow, values, folds).low < narrow.low
        True
    """
    error = fold_error(values, folds)
    reach = float(stdtrit(folds.total - 1, 1 - ALPHA / 2)) * error
    low, high = min(found.low, found.mean - reach), max(found.high, found.mean + reach)
    return Estimate(found.mean, max(found.error, error), low, high)


def correct(pair: Pair, difference: np.ndarray, folds: Folds) -> Pair:
    """A pair whose p-value and interval are at least those that the folds imply.

    Args:
        pair: from ``compare_pair``.
        difference: [repeats * seeds, rows], what it compared.
        folds: how rows were dealt.

    Example:
        >>> from mmjax.analysis.statistics import compare_pair
        >>> first, second = np.repeat([[1.0], [0.0]], 50, axis=0).reshape(2, 1, 50)
        >>> pair = compare_pair(first, second, np.arange(50))
        >>> folds = Folds(np.arange(50)[None] % 5, share=0.25)
        >>> correct(pair, first - second, folds).p == pair.p  # all folds agree
        True
    """
    error = fold_error(difference, folds)
    mean = pair.difference.mean
    t = abs(mean) / error if error else np.inf if mean else 0.0
    p = max(pair.p, float(2 * stdtr(folds.total - 1, -t)))
    wide = widen(pair.difference, difference, folds)
    if p >= ALPHA:  # so that the interval excludes zero only where there is a verdict
        low, high = min(wide.low, 0.0), max(wide.high, 0.0)
        wide = wide._replace(low=low, high=high)
    return pair._replace(difference=wide, p=p)
