"""Given parameters: a tree of arrays that is known by its digest."""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import UsageError
from mmjax.storage.trees import digest_array, key_bits


class Weights:
    """Parameters of a network, in any tree.

    NumPy arrays are copied, so that later changes have no effect. Leaves that are not arrays, such
    as the activation functions in a tree of Equinox, stay as they are.

    Args:
        tree: the parameters.
        trained: the part that can be trained, if not all of it.

    Raises:
        UsageError: two arrays have the same name.

    Example:
        >>> weights = Weights({"kernel": np.ones((2, 3), np.float32), "steps": np.arange(2)})
        >>> list(weights.arrays), list(weights.floats())
        (['kernel', 'steps'], ['kernel'])
    """

    def __init__(self, tree: Any, trained: str = "") -> None:
        found, self._structure = jax.tree_util.tree_flatten_with_path(tree)
        name = lambda path: jax.tree_util.keystr(path, simple=True, separator=".") or "params"
        self._leaves = {name(path): _fixed(leaf) for path, leaf in found}
        self._trained = trained
        if len(self._leaves) < len(found):
            raise UsageError("params", "two arrays have the same name", fix="Rename one.")

    @property
    def arrays(self) -> dict[str, Any]:
        """The arrays by name."""
        return {name: leaf for name, leaf in self._leaves.items() if _is_array(leaf)}

    def floats(self) -> dict[str, Any]:
        """The arrays that can be trained, by name."""
        is_float = lambda x: jnp.issubdtype(x.dtype, jnp.floating)
        own = {name: x for name, x in self.arrays.items() if name.startswith(self._trained)}
        return {name: x for name, x in own.items() if is_float(x)}

    def tree(self, arrays: Mapping[str, Any] = {}) -> Any:
        """The tree, with some of its arrays replaced; those of NumPy are JAX's.

        NumPy's could not be indexed by traced token ids.
        """
        leaves = [arrays.get(name, leaf) for name, leaf in self._leaves.items()]
        leaves = [jnp.asarray(x) if isinstance(x, np.ndarray) else x for x in leaves]
        return jax.tree.unflatten(self._structure, leaves)

    @cached_property
    def digest(self) -> str:
        """The sha256 of names and arrays, in hex."""
        sha = hashlib.sha256()
        for name, leaf in self._leaves.items():
            bits = digest_array(np.asarray(key_bits(leaf))) if _is_array(leaf) else type(leaf)
            sha.update(f"{name} {bits} ".encode())
        return sha.hexdigest()


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | jax.Array)


def _fixed(leaf: Any) -> Any:
    """A leaf that cannot change; an array in a dtype that JAX has."""
    if isinstance(leaf, jax.Array) or not hasattr(leaf, "__array__"):
        return leaf
    array = np.asarray(leaf)
    fixed = np.array(array, jax.dtypes.canonicalize_dtype(array.dtype))
    fixed.setflags(write=False)
    return fixed
