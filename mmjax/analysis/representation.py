"""Embeddings: how they cluster, what a linear probe can predict, and how similar two are."""

import warnings
from collections.abc import Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
from sklearn import metrics
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmjax.analysis.threads import one_thread
from mmjax.comparison.outcomes import Embedded
from mmjax.data.task import Split
from mmjax.errors import DataError


def sample(split: Split, num_rows: int, seed: int = 0) -> Split:
    """At most ``num_rows`` rows, drawn at random; the same for every strategy.

    Example:
        >>> from mmjax import load_task
        >>> test = load_task("synthetic", options={"size": "60"}).test
        >>> sample(test, 5).size, sample(test, 10**6).size == test.size
        (5, True)
    """
    return split.take(np.random.default_rng(seed).permutation(split.size)[:num_rows])


class Clusters(NamedTuple):
    """Agreement of clusters with classes; 1 is perfect.

    Attributes:
        ari: adjusted Rand index of k-means; 0 is chance (Hubert and Arabie, J. Classif. 2, 1985).
        nmi: mutual information of k-means and classes, normalised by the mean of their entropies.
        silhouette: mean silhouette of the classes, from -1 to 1 (Rousseeuw, 1987).
    """

    ari: float
    nmi: float
    silhouette: float


@one_thread
def cluster_scores(values: np.ndarray, target: np.ndarray, seed: int = 0) -> Clusters:
    """Clusters embeddings by k-means, with as many clusters as there are classes.

    Args:
        values: [rows, features].
        target: [rows] classes, at least two and fewer than rows.
        seed: of k-means, which takes the best of ten starts.

    Raises:
        DataError: values are not finite, or there are too few classes or rows.

    Example:
        >>> target = np.repeat([0, 1, 2], 10)
        >>> scores = cluster_scores(np.eye(3)[target], target)  # one point per class
        >>> [round(score, 6) for score in scores]
        [1.0, 1.0, 1.0]
    """
    _check(values)
    num_classes = len(np.unique(target))
    if not 2 <= num_classes < len(target):
        raise DataError(
            "target",
            expected="two classes or more, and more rows than classes",
            got=f"{num_classes} in {len(target)} rows",
        )
    with warnings.catch_warnings():
        # Collapsed embeddings have fewer distinct rows than classes, which the scores show.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(num_classes, n_init=10, random_state=seed).fit_predict(values)
    return Clusters(
        float(metrics.adjusted_rand_score(target, found)),
        float(metrics.normalized_mutual_info_score(target, found)),
        float(metrics.silhouette_score(values, target)),
    )


@one_thread
def probe_accuracy(
    train_values: np.ndarray, train_target: np.ndarray, values: np.ndarray, target: np.ndarray
) -> float:
    """Accuracy of a linear probe, multinomial logistic regression (arXiv:1610.01644).

    Features are standardised on the training rows; the penalty is scikit-learn's default, C = 1.

    Args:
        train_values: [train rows, features].
        train_target: [train rows] classes.
        values: [rows, features] to score.
        target: [rows] classes.

    Example:
        >>> target = np.repeat([0, 1], 10)
        >>> values = np.eye(2)[target]
        >>> probe_accuracy(values, target, values, target)  # linearly separable
        1.0
    """
    _check(train_values)
    _check(values)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(probe.fit(train_values, train_target).score(values, target))


@one_thread
def cka_matrix(embeddings: Sequence[np.ndarray]) -> np.ndarray:
    r"""Mean linear CKA over pairs of different seeds: [strategies, strategies].

    Linear centred kernel alignment measures the similarity of two embeddings of the same rows, from
    0 to 1. With centred X and Y it is :math:`\|Y^T X\|_F^2 / (\|X^T X\|_F \|Y^T Y\|_F)` in
    Frobenius norms (Kornblith et al., arXiv:1905.00414, section 3). It is invariant to rotation and
    isotropic scaling of the features, and biased upwards unless there are many more rows than
    features. It is NaN for an embedding that is the same in every row.

    The diagonal is the similarity of different seeds of one strategy, the yardstick for the rest.
    With one seed, that seed is compared with itself and the diagonal is 1.

    Args:
        embeddings: [seeds, rows, features] of each strategy, with the same seeds and rows.

    Example:
        >>> values = np.random.default_rng(0).normal(size=(1, 50, 3))
        >>> rotated = 2 * values[..., [2, 0, 1]]
        >>> np.allclose(cka_matrix([values, rotated]), 1)
        True
    """
    ready = [[_normalise(values) for values in of_seeds] for of_seeds in embeddings]
    # With equal seeds two strategies share batches, and often initial encoders: optimistic.
    pairs = list(permutations(range(len(ready[0])), 2)) or [(0, 0)]
    mean = lambda first, second: np.mean([_alignment(first[i], second[j]) for i, j in pairs])
    return np.array([[mean(first, second) for second in ready] for first in ready])


def _normalise(values: np.ndarray) -> np.ndarray:
    _check(values)
    if (values == values[0]).all():
        return np.full(values.shape, np.nan)
    centred = values - values.mean(axis=0, dtype=np.float64, keepdims=True)
    return centred / np.sqrt(np.linalg.norm(centred.T @ centred))


def _alignment(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.sum((second.T @ first) ** 2))


def representation_rows(
    train: Embedded, scored: Embedded, seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """A flat row per seed and embedding: cluster scores and the accuracy of a linear probe.

    Args:
        train: embeddings that the linear probe is fitted on.
        scored: embeddings of the split that is reported on.
        seeds: [seeds], names of the first axis.

    Example:
        >>> target = np.repeat([0, 1], 10)
        >>> perfect = Embedded({"fused": np.eye(2)[target][None]}, target)
        >>> representation_rows(perfect, perfect, seeds=[0])[0]["probe_accuracy"]
        1.0
    """
    rows = []
    for index, seed in enumerate(seeds):
        for name, values in scored.values.items():
            learnt = train.values[name][index], train.target
            clusters = cluster_scores(values[index], scored.target)
            accuracy = probe_accuracy(*learnt, values[index], scored.target)
            scores = {**clusters._asdict(), "probe_accuracy": accuracy}
            rows.append({"seed": seed, "embedding": name, **scores})
    return rows


def _check(values: np.ndarray) -> None:
    if values.ndim != 2 or not np.isfinite(values).all():
        got = f"NaN or infinity in an array of shape {values.shape}"
        got = got if values.ndim == 2 else f"shape {values.shape}"
        raise DataError("embeddings", expected="finite values [rows, features]", got=got)
