"""The size of a model, and the width of its fusion for a given number of parameters."""

import math
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax

from mmjax.data.task import Task
from mmjax.layers import kernels
from mmjax.model import MultimodalModel
from mmjax.training.step import outline_params

TOLERANCE = 0.1
"""Largest relative difference between the parameter counts of models of the same size."""


class Sizes(NamedTuple):
    """The size of a model.

    Attributes:
        params: number of parameters.
        flops: floating-point operations of one sample's forward pass, as XLA counts them.
    """

    params: int
    flops: float


def sizes(model: nn.Module, task: Task) -> Sizes:
    """Parameters and FLOPs of a model for a task; nothing is trained or compiled.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import make_model
        >>> task = synthetic(size=100)
        >>> model = make_model(task, "gmu")
        >>> small = match_params(model, task, budget=sizes(model, task).params // 2)
        >>> small.fusion.width < model.fusion.width
        True
    """
    row = _abstract_row(task)
    params = outline_params(model, row)
    forward = lambda p, row: model.apply({"params": p}, row.inputs, row.present, train=False)
    with kernels.without():  # whose operations XLA does not see
        cost: Any = jax.jit(forward).lower(params, row).cost_analysis()
    return Sizes(num_params(params), cost["flops"])


def count_params(model: nn.Module, task: Task) -> int:
    """Number of parameters of a model for a task; nothing is computed.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import make_model
        >>> task = synthetic(size=100)
        >>> count_params(make_model(task, "sum"), task) > 10_000
        True
    """
    return num_params(outline_params(model, _abstract_row(task)))


def num_params(params: chex.ArrayTree) -> int:
    """Number of scalars in a tree of parameters.

    Example:
        >>> num_params({"kernel": jax.numpy.zeros((3, 4)), "bias": jax.numpy.zeros(4)})
        16
    """
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _abstract_row(task: Task):
    shape = lambda x: jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
    return jax.tree.map(shape, task.valid.batch())


def set_width(model: MultimodalModel, width: float) -> MultimodalModel:
    """The same model with its fusion's width rounded up to a multiple of its heads.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import make_model
        >>> set_width(make_model(synthetic(size=100), "transformer"), 30).fusion.width  # of 4 heads
        32
    """
    step = getattr(model.fusion, "num_heads", 1)
    return model.clone(fusion=model.fusion.clone(width=step * math.ceil(width / step)))


def set_num_layers(model: MultimodalModel, num_layers: int) -> MultimodalModel:
    """The same model with another number of layers in its fusion.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import make_model
        >>> set_num_layers(make_model(synthetic(size=100), "transformer"), 3).fusion.num_layers
        3
    """
    return model.clone(fusion=model.fusion.clone(num_layers=num_layers))


def match_params(model: MultimodalModel, task: Task, budget: int) -> MultimodalModel:
    """The same model with the width of its fusion whose parameter count is closest to a budget.

    If no width is within ``TOLERANCE``, ``explain_mismatch`` says why.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import make_model
        >>> task = synthetic(size=100)
        >>> model = match_params(make_model(task, "sum"), task, budget=40_000)
        >>> abs(count_params(model, task) - 40_000) < 4_000
        True
    """
    if not hasattr(model.fusion, "width"):
        return model
    step = getattr(model.fusion, "num_heads", 1)
    widen = lambda k: set_width(model, k * step)
    count = lambda k: count_params(widen(k), task)
    low, high = 1, 2
    while count(high) < budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < budget else (low, middle)
    return widen(min(low, high, key=lambda k: abs(count(k) - budget)))


def explain_mismatch(model: MultimodalModel, task: Task, budget: int) -> str:
    """Why a matched model is not within ``TOLERANCE`` of its budget; "" if it is.

    Example:
        >>> from mmjax.tasks.synthetic import synthetic
        >>> from mmjax.training.recipe import make_model
        >>> task = synthetic(size=100)
        >>> explain_mismatch(make_model(task, "sum"), task, budget=100)
        'its encoders alone have ... parameters'
    """
    row = _abstract_row(task)
    params = outline_params(model, row)
    total = num_params(params)
    if abs(total - budget) <= TOLERANCE * budget:
        return ""
    encoders = total - num_params(params["fusion"])
    if encoders > budget:
        return f"its encoders alone have {encoders:,} parameters"
    if not hasattr(model.fusion, "width"):
        return f"it has {total:,} parameters, and no width to change"
    return f"width {model.fusion.width} is the closest, with {total:,} parameters"
