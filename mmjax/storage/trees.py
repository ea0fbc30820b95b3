"""Trees of arrays under flat names, and JAX keys as the integers they consist of."""

import hashlib
from collections.abc import Mapping

import chex
import jax
import numpy as np

from mmjax.errors import DataError


def flatten(tree: chex.ArrayTree) -> dict[str, chex.Array]:
    """The arrays of a tree under flat names, such as "fusion.readout.kernel".

    Example:
        >>> tree = {"fusion": {"readout": {"kernel": np.ones((2, 3))}}, "step": np.int32(5)}
        >>> {name: x.shape for name, x in flatten(tree).items()}
        {'fusion.readout.kernel': (2, 3), 'step': ()}
    """
    name = lambda path: jax.tree_util.keystr(path, simple=True, separator=".")
    return {name(path): key_bits(x) for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def unflatten(
    found: Mapping[str, np.ndarray], like: chex.ArrayTree, where: object
) -> chex.ArrayTree:
    """The inverse of ``flatten``.

    Args:
        found: arrays under flat names.
        like: a tree of arrays or shapes with the same names, shapes and dtypes.
        where: where the arrays come from, for the error.

    Raises:
        DataError: names, shapes or dtypes differ.
    """
    wanted = flatten(like)
    layout = lambda flat: {(name, x.shape, str(x.dtype)) for name, x in flat.items()}
    differing = sorted(layout(found) ^ layout(wanted))
    if differing:
        raise DataError(
            where,
            expected="the arrays of this model",
            got=f"a mismatch at {differing[0]}",
            fix="Another recipe or version wrote them.",
        )
    leaves = [as_key(found[n], x) for n, x in zip(wanted, jax.tree.leaves(like), strict=True)]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def key_bits(x: chex.Array) -> chex.Array:
    """The integers behind an array (or a shape) of JAX keys; any other array is returned as is."""
    if not is_key(x):
        return x
    made_of = jax.random.key_data
    return jax.eval_shape(made_of, x) if isinstance(x, jax.ShapeDtypeStruct) else made_of(x)


def as_key(bits: chex.Array, like: chex.Array) -> chex.Array:
    """The inverse of ``key_bits``; ``like`` says whether these are keys, and of which kind."""
    return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(like)) if is_key(like) else bits


def is_key(x: chex.Array) -> bool:
    """Whether an array is of JAX keys."""
    return jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


def digest_array(x: np.ndarray) -> str:
    """The sha256 of an array's dtype, shape and values, in hex."""
    content = f"{x.dtype}{x.shape}".encode() + np.ascontiguousarray(x).tobytes()
    return hashlib.sha256(content).hexdigest()
