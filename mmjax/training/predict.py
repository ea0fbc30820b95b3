"""Predictions of a model, its embeddings and modality weights."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import chex
import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh

from mmjax.layers import MODALITY_WEIGHTS, masked_mean
from mmjax.training.lanes import over_seeds
from mmjax.training.mesh import deal_rows, place_lanes, to_host
from mmjax.types import Batch, Outputs, Tokens

CHUNK = 256
"""Default number of rows per forward pass, so that one program serves splits of every size."""

Predict = Callable[[chex.ArrayTree, Batch], np.ndarray]


def make_encode(model: nn.Module) -> Callable[[chex.ArrayTree, Batch], dict[str, Tokens]]:
    """Makes ``(params of all seeds, rows) -> {modality: Tokens}``, [seeds, rows, ...] each."""

    def forward(params, rows):
        outputs = model.apply({"params": params}, rows.inputs, rows.present, train=False)
        return dict(cast(Outputs, outputs).tokens)

    return _in_chunks(over_seeds(forward), CHUNK)


class View(NamedTuple):
    """The internals of a model, [seeds, rows, ...].

    Attributes:
        prediction: [..., out_dim].
        embeddings: {modality: mean of its tokens}, and "fused": the input of the fusion's readout,
            or the prediction if there is no joint representation; [..., features] each.
        weights: [..., modality] the weight of each modality, sorted by name, as the fusion reports
            it by ``layers.show_weights``; None if it does not.
    """

    prediction: np.ndarray
    embeddings: dict[str, np.ndarray]
    weights: np.ndarray | None


class Evaluate(NamedTuple):
    """A model in evaluation.

    Attributes:
        predict: ``(params of all seeds, rows) -> predictions [seeds, rows, out_dim]``.
        view: ``(params of all seeds, rows) -> View``; a separate program, because it takes longer
            than the prediction. It is compiled on first use.
    """

    predict: Predict
    view: Callable[[chex.ArrayTree, Batch], View]


def make_evaluate(model: nn.Module, chunk: int = CHUNK, mesh: Mesh | None = None) -> Evaluate:
    """Makes both programs that evaluate a model, with ``chunk`` rows per forward pass.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import make_model
        >>> from mmjax.training.step import init_params
        >>> task = synthetic(size=100)
        >>> model, rows = make_model(task, "gmu"), task.valid.batch()
        >>> params = jax.tree.map(lambda x: x[None], init_params(model, rows, seed=0))  # one seed
        >>> view = make_evaluate(model).view(params, rows)
        >>> sorted(view.embeddings), view.weights.shape
        (['a', 'b', 'fused'], (1, 20, 2))
    """
    return Evaluate(*(_in_chunks(f, chunk, mesh) for f in compile_forward(model, mesh)))


def compile_forward(model: nn.Module, mesh: Mesh | None = None) -> tuple[Callable, Callable]:
    """The two programs of ``Evaluate``, which take all rows in one forward pass."""

    def predict(params, rows):
        variables, rows = {"params": params}, deal_rows(rows, mesh)
        outputs = model.apply(variables, rows.inputs, rows.present, train=False)
        return cast(Outputs, outputs).prediction

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

    return over_seeds(predict, mesh), over_seeds(view, mesh)


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
            index = np.arange(start, start + chunk) % size  # the last chunk is padded
            parts.append(program(params, jax.tree.map(lambda x, i=index: x[i], rows)))
        join = lambda *chunks: np.concatenate(chunks, axis=1)[:, :size]
        return jax.tree.map(join, *jax.device_get(to_host(parts)))

    return apply
