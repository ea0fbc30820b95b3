"""A network: a function with its parameters, known by its name and their digest."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax

from mmjax.encoders.weights import Weights
from mmjax.errors import UsageError
from mmjax.layers import as_tokens
from mmjax.types import Tokens

Function = Callable[[Any, jax.Array], Any]
"""``(params, x [batch, ...]) -> features``: [batch, features], [batch, length, features], or
Tokens."""


class Network:
    """A function and its parameters.

    Args:
        function: maps parameters and inputs to features.
        weights: the parameters.
        name: of the network, for recipes.
    """

    def __init__(self, function: Function, weights: Weights, name: str) -> None:
        self.function, self.weights, self.name = function, weights, name

    def __repr__(self) -> str:
        return f"{self.name} {self.weights.digest[:8]}"

    def makes_tokens(self, x: jax.ShapeDtypeStruct) -> bool:
        """Whether the features of such inputs come with a mask; nothing is computed."""
        return isinstance(jax.eval_shape(partial(self.function, self.weights.tree()), x), tuple)

    def encode(self, x: jax.Array, arrays: Mapping[str, Any] = {}) -> Tokens:
        """The features of [batch, ...], with some arrays in place of the parameters.

        Raises:
            UsageError: they are not [batch, features], [batch, length, features] or Tokens.
        """
        output = self.function(self.weights.tree(arrays), x)
        values, mask = output if isinstance(output, tuple) and len(output) == 2 else (output, None)
        fits = getattr(values, "ndim", None) in (2, 3) and len(values) == len(x)
        if mask is not None:
            fits &= values.ndim == 3 and mask.shape == values.shape[:2] and mask.dtype == bool
        if not fits:
            got = jax.tree.map(lambda part: getattr(part, "shape", part), output)
            expected = "[batch, features], [batch, length, features] or Tokens"
            raise UsageError(
                f"features of {self.name}",
                expected=f"{expected} of {len(x)} rows",
                got=f"{got}"[:200],
                fix="Reshape them in the function, such as a feature map to one token a place.",
            )
        return as_tokens(output)
