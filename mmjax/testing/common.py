"""Shared by the contracts: the error, the check of a set of rules, and comparisons of trees."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters.partial_eval import dce_jaxpr

from mmjax.errors import MmjaxError
from mmjax.layers.components import removable, remove
from mmjax.layers.initializers import drawing
from mmjax.layers.platform import compiler_options
from mmjax.types import Tokens

KEYS = jax.random.key(0), jax.random.key(1)

Rule = Callable[[Any], Iterator[str]]


class ContractError(MmjaxError, AssertionError):
    """An encoder, fusion, objective, method or augmentation breaks a rule; the message names both.

    Example:
        >>> from mmjax.testing import check_objective
        >>> check_objective(lambda outputs, batch: (float("nan"), {}))
        Traceback (most recent call last):
            ...
        mmjax.testing.common.ContractError: <lambda> breaks rule 1 (The loss and every metric are
            finite scalars): loss is nan.
    """


def make_tokens(
    shapes: Mapping[str, tuple[int, int]], *, batch: int = 4, seed: int = 0
) -> dict[str, Tokens]:
    """Standard normal tokens without padding, from {name: (length, features)}.

    Example:
        >>> from mmjax.testing import make_tokens
        >>> tokens = make_tokens({"audio": (5, 13), "image": (4, 32)}, batch=2)
        >>> {name: t.values.shape for name, t in tokens.items()}
        {'audio': (2, 5, 13), 'image': (2, 4, 32)}
    """
    rng = np.random.default_rng(seed)
    draw = lambda shape: jnp.asarray(rng.normal(size=(batch, *shape)), jnp.float32)
    return {n: Tokens(draw(s), jnp.ones((batch, s[0]), bool)) for n, s in shapes.items()}


def check(subject: Any, rules: tuple[Rule, ...], probe: Any, *, traced: Rule) -> None:
    """Raises ContractError for the first rule broken; ``traced`` is the rule about tracing."""
    for rule in rules:
        try:
            complaint = next(rule(probe), None)
        except jax.errors.JAXTypeError as error:
            rule, complaint = traced, str(error).splitlines()[0].rstrip(".")
        if complaint:
            name = getattr(subject, "__name__", type(subject).__name__)
            number, promise = rules.index(rule) + 1, (rule.__doc__ or "").rstrip(".")
            raise ContractError(f"{name} breaks rule {number} ({promise}): {complaint}.")


def compile_fast(function: Callable, **jit_options: Any) -> Callable:
    """Compiles with little optimisation: everything here runs a few times, on tiny arrays."""
    return jax.jit(function, compiler_options=compiler_options("least"), **jit_options)


def initialise(init: Callable[[jax.Array], Any], keys: jax.Array) -> Any:
    """The variables that ``init`` gives for a key, as NumPy arrays."""
    return jax.device_get(drawing(init, compiler_options=compiler_options("least"))(keys))


def generic(like: jax.Array) -> jax.Array:
    """Random coefficients, since a plain sum would hide gradients that cancel.

    Example:
        >>> generic(jnp.zeros((2, 3))).shape
        (2, 3)
    """
    return jax.random.normal(KEYS[1], like.shape, like.dtype)


def fill_masked(tokens: Tokens, junk: float) -> Tokens:
    """The same tokens with ``junk`` wherever the mask is false.

    Example:
        >>> tokens = Tokens(np.ones((1, 2, 1)), np.array([[True, False]]))
        >>> fill_masked(tokens, 7.0).values.ravel().tolist()
        [1.0, 7.0]
    """
    values: Any = np.where(tokens.mask[..., None], tokens.values, junk)  # NumPy for JAX
    return tokens._replace(values=values)


def maps(init: Callable[[jax.Array], Any], variables: Any) -> bool:
    """Whether ``vmap(init)`` over keys gives the same variables as init with the first key."""
    return is_close(first_row(initialise(jax.vmap(init), jnp.stack(KEYS))), variables)


def without_each(
    member: Any, run: Callable[[Any], Any], complain: Callable[[Any], Iterator[str]]
) -> Iterator[str]:
    """Complaints about the components that a member declares as ``removable``.

    Args:
        member: a module or a method.
        run: what a member computes; it is traced, which takes far less time than compilation.
        complain: what is wrong with the shapes of what the member without a component computes.
    """
    declared = getattr(member, "removable", {})
    if not declared:
        return
    known = {field.name for field in fields(member)}
    for component, changes in declared.items():
        if not component.isidentifier() or component == "dropout":
            yield f"{component!r} cannot name a component"
        if not changes or {*changes} - known:
            names = ", ".join(sorted({*changes} - known)) or "nothing"
            yield f"{component} is removed by {names}, not by fields of its own"
    whole, _ = _trace(partial(run, member))
    for component in removable(member):
        program, shapes = _trace(partial(run, remove(member, component)))
        yield from (f"without {component}, {complaint}" for complaint in complain(shapes))
        if program == whole:
            yield f"without {component} nothing changes"


def _trace(run: Callable[[], Any]) -> tuple[Any, Any]:
    """The program of a function, without what it computes in vain, and the shapes it returns."""
    closed, shapes = jax.make_jaxpr(run, return_shape=True)()
    used, _ = dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    return (str(used), [np.asarray(x).tobytes() for x in closed.consts]), shapes


def by_path(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a tree by path, such as ``readout/kernel``.

    Example:
        >>> [*by_path({"readout": {"kernel": np.ones(2)}})]
        ['readout/kernel']
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(p, simple=True, separator="/"): np.asarray(x) for p, x in leaves}


def without_gradient(grads: Mapping[str, np.ndarray]) -> list[str]:
    """Paths of gradients that are zero up to rounding, relative to the largest.

    Example:
        >>> without_gradient({"used": np.ones(2), "idle": np.zeros(2)})
        ['idle']
    """
    largest = {path: np.abs(grad).max() for path, grad in grads.items()}
    return [path for path, size in largest.items() if not size > 1e-7 * max(largest.values())]


def first_row(tree: Any) -> Any:
    """Entry 0 of every array.

    Example:
        >>> first_row({"a": np.arange(3)})["a"].item()
        0
    """
    return jax.tree.map(lambda x: x[0], tree)


def reverse_rows(tree: Any) -> Any:
    """Every array with its first axis reversed.

    Example:
        >>> reverse_rows({"a": np.arange(3)})["a"].tolist()
        [2, 1, 0]
    """
    return jax.tree.map(lambda x: x[::-1], tree)


def is_finite(tree: Any) -> bool:
    """Whether all arrays are free of NaN and infinity.

    Example:
        >>> is_finite({"a": np.ones(2), "b": np.array(np.nan)})
        False
    """
    return all(np.isfinite(np.asarray(x, np.float32)).all() for x in jax.tree.leaves(tree))


def is_equal(a: Any, b: Any) -> bool:
    """Whether two trees are bitwise equal, with the same shapes.

    Example:
        >>> is_equal({"a": np.ones(2)}, {"a": np.ones(2) + 1e-7})
        False
    """
    return _agree(a, b, np.array_equal)


def is_close(a: Any, b: Any) -> bool:
    """Whether two trees are equal up to rounding, with the same shapes.

    Example:
        >>> is_close({"a": np.ones(2)}, {"a": np.ones(2) + 1e-7})
        True
    """
    return _agree(a, b, lambda x, y: np.allclose(x, y, rtol=1e-5, atol=1e-5))


def _agree(a: Any, b: Any, same: Callable[[Any, Any], bool]) -> bool:
    if jax.tree.map(jnp.shape, a) != jax.tree.map(jnp.shape, b):
        return False
    return all(map(same, jax.tree.leaves(a), jax.tree.leaves(b)))
