"""Contracts that encoders, fusions and objectives keep, in this library or outside it.

One line in a test suite holds an extension to all of them:
``check_fusion(MyFusion(out_dim=3))``. A rule is one function that yields its complaints; it
becomes part of a contract by standing in that contract's table.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import MmjaxError
from mmjax.types import Batch, Encoder, Fusion, Objective, Outputs, Tokens

# Unlike lengths and widths, two tokens at least, and names that occur in no name of a parameter.
_SHAPES = {"amber": (2, 3), "blue": (3, 5), "coral": (4, 6)}
_KEYS = jax.random.key(0), jax.random.key(1)

Rule = Callable[[Any], Iterator[str]]


class ContractError(MmjaxError, AssertionError):
    """An encoder, a fusion or an objective breaks a rule; the message names both."""


def make_tokens(
    shapes: Mapping[str, tuple[int, int]], *, batch: int = 4, seed: int = 0
) -> dict[str, Tokens]:
    """Standard normal tokens, all valid, of {name: (length, features)}."""
    rng = np.random.default_rng(seed)
    draw = lambda shape: jnp.asarray(rng.normal(size=(batch, *shape)), jnp.float32)
    return {n: Tokens(draw(s), jnp.ones((batch, s[0]), bool)) for n, s in shapes.items()}


def check_fusion(fusion: Fusion) -> None:
    """Holds a fusion, a Linen module, to the nine rules of ``FUSION_RULES``.

    A fusion says two things about itself that the rules take into account. The class attribute
    ``no_gradient``, {regular expression: reason}, names the parameters that learn nothing by
    design. ``mmjax.layers.promise`` states what is zero where the mathematics promises more.

    Raises:
        ContractError: the fusion breaks a rule.
    """
    sizes = range(1, len(_SHAPES) + 1)
    probes = [_FusionProbe(fusion, dict(list(_SHAPES.items())[:size])) for size in sizes]
    _check(fusion, FUSION_RULES, probes, traced=compiles_once)


def check_encoder(encoder: Encoder, x: jax.Array) -> None:
    """Holds an encoder, a Linen module, to ``ENCODER_RULES``, on inputs [batch, ...].

    Raises:
        ContractError: the encoder breaks a rule.
    """
    _check(encoder, ENCODER_RULES, _EncoderProbe(encoder, x), traced=encoder_compiles_once)


def check_objective(objective: Objective) -> None:
    """Holds an objective to ``OBJECTIVE_RULES``, on two modalities, one of them absent at times.

    Raises:
        ContractError: the objective breaks a rule.
    """
    _check(objective, OBJECTIVE_RULES, _ObjectiveProbe(objective), traced=objective_compiles_once)


def _check(subject: Any, rules: tuple[Rule, ...], probe: Any, *, traced: Rule) -> None:
    for rule in rules:
        try:
            complaint = next(rule(probe), None)
        except jax.errors.JAXTypeError as error:
            rule, complaint = traced, str(error).splitlines()[0].rstrip(".")
        if complaint:
            name = getattr(subject, "__name__", type(subject).__name__)
            number, promise = rules.index(rule) + 1, rule.__doc__.rstrip(".")
            raise ContractError(f"{name} breaks rule {number} ({promise}): {complaint}.")


# Fusions


class _Run(NamedTuple):
    outputs: Outputs
    promises: Any
    param_grads: Any
    value_grads: Mapping[str, jax.Array]


class _FusionProbe:
    """A fusion on tokens of some modalities: its parameters, values and gradients."""

    def __init__(self, fusion: nn.Module, shapes: Mapping[str, tuple[int, int]]) -> None:
        self.fusion = fusion
        self.tokens = make_tokens(shapes)
        self.others = make_tokens(shapes, seed=1)
        self.num_traces = 0
        self._run = _compile(self._trace)

    @cached_property
    def variables(self) -> Any:
        """The parameters, with the modalities in sorted order."""
        return self.init(self.tokens)

    def init(self, tokens: Mapping[str, Tokens]) -> Any:
        """The parameters; eager, because jit would sort the names."""
        return self.fusion.init(_KEYS[0], tokens, train=False)

    def apply(self, tokens: Mapping[str, Tokens], *, train: bool = False) -> Outputs:
        """Outputs without the tokens; eager, because jit would sort the names."""
        rngs = {"dropout": _KEYS[1]} if train else {}
        return _as_outputs(self.fusion.apply(self.variables, tokens, train=train, rngs=rngs))

    def run(self, tokens: Mapping[str, Tokens], variables: Any = None) -> _Run:
        """Outputs, and the gradients of a random combination of the predictions."""
        values = {n: t.values for n, t in tokens.items()}
        masks = {n: t.mask for n, t in tokens.items()}
        return self._run(self.variables if variables is None else variables, values, masks)

    def _trace(self, variables, values, masks):
        self.num_traces += 1

        def combine(variables, values):
            tokens = {n: Tokens(values[n], masks[n]) for n in values}
            result, state = self.fusion.apply(
                variables, tokens, train=False, mutable=["intermediates"]
            )
            outputs = _as_outputs(result)
            return jnp.vdot(_generic(outputs.prediction), outputs.prediction), (outputs, state)

        grads, aux = jax.grad(combine, argnums=(0, 1), has_aux=True)(variables, values)
        return _Run(*aux, *grads)


def has_its_shape(probes: list[_FusionProbe]) -> Iterator[str]:
    """One, two or three modalities make a finite [batch, out_dim], in training too."""
    for probe in probes:
        yield from _shape_complaints(probe, probe.run(probe.tokens).outputs)
    two = probes[1]
    for complaint in _shape_complaints(two, two.apply(two.tokens, train=True)):
        yield f"in training, {complaint}"


def _shape_complaints(probe: _FusionProbe, outputs: Outputs) -> Iterator[str]:
    names = ", ".join(probe.tokens)
    want = (len(probe.tokens["amber"].values), probe.fusion.out_dim)
    for part, array in {"prediction": outputs.prediction, **outputs.branches}.items():
        if array.shape != want:
            yield f"{part} has shape {array.shape}, expected {want}, for {names}"
    if not _is_finite(outputs):
        yield f"outputs are not finite for {names}"
    if any(term.shape for term in outputs.aux.values()):
        yield f"a term of aux is not a scalar for {names}"


def rows_are_independent(probes: list[_FusionProbe]) -> Iterator[str]:
    """A row depends on itself alone."""
    probe = probes[1]
    tokens = _ragged(probe.tokens)
    rows = _rows(probe.run(tokens).outputs)
    if not _is_close(_reverse(rows), _rows(probe.run(_reverse(tokens)).outputs)):
        yield "reversing the rows changes more than their order"
    replaced = jax.tree.map(lambda x, y: x.at[1:].set(y[1:]), tokens, probe.others)
    if not _is_close(_first(rows), _first(_rows(probe.run(replaced).outputs))):
        yield "replacing the other rows changes the first"
    train = lambda tokens: _rows(probe.apply(tokens, train=True))
    if not _is_close(_first(train(tokens)), _first(train(replaced))):
        yield "replacing the other rows changes the first in training"


def every_parameter_learns(probes: list[_FusionProbe]) -> Iterator[str]:
    """Every modality has parameters, and every parameter a non-zero gradient."""
    for probe in probes[1:]:
        if set(probe.variables) != {"params"}:
            yield f"only params are trained, but it also keeps {sorted(probe.variables)}"
        exceptions = getattr(probe.fusion, "no_gradient", {})
        excused = lambda path, known=exceptions: any(re.search(r, path) for r in known)
        grads = _by_path(probe.run(probe.tokens).param_grads["params"])
        yield from (
            f"{path} has no gradient with {len(probe.tokens)} modalities"
            for path in _without_gradient(grads)
            if not excused(path)
        )
        for name in probe.tokens:
            if not any(name in path for path in grads) and not excused(name):
                yield f"no parameter carries the name of modality {name!r}; a constant cannot learn"


def every_modality_counts(probes: list[_FusionProbe]) -> Iterator[str]:
    """Every modality present can change the output, beside others and alone."""
    for probe in probes:
        for name in probe.tokens:
            rest = [n for n in probe.tokens if n != name]
            for where, tokens in {
                f"beside {rest}": probe.tokens,
                "alone": _without(probe.tokens, rest),
            }.items():
                changed = {**tokens, name: probe.others[name]}
                a, b = (probe.run(t).outputs.prediction for t in (tokens, changed))
                if not np.abs(np.asarray(a - b)).max() > 1e-6:
                    yield f"modality {name!r} {where} changes nothing"


def absence_is_exact(probes: list[_FusionProbe]) -> Iterator[str]:
    """What is absent or masked has exactly no influence on output and gradients."""
    probe = probes[-1]
    tokens = _ragged(probe.tokens)
    clean = probe.run(tokens)
    for junk in (np.nan, 1e30):
        dirty = {n: _fill_masked(t, junk) for n, t in tokens.items()}
        for part, a, b in zip(_Run._fields, clean, probe.run(dirty), strict=True):
            if not _is_equal(a, b):
                yield f"{junk} in tokens that are masked changes {part}"
    for name, (_, mask) in tokens.items():
        if np.any(clean.value_grads[name][~mask]):
            yield f"masked tokens of {name!r} have a gradient"
        grads = probe.run(_without(probe.tokens, [name])).param_grads["params"]
        others = [n for n in probe.tokens if n != name]
        for path, grad in _by_path(grads).items():
            if name in path and not any(n in path for n in others) and np.any(grad):
                yield f"{path} has a gradient while {name!r} is absent everywhere"


def nothing_present_is_finite(probes: list[_FusionProbe]) -> Iterator[str]:
    """With every modality absent the output and all gradients are finite."""
    for probe in probes:
        nothing = _without(probe.tokens, probe.tokens)
        in_one_row = jax.tree.map(lambda x, y: x.at[0].set(y[0]), probe.tokens, nothing)
        for where, tokens in {"any row": nothing, "the first row": in_one_row}.items():
            for part, tree in zip(_Run._fields, probe.run(tokens), strict=True):
                if not _is_finite(tree):
                    yield f"{part} is not finite with none of {list(tokens)} in {where}"


def order_is_irrelevant(probes: list[_FusionProbe]) -> Iterator[str]:
    """The order in which modalities are inserted changes neither parameters nor output."""
    probe = probes[1]
    reverse = dict(reversed(probe.tokens.items()))
    if not _is_equal(probe.variables, probe.init(reverse)):
        yield "the reverse order makes other parameters"
    elif not _is_close(probe.run(probe.tokens).outputs, probe.apply(reverse)):
        yield "the reverse order makes other outputs"


def compiles_once(probes: list[_FusionProbe]) -> Iterator[str]:
    """One trace, init maps over keys, float32 stays float32, bfloat16 works."""
    one, two, *_ = probes
    run = two.run(two.tokens)
    two.run(two.tokens, jax.tree.map(lambda p, g: p - g, two.variables, run.param_grads))
    if two.num_traces != 1:
        yield f"a step of gradient descent made {two.num_traces} traces of one"
    if not _maps(lambda key: one.fusion.init(key, one.tokens, train=False), one.variables):
        yield "init mapped over keys differs from init by one key"
    if run.outputs.prediction.dtype != jnp.float32:
        yield f"float32 tokens make {run.outputs.prediction.dtype}"
    half = {n: Tokens(t.values.astype(jnp.bfloat16), t.mask) for n, t in two.tokens.items()}
    if not _is_finite(two.apply(half)):
        yield "bfloat16 tokens make outputs that are not finite"


def keeps_its_promises(probes: list[_FusionProbe]) -> Iterator[str]:
    """What the mathematics promises beyond shapes holds."""
    for probe in probes:
        for path, residual in _by_path(probe.run(_ragged(probe.tokens)).promises).items():
            if "promise: " in path and not np.abs(residual).max() <= 1e-5:
                yield f"{path} is off by {np.abs(residual).max():.2g}"


FUSION_RULES: tuple[Rule, ...] = (
    has_its_shape,
    rows_are_independent,
    every_parameter_learns,
    every_modality_counts,
    absence_is_exact,
    nothing_present_is_finite,
    order_is_irrelevant,
    compiles_once,
    keeps_its_promises,
)


# Encoders


class _EncoderProbe:
    """An encoder on inputs: its parameters, values and gradients."""

    def __init__(self, encoder: nn.Module, x: jax.Array) -> None:
        self.encoder, self.x, self.num_traces = encoder, jnp.asarray(x), 0
        self.variables = encoder.init(_KEYS[0], self.x, train=False)
        self.run = _compile(self._trace)

    def _trace(self, variables, x):
        self.num_traces += 1

        def combine(variables):
            tokens = self.encoder.apply(variables, x, train=False)
            valid = jnp.where(tokens.mask[..., None], tokens.values, 0)
            return jnp.vdot(_generic(valid), valid), tokens

        grads, tokens = jax.grad(combine, has_aux=True)(variables)
        return tokens, grads


def encoder_makes_tokens(probe: _EncoderProbe) -> Iterator[str]:
    """Tokens are finite floats [batch, length, features] under a bool [batch, length]."""
    for train in (False, True):
        rngs = {"dropout": _KEYS[1]}
        tokens = probe.encoder.apply(probe.variables, probe.x, train=train, rngs=rngs)
        values, mask = tokens
        if values.ndim != 3 or len(values) != len(probe.x) or values.dtype != jnp.float32:
            yield f"values are {values.dtype} {values.shape} for inputs {probe.x.shape}"
        if mask.shape != values.shape[:2] or mask.dtype != bool:
            yield f"the mask is {mask.dtype} {mask.shape} for values {values.shape}"
        if not _is_finite(values):
            yield f"values are not finite with train={train}"


def encoder_rows_are_independent(probe: _EncoderProbe) -> Iterator[str]:
    """A row depends on itself alone."""
    tokens, _ = probe.run(probe.variables, probe.x)
    reverse, _ = probe.run(probe.variables, probe.x[::-1])
    if not _is_close(_reverse(tokens), reverse):
        yield "reversing the rows changes more than their order"
    copies, _ = probe.run(probe.variables, jnp.broadcast_to(probe.x[:1], probe.x.shape))
    if not _is_close(_first(tokens), _first(copies)):
        yield "replacing the other rows changes the first"


def encoder_learns(probe: _EncoderProbe) -> Iterator[str]:
    """Every parameter has a non-zero gradient."""
    _, grads = probe.run(probe.variables, probe.x)
    if set(grads) - {"params"}:
        yield f"only params are trained, but it also keeps {sorted(grads)}"
    yield from (f"{path} has no gradient" for path in _without_gradient(_by_path(grads)))


def encoder_compiles_once(probe: _EncoderProbe) -> Iterator[str]:
    """One trace, the same compiled or not, and init maps over keys."""
    tokens, grads = probe.run(probe.variables, probe.x)
    probe.run(jax.tree.map(lambda p, g: p - g, probe.variables, grads), probe.x)
    if probe.num_traces != 1:
        yield f"a step of gradient descent made {probe.num_traces} traces of one"
    if not _is_close(tokens, probe.encoder.apply(probe.variables, probe.x, train=False)):
        yield "compiled and eager outputs differ"
    if not _maps(lambda key: probe.encoder.init(key, probe.x, train=False), probe.variables):
        yield "init mapped over keys differs from init by one key"


ENCODER_RULES: tuple[Rule, ...] = (
    encoder_makes_tokens,
    encoder_rows_are_independent,
    encoder_learns,
    encoder_compiles_once,
)


# Objectives


class _ObjectiveProbe:
    """An objective on outputs of two modalities, each absent in one row."""

    def __init__(self, objective: Objective) -> None:
        rng = np.random.default_rng(0)
        draw = lambda: jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)
        # One width for both, for objectives that compare modalities.
        tokens = make_tokens({"amber": (2, 5), "blue": (3, 5)})
        here = {"amber": jnp.arange(4) != 1, "blue": jnp.arange(4) != 2}
        tokens = {n: t._replace(mask=t.mask & here[n][:, None]) for n, t in tokens.items()}
        self.outputs = Outputs(draw(), tokens, {n: draw() for n in tokens})
        self.batch = Batch({n: t.values for n, t in tokens.items()}, here, jnp.arange(4) % 3)
        self.objective, self.num_traces = objective, 0
        self.run = _compile(self._trace)

    def _trace(self, outputs: Outputs, batch: Batch):
        """((loss, metrics), gradients by predictions, branches and values of tokens)."""
        self.num_traces += 1

        def loss(prediction, branches, values):
            tokens = {n: Tokens(values[n], outputs.tokens[n].mask) for n in values}
            return self.objective(Outputs(prediction, tokens, branches, outputs.aux), batch)

        values = {n: t.values for n, t in outputs.tokens.items()}
        floats = (outputs.prediction, outputs.branches, values)
        return jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(*floats)


def objective_makes_scalars(probe: _ObjectiveProbe) -> Iterator[str]:
    """The loss is a finite scalar, and so is every metric."""
    loss, metrics = probe.objective(probe.outputs, probe.batch)
    for name, value in {"loss": loss, **metrics}.items():
        if jnp.shape(value) != () or not _is_finite(value):
            yield f"{name} is {value}"


def objective_teaches(probe: _ObjectiveProbe) -> Iterator[str]:
    """The gradient is finite and not zero."""
    _, grads = probe.run(probe.outputs, probe.batch)
    if not _is_finite(grads):
        yield "the gradient is not finite"
    if not any(np.any(grad) for grad in jax.tree.leaves(grads)):
        yield "the gradient is zero"


def objective_ignores_order(probe: _ObjectiveProbe) -> Iterator[str]:
    """The order of the rows is irrelevant."""
    reverse = _reverse((probe.outputs, probe.batch))
    if not _is_close(probe.run(probe.outputs, probe.batch)[0], probe.run(*reverse)[0]):
        yield "reversing the rows changes the loss or a metric"


def objective_ignores_the_absent(probe: _ObjectiveProbe) -> Iterator[str]:
    """Tokens and branches of an absent modality have exactly no influence."""
    outputs, batch = probe.outputs, probe.batch
    dirty = outputs._replace(
        tokens={n: _fill_masked(t, np.nan) for n, t in outputs.tokens.items()},
        branches={
            n: jnp.where(batch.present[n][:, None], b, np.nan) for n, b in outputs.branches.items()
        },
    )
    if not _is_equal(probe.run(outputs, batch), probe.run(dirty, batch)):
        yield "NaN where a modality is absent changes the loss, a metric or the gradient"


def objective_compiles_once(probe: _ObjectiveProbe) -> Iterator[str]:
    """One trace, the same compiled or not."""
    compiled, _ = probe.run(probe.outputs, probe.batch)
    if not _is_close(compiled, probe.objective(probe.outputs, probe.batch)):
        yield "compiled and eager values differ"
    if probe.num_traces != 1:
        yield f"batches of one shape made {probe.num_traces} traces of one"


OBJECTIVE_RULES: tuple[Rule, ...] = (
    objective_makes_scalars,
    objective_teaches,
    objective_ignores_order,
    objective_ignores_the_absent,
    objective_compiles_once,
)


# What the rules share


def _compile(function: Callable) -> Callable:
    """Compiles fast rather than well: everything here runs a few times, on tiny arrays."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def _as_outputs(result: jax.Array | Outputs) -> Outputs:
    result = result if isinstance(result, Outputs) else Outputs(result)
    return result._replace(tokens={})


