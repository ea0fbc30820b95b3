"""The contract of training methods."""

from collections.abc import Iterator
from functools import cached_property, partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmjax.testing.common import (
    KEYS,
    Rule,
    check,
    compile_fast,
    first_row,
    initialise,
    is_close,
    is_equal,
    is_finite,
    without_each,
)
from mmjax.types import Batch, Method, Outputs, Tokens

_STEPS = 3  # enough for a method that alternates between modalities


class _TinyModel(nn.Module):
    """A model of two modalities: a Dense layer each, their sum, and a readout."""

    @nn.compact
    def __call__(self, inputs, present, *, train):
        tokens = {}
        for n in sorted(inputs):
            x = nn.Dense(4, name=f"encoders_{n}")(jnp.where(present[n][:, None], inputs[n], 0))
            x = jnp.where(present[n][:, None], nn.relu(x), 0)
            tokens[n] = Tokens(x[:, None], present[n][:, None])
        fused = sum(t.values[:, 0] for t in tokens.values())
        return _Sum(name="fusion")(fused, train=train)._replace(tokens=tokens)


class _Sum(nn.Module):
    @nn.compact
    def __call__(self, fused, *, train):
        fused = nn.Dropout(0.1, deterministic=not train)(fused)
        return Outputs(nn.Dense(3, name="readout")(fused), fused=fused)


class _Result(NamedTuple):
    grads: Any
    memory: Any
    metrics: Any


class _MethodProbe:
    """A method with a model of two modalities, each absent in one row."""

    def __init__(self, method: Method, model: nn.Module) -> None:
        rng = np.random.default_rng(0)
        draw = lambda size: rng.normal(size=(6, size)).astype(np.float32)
        here = {"amber": np.arange(6) != 1, "blue": np.arange(6) != 2}
        self.batch = Batch({"amber": draw(4), "blue": draw(5)}, here, np.arange(6) % 3)
        self.method, self.model, self.num_traces = method, model, 0
        self.params = self.init(KEYS[0])
        self.gradient = method.gradient(self._forward, _cross_entropy)
        self.memory = jax.device_get(method.init(self._forward, self.params, self.batch))
        self.run = compile_fast(self._trace)

    def init(self, key: jax.Array) -> Any:
        """The parameters of the model."""
        inputs, present = self.batch.inputs, self.batch.present
        init = lambda key: self.model.init(key, inputs, present, train=False)
        return initialise(init, key)["params"]

    @cached_property
    def eager(self) -> _Result:
        """The first step, not compiled, as jit would sort the metrics."""
        params, memory, batch = jax.device_put((self.params, self.memory, self.batch))
        return _Result(*self.gradient(params, memory, batch, KEYS[1]))

    def steps(self) -> Iterator[_Result]:
        """The first steps, all with the same parameters."""
        memory = self.memory
        for key in jax.random.split(KEYS[1], _STEPS):
            result = self.run(self.params, memory, self.batch, key)
            yield result
            memory = result.memory

    def lacking(self, *names: str) -> _Result:
        """A step on rows that lack some modalities."""
        nowhere = dict.fromkeys(names, np.zeros(6, bool))
        batch = self.batch._replace(present={**self.batch.present, **nowhere})
        return self.run(self.params, self.memory, batch, KEYS[1])

    def try_without(self, method: Method) -> _Result:
        """The first step of a variant of the method."""
        memory = method.init(self._forward, self.params, self.batch)
        gradient = method.gradient(self._forward, _cross_entropy)
        return _Result(*gradient(self.params, memory, self.batch, jax.random.key(1)))

    def _forward(self, params, batch, key):
        rngs = {"dropout": key}
        return self.model.apply(
            {"params": params}, batch.inputs, batch.present, train=True, rngs=rngs
        )

    def _trace(self, params, memory, batch, key):
        self.num_traces += 1
        return _Result(*self.gradient(params, memory, batch, key))


def _cross_entropy(outputs, batch):
    losses = optax.softmax_cross_entropy_with_integer_labels(outputs.prediction, batch.target)
    right = outputs.prediction.argmax(axis=-1) == batch.target
    return losses.mean() + sum(outputs.aux.values()), {"accuracy": right.mean()}


def method_gives_a_gradient(probe: _MethodProbe) -> Iterator[str]:
    """The gradient is finite and has the structure of the parameters."""
    for result in probe.steps():
        yield from _gradient_complaints(probe, result)
        if not is_finite(result.grads):
            yield "the gradient is not finite"


def _gradient_complaints(probe: _MethodProbe, result: _Result) -> Iterator[str]:
    if _like(result.grads) != _like(probe.params):
        yield "names, shapes or dtypes of the gradient differ from those of the parameters"


