"""Figures of embeddings: two-dimensional projections, and similarity between strategies."""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from matplotlib import colormaps
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from mmjax.analysis.threads import one_thread
from mmjax.data.targets import kind_of
from mmjax.errors import UsageError, look_up
from mmjax.report.figures.style import Figure, class_name


@one_thread
def project(values: np.ndarray, method: str, seed: int = 0) -> np.ndarray:
    """Projects embeddings to two dimensions: [rows, 2].

    ``pca``; ``tsne`` (van der Maaten and Hinton, JMLR 9, 2008), in which only neighbourhoods are
    meaningful, not distances; or ``umap`` (McInnes et al., arXiv:1802.03426). Embeddings that are
    equal in every row map to one point.

    Args:
        values: [rows, features], at least four rows.
        method: one of ``methods()``.
        seed: of the method.

    Raises:
        UnknownNameError: there is no such method.
        UsageError: the package of the method is not installed.

    Example:
        >>> values = np.random.default_rng(0).normal(size=(20, 8))
        >>> project(values, "pca").shape
        (20, 2)
    """
    make = look_up("method", method, _PROJECTIONS)
    if (values == values[0]).all():  # methods divide by the variance; t-SNE would crash
        return np.zeros((len(values), 2))
    if values.shape[1] == 1:
        values = np.pad(values, ((0, 0), (0, 1)))  # methods need at least two features
    return make(len(values), seed).fit_transform(values)


def _tsne(num_rows: int, seed: int) -> TSNE:
    perplexity = min(30.0, (num_rows - 1) / 3)  # limited by the number of rows
    return TSNE(init="pca", perplexity=perplexity, max_iter=500, random_state=seed)


def _umap(num_rows: int, seed: int) -> Any:
    try:
        from umap import UMAP
    except ImportError as error:
        expected, fix = "an installed method", "Install umap-learn, or use 'tsne'."
        raise UsageError("method", expected=expected, got="'umap'", fix=fix) from error
    return UMAP(n_neighbors=min(15, num_rows - 1), random_state=seed, n_jobs=1)


_TITLES = {"tsne": "t-SNE", "pca": "PCA", "umap": "UMAP"}
_PROJECTIONS: Mapping[str, Callable[[int, int], Any]] = {
    "tsne": _tsne,
    "pca": lambda num_rows, seed: PCA(2, random_state=seed),
    "umap": _umap,
}


def methods() -> list[str]:
    """The methods of ``project`` whose packages are installed.

    Example:
        >>> methods()[:2]
        ['tsne', 'pca']
    """
    return [name for name in _PROJECTIONS if name != "umap" or find_spec("umap")]


_FEW = 20  # strategies or classes up to which a figure has room for their names


def projection_figure(
    maps: Mapping[str, Mapping[str, np.ndarray]], target: np.ndarray, names: Sequence[str] = ()
) -> Figure:
    """One row of panels per method, column per embedding, dot per sample, coloured by target.

    Colours are classes, the number of labels, or quintiles of the first number.

    Args:
        maps: {method: {embedding: [rows, 2]}} from ``project``.
        target: of the rows.
        names: of classes; by default their numbers.
    """
    target, what = _group(target)
    classes = np.unique(target)
    say = lambda label: class_name(label, names if what == "class" else ())
    few = len(classes) <= 10
    colors = colormaps["tab10"] if few else colormaps["turbo"].resampled(len(classes))
    columns = list(next(iter(maps.values())))
    size = (2 * len(columns) + 1, 1.9 * len(maps) + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(maps), len(columns), squeeze=False)
    for (row, column), axes in np.ndenumerate(panels):
        method, points = list(maps)[row], maps[list(maps)[row]][columns[column]]
        for index, label in enumerate(classes):
            some = points[target == label]
            dots = {"color": colors(index), "linewidths": 0, "rasterized": True}
            axes.scatter(*some.T, s=5, label=say(label), **dots)
        axes.set(xticks=[], yticks=[])
        if row == 0:
            axes.set_title(columns[column], fontsize="medium", parse_math=False)
        if column == 0:
            axes.set_ylabel(_TITLES[method])
    if len(classes) <= _FEW:
        handles = panels[0, 0].get_legend_handles_labels()
        figure.legend(
            *handles, title=what, loc="outside right center", frameon=False, markerscale=2
        )
    return figure


def _group(target: np.ndarray) -> tuple[np.ndarray, str]:
    """A few values [rows] to distinguish by colour, and what they are."""
    match kind_of(target):
        case "classes":
            return target, "class"
        case "labels":
            return target.sum(axis=1), "labels"
    edges = np.quantile(target[:, 0], [0.2, 0.4, 0.6, 0.8])
    return 1 + np.searchsorted(edges, target[:, 0]), "quintile"


def similarity_figure(similarity: np.ndarray, strategies: Sequence[str]) -> Figure:
    """Similarity of the strategies' representations; with few of them, numbers in the cells.

    Args:
        similarity: [strategies, strategies] from ``mmjax.analysis.representation.cka_matrix``.
        strategies: their names.

    Example:
        >>> figure = similarity_figure(np.array([[1.0, 0.5], [0.5, 1.0]]), ["sum", "gmu"])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['1.00', '.50', '.50', '1.00']
    """
    few = len(strategies) <= _FEW
    size = 2.2 + (0.34 if few else 0.16) * len(strategies)
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(similarity, vmin=0, vmax=1, cmap="viridis")
    ticks = range(len(strategies))
    axes.set_xticks(ticks, strategies, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, strategies)
    axes.tick_params(labelsize=9 if few else 8)
    for (row, column), value in np.ndenumerate(similarity) if few else ():
        color = "#fefefe" if value < 0.6 else "#010101"  # whatever the page has for white and black
        cell = f"{value:.2f}".replace("0.", ".", 1)
        axes.text(column, row, cell, ha="center", va="center", fontsize=7, color=color)
    figure.colorbar(image, label="linear CKA (diagonal: seeds of one strategy)", shrink=0.8)
    return figure
