"""Predictions, and what goes on inside a model that makes them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh

from mmjax.layers import MODALITY_WEIGHTS, masked_mean
from mmjax.training.lanes import over_seeds
from mmjax.training.mesh import deal_rows, place_lanes, to_host
from mmjax.types import Batch, Tokens

CHUNK = 256
"""Rows per forward pass, unless told otherwise: one program serves splits of every size."""

Predict = Callable[[chex.ArrayTree, Batch], np.ndarray]


def make_encode(model: nn.Module) -> Callable[[chex.ArrayTree, Batch], dict[str, Tokens]]:
    """Makes ``(params of all seeds, rows) -> {modality: Tokens}``, [seeds, rows, ...] each."""

    def forward(params, rows):
        outputs = model.apply({"params": params}, rows.inputs, rows.present, train=False)
        return dict(outputs.tokens)

    return _in_chunks(over_seeds(forward), CHUNK)


class View(NamedTuple):
    """What goes on inside a model, [seeds, rows, ...].

    Attributes:
        prediction: [..., out_dim].
        embeddings: {modality: the mean of its tokens}, and "fused": what the fusion's readout sees,
            or the prediction where there is no joint representation; [..., features] each.
        weights: [..., modality] how much each counts, names sorted, as the fusion shows by
            ``layers.show_weights``; None where it shows none.
    """

    prediction: np.ndarray
    embeddings: dict[str, np.ndarray]
    weights: np.ndarray | None


class Evaluate(NamedTuple):
    """A model in evaluation.

    Attributes:
        predict: ``(params of all seeds, rows) -> predictions [seeds, rows, out_dim]``.
        view: ``(params of all seeds, rows) -> View``; a program of its own, because what it shows
            takes longer than the prediction. It is compiled when it is first asked for.
    """

    predict: Predict
    view: Callable[[chex.ArrayTree, Batch], View]


def make_evaluate(model: nn.Module, chunk: int = CHUNK, mesh: Mesh | None = None) -> Evaluate:
    """Makes both ways to evaluate a model, with so many rows per forward pass, on a mesh if any."""

    def predict(params, rows):
        variables, rows = {"params": params}, deal_rows(rows, mesh)
        return model.apply(variables, rows.inputs, rows.present, train=False).prediction

    def view(params, rows):
        outputs, state = model.apply(
            {"params": params}, rows.inputs, rows.present, train=False, mutable=["intermediates"]
        )
        fused = outputs.prediction if outputs.fused is None else outputs.fused
        means = {name: masked_mean(tokens) for name, tokens in outputs.tokens.items()}
        leaves = jax.tree_util.tree_leaves_with_path(state)
        shown = [leaf for path, leaf in leaves if MODALITY_WEIGHTS in jax.tree_util.keystr(path)]
        embeddings = {**means, "fused": fused}
        return View(outputs.prediction, embeddings, shown[0] if shown else None)

    return Evaluate(*(_in_chunks(over_seeds(f, mesh), chunk, mesh) for f in (predict, view)))


def _in_chunks(
    program: Callable[[chex.ArrayTree, Batch], Any], chunk: int, mesh: Mesh | None = None
) -> Callable[..., Any]:
    """Makes ``(params of all seeds, rows) -> arrays [seeds, rows, ...]`` from a forward pass."""

    def apply(params: chex.ArrayTree, rows: Batch) -> Any:
        size = len(rows.target)
        # Once, not for every chunk.
        params = place_lanes(params, mesh) if mesh else jax.device_put(params)
        parts = []
        for start in range(0, size, chunk):
            index = np.arange(start, start + chunk) % size  # the last chunk is filled up
            parts.append(program(params, jax.tree.map(lambda x, i=index: x[i], rows)))
        join = lambda *chunks: np.concatenate(chunks, axis=1)[:, :size]
        return jax.tree.map(join, *jax.device_get(to_host(parts)))

    return apply
