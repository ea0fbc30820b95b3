"""The contract of encoders."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.layers import takes_mask
from mmjax.testing.common import (
    KEYS,
    Rule,
    by_path,
    check,
    compile_fast,
    first_row,
    generic,
    initialise,
    is_close,
    is_finite,
    maps,
    reverse_rows,
    without_each,
    without_gradient,
)


class _EncoderProbe:
    """An encoder with inputs, and its parameters, outputs and gradients."""

    def __init__(self, encoder: nn.Module, x: jax.Array) -> None:
        self.encoder, self.x, self.num_traces = encoder, jnp.asarray(x), 0
        self.apply: Callable[..., Any] = encoder.apply
        self.variables = initialise(lambda key: encoder.init(key, self.x, train=False), KEYS[0])
        self.run = compile_fast(self._trace)

    def try_without(self, encoder: nn.Module) -> Any:
        """The tokens in training of a variant of the encoder, with parameters of its own."""
        key = jax.random.key(0)
        return encoder.init_with_output({"params": key, "dropout": key}, self.x, train=True)[0]

    def _trace(self, variables, x):
        self.num_traces += 1

        def combine(variables):
            tokens = self.apply(variables, x, train=False)
            valid = jnp.where(tokens.mask[..., None], tokens.values, 0)
            return jnp.vdot(generic(valid), valid), tokens

        grads, tokens = jax.grad(combine, has_aux=True)(variables)
        return tokens, grads


def encoder_makes_tokens(probe: _EncoderProbe) -> Iterator[str]:
    """Tokens are finite floats [batch, length, features] under a bool [batch, length]."""
    for train in (False, True):
        rngs = {"dropout": KEYS[1]}
        tokens = probe.apply(probe.variables, probe.x, train=train, rngs=rngs)
        yield from _shape_complaints(probe, tokens)
        if not is_finite(tokens[0]):
            yield f"values are not finite with train={train}"


def _shape_complaints(probe: _EncoderProbe, tokens: Any) -> Iterator[str]:
    values, mask = tokens
    if len(values.shape) != 3 or values.shape[0] != len(probe.x) or values.dtype != jnp.float32:
        yield f"values are {values.dtype} {values.shape} for inputs {probe.x.shape}"
    if mask.shape != values.shape[:2] or mask.dtype != bool:
        yield f"the mask is {mask.dtype} {mask.shape} for values {values.shape}"


def encoder_rows_are_independent(probe: _EncoderProbe) -> Iterator[str]:
    """Each row depends on itself alone."""
    tokens, _ = probe.run(probe.variables, probe.x)
    reverse, _ = probe.run(probe.variables, probe.x[::-1])
    if not is_close(reverse_rows(tokens), reverse):
        yield "reversing the rows changes more than their order"
    copies, _ = probe.run(probe.variables, jnp.broadcast_to(probe.x[:1], probe.x.shape))
    if not is_close(first_row(tokens), first_row(copies)):
        yield "replacing the other rows changes the first"


def encoder_learns(probe: _EncoderProbe) -> Iterator[str]:
    """Every parameter has a non-zero gradient."""
    _, grads = probe.run(probe.variables, probe.x)
    if set(grads) - {"params"}:
        yield f"only the collection params is trained, but the variables are {sorted(grads)}"
    yield from (f"{path} has no gradient" for path in without_gradient(by_path(grads)))


def encoder_compiles_once(probe: _EncoderProbe) -> Iterator[str]:
    """A single trace, the same results compiled and eager, and init that maps over keys."""
    tokens, grads = probe.run(probe.variables, probe.x)
    probe.run(jax.tree.map(lambda p, g: p - g, probe.variables, grads), probe.x)
    if probe.num_traces != 1:
        yield f"a step of gradient descent retraced the encoder: {probe.num_traces} traces"
    if not is_close(tokens, probe.apply(probe.variables, probe.x, train=False)):
        yield "compiled and eager outputs differ"
    if not maps(lambda key: probe.encoder.init(key, probe.x, train=False), probe.variables):
        yield "init mapped over keys differs from init with a single key"


def encoder_heeds_its_mask(probe: _EncoderProbe) -> Iterator[str]:
    """A mask that is all true changes nothing, and a row of one frame has a valid token."""
    if probe.x.ndim < 3 or not takes_mask(probe.encoder):
        return
    whole = jnp.ones(probe.x.shape[:2], bool)
    run = lambda **mask: probe.apply(probe.variables, probe.x, train=False, **mask)
    if not is_close(run(), run(mask=whole)):
        yield "a mask that is all true changes the tokens"
    if not np.asarray(run(mask=whole.at[:, 1:].set(False)).mask).any(axis=1).all():
        yield "no token is valid where only the first frame is"


def encoder_components_can_be_removed(probe: _EncoderProbe) -> Iterator[str]:
    """Without a component that it declares as removable it makes tokens, and differs."""
    yield from without_each(probe.encoder, probe.try_without, partial(_shape_complaints, probe))


ENCODER_RULES: tuple[Rule, ...] = (
    encoder_makes_tokens,
    encoder_rows_are_independent,
    encoder_learns,
    encoder_compiles_once,
    encoder_heeds_its_mask,
    encoder_components_can_be_removed,
)


def check_encoder(encoder: nn.Module, x: jax.Array) -> None:
    """Checks an encoder, a Linen module, against ``ENCODER_RULES`` on inputs [batch, ...].

    Raises:
        ContractError: the encoder breaks a rule.

    Example:
        >>> import jax.numpy as jnp
        >>> from mmjax.encoders import Raw
        >>> from mmjax.testing import check_encoder
        >>> check_encoder(Raw(), jnp.eye(4))  # keeps all rules
    """
    check(encoder, ENCODER_RULES, _EncoderProbe(encoder, x), traced=encoder_compiles_once)
