"""Predictions of a model, its embeddings and modality weights."""

from collections.abc import Callable, Iterable
from functools import partial
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


class Chunks(NamedTuple):
    """Rows for repeated prediction, cut into batches of one size; the last is padded.

    Attributes:
        size: number of rows, without the padding.
        parts: their batches.
    """

    size: int
    parts: Iterable[Batch]


Predict = Callable[[chex.ArrayTree, Batch | Chunks], np.ndarray]


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
        view: ``(params of all seeds, rows) -> View``. Where the fusion reports weights, which may
            take longer than the prediction, it is a program of its own, compiled on first use.
    """

    predict: Predict
    view: Callable[[chex.ArrayTree, Batch], View]


def make_evaluate(
    model: nn.Module, chunk: int = CHUNK, mesh: Mesh | None = None, effort: str = "normal"
) -> Evaluate:
    """Makes both functions that evaluate a model, with ``chunk`` rows per forward pass.

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
    plain, weighted = compile_forward(model, mesh, effort)

    def view(params, rows):
        first = next(iter(cut(rows, chunk).parts))
        weights = jax.eval_shape(weighted, params, first).weights
        program = plain if weights is None else weighted
        return _in_chunks(program, chunk, mesh)(params, rows)

    # It computes somewhat more than the prediction, which is cheaper than another compilation.
    predict = lambda *arguments: plain(*arguments).prediction
    return Evaluate(_in_chunks(predict, chunk, mesh), view)


def compile_forward(
    model: nn.Module, mesh: Mesh | None = None, effort: str = "normal"
) -> tuple[Callable, Callable]:
    """``(params of all seeds, rows) -> View`` in one forward pass, without weights and with."""

    def see(params, rows, mutable=()):
        variables, rows = {"params": params}, deal_rows(rows, mesh)
        outputs, state = model.apply(
            variables, rows.inputs, rows.present, train=False, mutable=list(mutable)
        )
        fused = outputs.prediction if outputs.fused is None else outputs.fused
        means = {name: masked_mean(tokens) for name, tokens in outputs.tokens.items()}
        leaves = jax.tree_util.tree_leaves_with_path(state)
        shown = [leaf for path, leaf in leaves if MODALITY_WEIGHTS in jax.tree_util.keystr(path)]
        embeddings = {**means, "fused": fused}
        return View(outputs.prediction, embeddings, shown[0] if shown else None)

    def see_weights(params, rows):
        return see(params, rows, mutable=("intermediates",))

    compiled = partial(over_seeds, mesh=mesh, effort=effort)
    return compiled(see), compiled(see_weights)


def _in_chunks(
    program: Callable[[chex.ArrayTree, Batch], Any], chunk: int, mesh: Mesh | None = None
) -> Callable[..., Any]:
    """Makes ``(params of all seeds, rows) -> arrays [seeds, rows, ...]`` from a forward pass."""

    def apply(params: chex.ArrayTree, rows: Batch | Chunks) -> Any:
        size, parts = rows if isinstance(rows, Chunks) else cut(rows, chunk)
        # Once, not for every chunk.
        params = place_lanes(params, mesh) if mesh else jax.device_put(params)
        outputs = jax.device_get(to_host([program(params, part) for part in parts]))
        return jax.tree.map(lambda *x: np.concatenate(x, axis=1)[:, :size], *outputs)

    return apply


def cut(rows: Batch, chunk: int) -> Chunks:
    """Cuts rows, in memory or on disk, into batches of ``chunk`` rows, one at a time."""
    size = len(rows.target)
    index = (np.arange(start, start + chunk) % size for start in range(0, size, chunk))
    return Chunks(size, (jax.tree.map(lambda x, i=i: x[i], rows) for i in index))
