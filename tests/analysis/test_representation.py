"""Embeddings: scores with known answers, and the invariances of the alignment."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from small import make_split

from mmjax.analysis.representation import (
    Embedded,
    cka_matrix,
    cluster_scores,
    probe_accuracy,
    representation_rows,
    sample,
)
from mmjax.errors import DataError, UnknownNameError, UsageError
from mmjax.report.figures.representation_figures import (
    project,
    projection_figure,
    similarity_figure,
)


def make_blobs(rows=90, classes=3, distance=50.0, features=4, seed=0):
    """Rows around one centre per class, and their classes."""
    rng = np.random.default_rng(seed)
    target = np.arange(rows) % classes
    centres = distance * np.eye(classes, features)
    return centres[target] + rng.normal(size=(rows, features)), target


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def align(first, second):
    return cka_matrix([first[None], second[None]])[0, 1]


def test_clusters_that_are_the_classes_score_one_whatever_their_names():
    values, target = make_blobs()
    for names in (np.array([0, 1, 2]), np.array([7, 3, 5])):
        got = cluster_scores(values, names[target])
        assert got.ari == pytest.approx(1)
        assert got.nmi == pytest.approx(1)
        assert got.silhouette > 0.9
    assert cluster_scores(target[:, None] * 1.0, target).silhouette == 1


def test_classes_that_are_not_the_clusters_score_nothing():
    """The silhouette is that of the classes: the clusters found are far apart here too."""
    values, _ = make_blobs(rows=900)
    got = cluster_scores(values, np.random.default_rng(1).integers(0, 3, 900))
    assert abs(got.ari) < 0.02
    assert got.nmi < 0.02
    assert got.silhouette < 0.02


def test_the_silhouette_of_four_points_worked_out_by_hand():
    """Points 0 and 1 against 3 and 5: (b - a) / max(a, b) of each."""
    values, target = np.array([[0.0], [1], [3], [5]]), np.array([0, 0, 1, 1])
    want = np.mean([1 - 1 / 4, 1 - 1 / 3, 1 - 2 / 2.5, 1 - 2 / 4.5])
    assert cluster_scores(values, target).silhouette == pytest.approx(want)


def test_collapsed_embeddings_score_zero():
    assert cluster_scores(np.ones((12, 3)), np.arange(12) % 3) == (0, 0, 0)


def test_clusters_are_a_function_of_the_seed():
    values, target = normal(200, 3), np.arange(200) % 5
    assert cluster_scores(values, target, seed=1) == cluster_scores(values, target, seed=1)
    assert cluster_scores(values, target, seed=1) != cluster_scores(values, target, seed=2)


@pytest.mark.parametrize("target", [np.zeros(6, int), np.arange(6)])
def test_clusters_need_classes_with_rows(target):
    with pytest.raises(DataError, match="target: expected two classes or more"):
        cluster_scores(normal(6, 2), target)


def test_the_probe_reads_what_is_linear_and_nothing_else():
    values, target = make_blobs()
    assert probe_accuracy(values, target, *make_blobs(seed=1)) == 1
    signs = normal(400, 2)
    crossed = (signs[:, 0] * signs[:, 1] > 0).astype(int)
    assert probe_accuracy(signs[:200], crossed[:200], signs[200:], crossed[200:]) < 0.65


def test_the_probe_standardises_by_the_training_rows():
    (values, target), (others, wanted) = make_blobs(distance=2.0), make_blobs(distance=2.0, seed=1)
    plain = probe_accuracy(values, target, others, wanted)
    assert 0.6 < plain < 1
    scale = np.array([1e-3, 1, 1e3, 1e2])
    assert probe_accuracy(scale * values, target, scale * others, wanted) == plain
    assert probe_accuracy(
        values, target, others + np.array([90, 0, 0, 0]), wanted
    ) == pytest.approx(1 / 3)


def test_the_alignment_is_that_of_gram_matrices():
    first, second = normal(50, 5), normal(50, 8, seed=1) + 3
    second[:, :5] += first
    centre = np.eye(50) - 1 / 50
    one, other = centre @ first @ first.T @ centre, centre @ second @ second.T @ centre
    want = np.sum(one * other) / (np.linalg.norm(one) * np.linalg.norm(other))
    assert 0.1 < want < 0.9
    assert align(first, second) == pytest.approx(want)
    assert align(second, first) == pytest.approx(want)


def test_the_alignment_of_single_features_is_their_squared_correlation():
    first, second = normal(40, 1), normal(40, 1, seed=1)
    correlation = np.corrcoef(first[:, 0], second[:, 0])[0, 1]
    assert align(first, second) == pytest.approx(correlation**2)


def test_the_alignment_ignores_rotation_scale_and_shift_only():
    values, other = normal(60, 6), normal(60, 6, seed=1)
    other += values
    rotation, _ = np.linalg.qr(normal(6, 6, seed=2))
    moved = -3e4 * values @ rotation + 5
    assert align(values, moved) == pytest.approx(1)
    assert align(moved, other) == pytest.approx(align(values, other))
    assert align(values, values * np.array([10, 1, 1, 1, 1, 1])) < 0.9
    assert align(normal(5000, 4), normal(5000, 4, seed=1)) < 0.01


def test_the_alignment_with_a_constant_is_not_a_number():
    assert np.isnan(align(np.full((9, 3), 0.1, np.float32), normal(9, 2)))


def test_the_matrix_compares_different_seeds():
    common = normal(80, 3)
    embeddings = [common + normal(3, 80, 3, seed=1), 2 * normal(3, 80, 2, seed=2)]
    got = cka_matrix(embeddings)
    for row, first in enumerate(embeddings):
        for column, second in enumerate(embeddings):
            each = [[align(a, b) for b in second] for a in first]
            want = np.mean(np.array(each)[~np.eye(3, dtype=bool)])
            assert got[row, column] == pytest.approx(want)
    assert got[0, 0] > 2 * got[0, 1]


def test_with_one_seed_the_diagonal_of_the_matrix_is_one():
    embeddings = [normal(1, 30, 3), normal(1, 30, 4, seed=1)]
    np.testing.assert_allclose(np.diag(cka_matrix(embeddings)), 1)


@pytest.mark.parametrize("bad", [np.full((6, 2), np.nan), np.zeros((2, 6, 2))])
def test_embeddings_that_do_not_fit_are_named(bad):
    target = np.arange(6) % 2
    with pytest.raises(DataError, match="embeddings: expected finite values"):
        cluster_scores(bad, target)
    with pytest.raises(DataError, match="embeddings: expected finite values"):
        align(bad, normal(6, 2))
    with pytest.raises(DataError, match="embeddings: expected finite values"):
        probe_accuracy(normal(6, 2), target, bad, target)


def test_a_sample_has_the_same_rows_for_every_strategy():
    split = make_split(40, 0)
    few = sample(split, 10)
    place = [
        np.flatnonzero((split.inputs["vector"] == row).all(axis=1)) for row in few.inputs["vector"]
    ]
    assert len(np.unique(place)) == 10
    np.testing.assert_array_equal(few.target, split.target[np.concatenate(place)])
    np.testing.assert_array_equal(few.target, sample(split, 10).target)
    assert sample(split, 1000).size == 40
    assert (sample(split, 10, seed=1).target != few.target).any()


def test_rows_hold_the_scores_of_every_seed_and_embedding():
    values, target = make_blobs()
    noise, more = normal(2, 90, 4, seed=3), normal(2, 90, 4, seed=4)
    train = Embedded({"a": np.stack([values] * 2), "fused": noise}, target)
    scored = Embedded({"a": np.stack([values] * 2), "fused": more}, target)
    rows = representation_rows(train, scored, seeds=(4, 5))
    names = [(row["seed"], row["embedding"]) for row in rows]
    assert names == [(4, "a"), (4, "fused"), (5, "a"), (5, "fused")]
    assert rows[0]["probe_accuracy"] == 1
    last = rows[3]
    assert last["probe_accuracy"] == probe_accuracy(noise[1], target, more[1], target)
    want = cluster_scores(more[1], target)
    assert (last["ari"], last["nmi"], last["silhouette"]) == want


def test_principal_components_are_those_of_the_singular_values():
    values = normal(30, 5)
    left, scale, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    got = project(values, "pca")
    np.testing.assert_allclose(np.abs(got), np.abs(left * scale)[:, :2], atol=1e-9)


def test_neighbours_stay_together_and_the_map_is_a_function_of_the_seed():
    values, target = make_blobs(rows=60)
    got = project(values, "tsne", seed=3)
    assert got.shape == (60, 2)
    assert cluster_scores(got, target).ari == 1
    np.testing.assert_array_equal(got, project(values, "tsne", seed=3))


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_embeddings_with_one_feature_and_few_rows_have_a_map(method):
    assert np.isfinite(project(np.arange(5.0)[:, None], method)).all()


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_embeddings_that_have_collapsed_are_one_point(method):
    """t-SNE would end the process."""
    got = project(np.full((30, 5), 0.1, np.float32), method)
    np.testing.assert_array_equal(got, np.zeros((30, 2)))


def test_a_method_whose_package_is_missing_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UsageError, match="Install umap-learn"):
        project(normal(9, 3), "umap")
    with pytest.raises(UnknownNameError, match="Did you mean 'tsne'"):
        project(normal(9, 3), "tnse")


def test_a_method_whose_package_is_there_is_used(monkeypatch):
    asked = {}

    def make(**options):
        asked.update(options)
        return SimpleNamespace(fit_transform=lambda values: values[:, :2])

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=make))
    values = normal(9, 3)
    np.testing.assert_array_equal(project(values, "umap", seed=4), values[:, :2])
    assert asked["random_state"] == 4
    assert asked["n_neighbors"] == 8


def test_the_figure_has_a_panel_per_embedding_and_a_colour_per_class():
    target = np.arange(60) % 3
    maps = {"tsne": {"a": normal(60, 2), "fused": normal(60, 2)}}
    figure = projection_figure(maps | {"pca": maps["tsne"]}, target)
    assert [axes.get_title() for axes in figure.axes] == ["a", "fused", "", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == ["t-SNE", "", "PCA", ""]
    dots = figure.axes[0].collections
    assert [len(part.get_offsets()) for part in dots] == [20, 20, 20]
    assert len({tuple(part.get_facecolor()[0]) for part in dots}) == 3
    legend = lambda figure: [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend(figure) == ["0", "1", "2"]
    assert legend(projection_figure(maps, target, ("ill", "well", "other"))) == [
        "ill",
        "well",
        "other",
    ]


def test_the_heat_map_names_the_strategies_and_writes_the_numbers():
    figure = similarity_figure(np.array([[1, 0.256], [0.256, 0.8]]), ["one", "two"])
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    assert [text.get_text() for text in axes.texts] == ["1.00", ".26", ".26", ".80"]
