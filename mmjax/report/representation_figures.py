"""Figures of embeddings: maps to the plane, and how alike strategies are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from mmjax.errors import UsageError, look_up
from mmjax.threads import one_thread


@one_thread
def project(values: np.ndarray, method: str, seed: int = 0) -> np.ndarray:
    """Maps embeddings to the plane: [rows, 2].

    ``pca``; ``tsne`` (van der Maaten and Hinton, JMLR 9, 2008), of which only neighbourhoods mean
    something, not distances; or ``umap`` (McInnes et al., arXiv:1802.03426).

    Args:
        values: [rows, features], four rows or more.
        method: the name.
        seed: of the method.

    Raises:
        UnknownNameError: there is no such method.
        UsageError: the package of the method is not installed.
    """
    make = look_up("method", method, _PROJECTIONS)
    if values.shape[1] == 1:
        values = np.pad(values, ((0, 0), (0, 1)))  # the methods want as many features as they give
    return make(len(values), seed).fit_transform(values)


def _tsne(num_rows: int, seed: int) -> TSNE:
    perplexity = min(30.0, (num_rows - 1) / 3)  # no more neighbours than there are
    return TSNE(init="pca", perplexity=perplexity, random_state=seed)


def _umap(num_rows: int, seed: int) -> Any:
    try:
        from umap import UMAP
    except ImportError as error:
        expected, fix = "a method that is installed", "Install umap-learn, or use 'tsne'."
        raise UsageError("method", expected=expected, got="'umap'", fix=fix) from error
    return UMAP(n_neighbors=min(15, num_rows - 1), random_state=seed, n_jobs=1)


_PROJECTIONS: Mapping[str, Callable[[int, int], Any]] = {
    "pca": lambda num_rows, seed: PCA(2, random_state=seed),
    "tsne": _tsne,
    "umap": _umap,
}


def projection_figure(
    maps: Mapping[str, np.ndarray], target: np.ndarray, title: str = ""
) -> Figure:
    """A panel per embedding, a dot per row, coloured by class.

    Args:
        maps: {panel: [rows, 2]} that ``project`` made.
        target: [rows] classes.
        title: of the figure.
    """
    classes = np.unique(target)
    colors = colormaps["tab10" if len(classes) <= 10 else "turbo"].resampled(len(classes))
    figure = Figure(figsize=(3.2 * len(maps) + 0.8, 3.6), layout="constrained")
    panels = figure.subplots(1, len(maps), squeeze=False)[0]
    for axes, (name, points) in zip(panels, maps.items(), strict=True):
        for index, label in enumerate(classes):
            some = points[target == label]
            axes.scatter(*some.T, s=6, color=colors(index), linewidths=0, label=str(label))
        axes.set(title=name, xticks=[], yticks=[])
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right center", title="class", frameon=False, markerscale=2)
    figure.suptitle(title)
    return figure


_FEW = 20


def similarity_figure(similarity: np.ndarray, strategies: Sequence[str], title: str = "") -> Figure:
    """How alike the strategies' representations are; few of them with the number in each cell.

    Args:
        similarity: [strategies, strategies] from ``mmjax.representation.cka_matrix``.
        strategies: their names.
        title: of the figure.
    """
    few = len(strategies) <= _FEW
    size = 2.2 + (0.42 if few else 0.16) * len(strategies)
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(similarity, vmin=0, vmax=1, cmap="viridis")
    ticks = range(len(strategies))
    axes.set_xticks(ticks, strategies, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, strategies)
    axes.tick_params(labelsize="medium" if few else 8)
    for (row, column), value in np.ndenumerate(similarity) if few else ():
        color = "white" if value < 0.6 else "black"
        cell = f"{value:.2f}".replace("0.", ".", 1)
        axes.text(column, row, cell, ha="center", va="center", fontsize=7, color=color)
    figure.colorbar(image, label="linear CKA (diagonal: two seeds of one strategy)", shrink=0.8)
    axes.set_title(title)
    return figure