def _rows(outputs: Outputs) -> Outputs:
    """The part of the outputs that has rows."""
    return outputs._replace(aux={})


def _generic(like: jax.Array) -> jax.Array:
    """Random coefficients: a plain sum would hide gradients that add up to zero."""
    return jax.random.normal(_KEYS[1], like.shape, like.dtype)


def _ragged(tokens: Mapping[str, Tokens]) -> dict[str, Tokens]:
    """Row 1 lacks the first modality, row 2 the last token of each, row 3 all but the first."""
    gaps = {n: mask.at[2, -1].set(False) for n, (_, mask) in tokens.items()}
    lacks = lambda n: 1 if n == min(tokens) else 3
    return {n: Tokens(t.values, gaps[n].at[lacks(n)].set(False)) for n, t in tokens.items()}


def _without(tokens: Mapping[str, Tokens], absent: Iterable[str]) -> dict[str, Tokens]:
    none = {n: Tokens(tokens[n].values, jnp.zeros_like(tokens[n].mask)) for n in absent}
    return {**tokens, **none}


def _fill_masked(tokens: Tokens, junk: float) -> Tokens:
    return tokens._replace(values=jnp.where(tokens.mask[..., None], tokens.values, junk))


def _maps(init: Callable[[jax.Array], Any], variables: Any) -> bool:
    """Whether ``vmap(init)`` makes the variables that the first key makes alone."""
    return _is_close(_first(jax.vmap(init)(jnp.stack(_KEYS))), variables)


