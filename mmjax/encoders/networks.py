"""Networks of Flax's two libraries as functions ``(params, x) -> features``."""

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax

from mmjax.encoders.weights import Weights
from mmjax.errors import UsageError

if TYPE_CHECKING:
    from flax import nnx  # which takes a while to import

_EVALUATION = {
    "train": False,
    "training": False,
    "is_training": False,
    "deterministic": True,
    "use_running_average": True,
}
"""Arguments of a module's call that select evaluation mode."""


@dataclass(frozen=True)
class LinenNetwork:
    """A Linen module in evaluation mode.

    Attributes:
        module: the module.
        state: its variables other than parameters, such as the statistics of batches.
    """

    module: nn.Module
    state: Weights

    def __call__(self, params: Any, x: jax.Array) -> Any:
        """The features of [batch, ...]."""
        asked = inspect.signature(self.module.__call__).parameters
        mode: dict[str, Any] = {name: x for name, x in _EVALUATION.items() if name in asked}
        return self.module.apply({"params": params, **self.state.tree()}, x, **mode)


def from_linen(module: nn.Module, variables: Any) -> tuple[LinenNetwork, Any]:
    """The function of a Linen module, and its parameters.

    Args:
        module: the module.
        variables: its parameters, or a mapping of its collections.

    Raises:
        UsageError: they are missing.
    """
    if not isinstance(variables, Mapping):
        expected = "the parameters of the Linen module, or its variables"
        fix = "Parameters that training should draw need no adapter: pass the module itself."
        raise UsageError("params", expected=expected, got=f"{variables!r:.80}", fix=fix)
    if "params" not in variables:
        variables = {"params": variables}
    state = {name: part for name, part in variables.items() if name != "params"}
    return LinenNetwork(module, Weights(state)), variables["params"]


@dataclass(frozen=True)
class NNXNetwork:
    """An NNX module in evaluation mode.

    Attributes:
        kind: the class of the module.
        state: its variables other than parameters.
        graph: the rest of it.
    """

    kind: type
    state: Weights
    graph: Any = field(repr=False)

    def __call__(self, params: Any, x: jax.Array) -> Any:
        """The features of [batch, ...]."""
        from flax import nnx

        module: Any = nnx.merge(self.graph, params, self.state.tree())
        return module(x)


def is_nnx(network: Any) -> bool:
    """Whether it is an NNX module."""
    loaded: Any = sys.modules.get("flax.nnx")
    return loaded is not None and isinstance(network, loaded.Module)


def from_nnx(module: "nnx.Module") -> tuple[NNXNetwork, Any]:
    """The function of an NNX module, which does not change, and its parameters."""
    from flax import nnx

    mode = {"deterministic": True, "use_running_average": True}
    fixed = nnx.view(module, raise_if_not_found=False, **mode)
    parts: Any = nnx.split(fixed, nnx.Param, ...)
    graph, params, state = parts
    return NNXNetwork(type(module), Weights(state), graph), params
