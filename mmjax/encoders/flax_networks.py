"""Networks of Flax's two libraries, in evaluation mode."""

import inspect
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax

from mmjax.encoders.network import Network
from mmjax.encoders.weights import Weights
from mmjax.errors import UsageError

if TYPE_CHECKING:
    from flax import nnx  # which takes a while to import

_PARAMS = "params"
_EVALUATION = {
    "train": False,
    "training": False,
    "is_training": False,
    "deterministic": True,
    "use_running_average": True,
}
"""Arguments of a module's call that select evaluation mode."""


def from_linen(module: nn.Module, variables: Any) -> Network:
    """A Linen module with its parameters, or with a mapping of all its collections.

    Raises:
        UsageError: they are missing.
    """
    if not isinstance(variables, Mapping):
        expected = "the parameters of the Linen module, or its variables"
        fix = "Parameters that training should draw need no adapter: pass the module itself."
        raise UsageError("params", expected=expected, got=f"{variables!r:.80}", fix=fix)
    if _PARAMS not in variables:
        variables = {_PARAMS: variables}
    asked = inspect.signature(module.__call__).parameters
    mode: dict[str, Any] = {name: x for name, x in _EVALUATION.items() if name in asked}

    def apply(variables: Any, x: jax.Array) -> Any:
        return module.apply(variables, x, **mode)

    return Network(apply, Weights(variables, f"{_PARAMS}."), type(module).__name__)


def is_nnx(network: Any) -> bool:
    """Whether it is an NNX module."""
    loaded: Any = sys.modules.get("flax.nnx")
    return loaded is not None and isinstance(network, loaded.Module)


def from_nnx(module: "nnx.Module") -> Network:
    """An NNX module with the variables that it has now; it is left as it is."""
    from flax import nnx

    mode = {"deterministic": True, "use_running_average": True}
    fixed = nnx.view(module, raise_if_not_found=False, **mode)
    parts: Any = nnx.split(fixed, nnx.Param, ...)
    graph, params, state = parts

    def apply(variables: Any, x: jax.Array) -> Any:
        merged: Any = nnx.merge(graph, variables[_PARAMS], variables["state"])
        return merged(x)

    return Network(
        apply, Weights({_PARAMS: params, "state": state}, f"{_PARAMS}."), type(module).__name__
    )