def _by_path(tree: Any) -> dict[str, np.ndarray]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(p, simple=True, separator="/"): np.asarray(x) for p, x in leaves}


def _without_gradient(grads: Mapping[str, np.ndarray]) -> list[str]:
    """Paths of gradients that are zero up to rounding, measured by the largest of all."""
    largest = {path: np.abs(grad).max() for path, grad in grads.items()}
    return [path for path, size in largest.items() if not size > 1e-7 * max(largest.values())]


def _first(tree: Any) -> Any:
    return jax.tree.map(lambda x: x[0], tree)


def _reverse(tree: Any) -> Any:
    return jax.tree.map(lambda x: x[::-1], tree)


def _is_finite(tree: Any) -> bool:
    return all(np.isfinite(np.asarray(x, np.float32)).all() for x in jax.tree.leaves(tree))


def _is_equal(a: Any, b: Any) -> bool:
    return _agree(a, b, np.array_equal)


def _is_close(a: Any, b: Any) -> bool:
    return _agree(a, b, lambda x, y: np.allclose(x, y, rtol=1e-5, atol=1e-5))


def _agree(a: Any, b: Any, same: Callable[[Any, Any], bool]) -> bool:
    if jax.tree.map(jnp.shape, a) != jax.tree.map(jnp.shape, b):
        return False
    return all(map(same, jax.tree.leaves(a), jax.tree.leaves(b)))