def method_makes_scalars(probe: _MethodProbe) -> Iterator[str]:
    """Metrics are finite scalars, with "loss" first."""
    if next(iter(probe.eager.metrics), None) != "loss":
        yield f"the metrics are {', '.join(probe.eager.metrics)}"
    for name, value in probe.eager.metrics.items():
        if jnp.shape(value) != () or not is_finite(value):
            yield f"{name} is {value}"


def method_keeps_its_memory(probe: _MethodProbe) -> Iterator[str]:
    """The memory stays finite, with the same structure."""
    for result in probe.steps():
        if _like(result.memory) != _like(probe.memory):
            yield "a step changes names, shapes or dtypes of the memory"
        if not is_finite(result.memory):
            yield "the memory is not finite"


def method_ignores_the_absent(probe: _MethodProbe) -> Iterator[str]:
    """Absent modalities have exactly zero influence; their encoders have no gradient."""
    inputs, present = probe.batch.inputs, probe.batch.present
    junk = {n: np.where(present[n][:, None], x, np.nan) for n, x in inputs.items()}
    dirty = probe.batch._replace(inputs=junk)
    clean, dirty = (
        probe.run(probe.params, probe.memory, rows, KEYS[1]) for rows in (probe.batch, dirty)
    )
    if not is_equal(clean, dirty):
        yield "NaN where a modality is absent changes the gradient, the memory or a metric"
    for name in inputs:
        result = probe.lacking(name)
        if not is_finite(result):
            yield f"a result is not finite if no row has {name}"
        if any(np.any(x) for x in jax.tree.leaves(result.grads.get(f"encoders_{name}"))):
            yield f"the encoder of {name} has a gradient although no row has {name}"


def method_survives_empty_rows(probe: _MethodProbe) -> Iterator[str]:
    """Rows without any modality give finite results."""
    if not is_finite(probe.lacking(*probe.batch.inputs)):
        yield "a result is not finite if no row has any modality"


def method_maps(probe: _MethodProbe) -> Iterator[str]:
    """Runs under vmap equal separate runs."""
    others = probe.init(KEYS[1])
    both = jax.tree.map(lambda *x: np.stack(x), probe.params, others)
    memories = jax.tree.map(lambda x: np.stack([x, x]), probe.memory)
    step = lambda params, memory, key: probe.gradient(params, memory, probe.batch, key)
    mapped = jax.device_get(compile_fast(jax.vmap(step))(both, memories, jnp.stack(KEYS)))
    alone = probe.run(probe.params, probe.memory, probe.batch, KEYS[0])
    if not is_close(_Result(*first_row(mapped)), alone):
        yield "vmap over runs changes the results"


def method_compiles_once(probe: _MethodProbe) -> Iterator[str]:
    """A single trace, and the same results compiled and eager."""
    compiled = probe.run(probe.params, probe.memory, probe.batch, KEYS[1])
    if not is_close(compiled, probe.eager):
        yield "compiled and eager results differ"
    if probe.num_traces != 1:
        yield f"batches of the same shape were traced {probe.num_traces} times"


def method_components_can_be_removed(probe: _MethodProbe) -> Iterator[str]:
    """Without a component that it declares as removable it gives a gradient, and differs."""
    yield from without_each(probe.method, probe.try_without, partial(_gradient_complaints, probe))


def _like(tree: Any) -> Any:
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


METHOD_RULES: tuple[Rule, ...] = (
    method_gives_a_gradient,
    method_makes_scalars,
    method_keeps_its_memory,
    method_ignores_the_absent,
    method_survives_empty_rows,
    method_maps,
    method_compiles_once,
    method_components_can_be_removed,
)


def check_method(method: Method, model: nn.Module | None = None) -> None:
    """Checks a training method against ``METHOD_RULES``.

    Args:
        method: checked without its preliminary runs.
        model: a model for three classes, with modalities ``amber`` and ``blue`` that are vectors of
            4 and 5 numbers; by default a tiny one with a shared readout and no branches.

    Raises:
        ContractError: the method breaks a rule.

    Example:
        >>> from mmjax.methods import Joint
        >>> from mmjax.testing import check_method
        >>> class Nothing(Joint):
        ...     def gradient(self, forward, objective):
        ...         return lambda params, memory, batch, key: ({}, memory, {"loss": 0.0})
        >>> check_method(Nothing())
        Traceback (most recent call last):
            ...
        mmjax.testing.common.ContractError: Nothing breaks rule 1 (The gradient is finite and has
            the structure of the parameters): names, shapes or dtypes of the gradient differ from
            those of the parameters.
    """
    probe = _MethodProbe(method, _TinyModel() if model is None else model)
    check(method, METHOD_RULES, probe, traced=method_compiles_once)
