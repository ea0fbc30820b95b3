"""The contract of fusions."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.errors import UsageError
from mmjax.testing.common import (
    KEYS,
    Rule,
    by_path,
    check,
    compile_fast,
    fill_masked,
    first_row,
    generic,
    initialise,
    is_close,
    is_equal,
    is_finite,
    make_tokens,
    maps,
    reverse_rows,
    without_each,
    without_gradient,
)
from mmjax.types import Outputs, Tokens

# Different lengths and widths, at least two tokens, and names that no parameter name contains.
_SHAPES = {"amber": (2, 3), "blue": (3, 5), "coral": (4, 6)}


class _Run(NamedTuple):
    outputs: Outputs
    promises: Any
    param_grads: Any
    value_grads: Mapping[str, jax.Array]


class _FusionProbe:
    """A fusion with tokens of some modalities, and its parameters, outputs and gradients.

    All arrays are NumPy's: outside compiled functions, JAX would compile every operation.
    """

    def __init__(self, fusion: nn.Module, shapes: Mapping[str, tuple[int, int]]) -> None:
        self.fusion = fusion
        self.tokens, self.others = (jax.device_get(make_tokens(shapes, seed=s)) for s in (0, 1))
        self.num_traces = 0
        self._run = compile_fast(self._trace)
        self._apply = compile_fast(self._forward, static_argnums=(1, 3))

    @cached_property
    def variables(self) -> Any:
        """The parameters: initial ones for two modalities, generic ones otherwise.

        A fusion must not be stuck at its initialisation; testing that in every case would double
        the cost.
        """
        if len(self.tokens) == 2:
            return self.init(self.tokens)
        shapes = jax.eval_shape(lambda: self.fusion.init(KEYS[0], self.tokens, train=False))
        rng = np.random.default_rng(0)
        draw = lambda x: rng.normal(scale=0.3, size=x.shape).astype(x.dtype)
        return jax.tree.map(draw, shapes)

    def init(self, tokens: Mapping[str, Tokens]) -> Any:
        """The parameters of the first key."""
        return initialise(lambda key: self.fusion.init(key, tokens, train=False), KEYS[0])

    def apply(self, tokens: Mapping[str, Tokens], *, train: bool = False) -> Outputs:
        """Outputs without the tokens; the order of the names is kept, which jit would sort."""
        given = tuple(tokens), tuple(tokens.values())
        return jax.device_get(self._apply(self.variables, *given, train))

    def _forward(self, variables, names, tokens, train):
        rngs = {"dropout": KEYS[1]} if train else {}
        named = dict(zip(names, tokens, strict=True))
        return _as_outputs(self.fusion.apply(variables, named, train=train, rngs=rngs))

    def run(self, tokens: Mapping[str, Tokens], variables: Any = None) -> _Run:
        """Outputs, and the gradients of a random combination of the predictions plus aux."""
        values = {n: t.values for n, t in tokens.items()}
        masks = {n: t.mask for n, t in tokens.items()}
        variables = self.variables if variables is None else variables
        return jax.device_get(self._run(variables, values, masks))

    def try_without(self, fusion: nn.Module) -> Outputs:
        """The outputs in training of a variant of the fusion, with parameters of its own."""
        key = jax.random.key(0)
        rngs = {"params": key, "dropout": key}
        return _as_outputs(fusion.init_with_output(rngs, self.tokens, train=True)[0])

    def _trace(self, variables, values, masks):
        self.num_traces += 1

        def combine(variables, values):
            tokens = {n: Tokens(values[n], masks[n]) for n in values}
            result, state = self.fusion.apply(
                variables, tokens, train=False, mutable=["intermediates"]
            )
            outputs = _as_outputs(result)
            total = jnp.vdot(generic(outputs.prediction), outputs.prediction)
            return total + sum(outputs.aux.values()), (outputs, state)

        grads, aux = jax.grad(combine, argnums=(0, 1), has_aux=True)(variables, values)
        return _Run(*aux, *grads)


def has_its_shape(probes: list[_FusionProbe]) -> Iterator[str]:
    """One, two or three modalities give a finite [batch, out_dim], in training too."""
    two = probes[1]
    runs = [(probe, "", probe.run(probe.tokens).outputs) for probe in probes]
    for probe, when, outputs in [*runs, (two, "in training, ", two.apply(two.tokens, train=True))]:
        yield from (f"{when}{complaint}" for complaint in _shape_complaints(probe, outputs))
        if not is_finite(outputs):
            yield f"{when}outputs are not finite for {', '.join(probe.tokens)}"


def _shape_complaints(probe: _FusionProbe, outputs: Outputs) -> Iterator[str]:
    names = ", ".join(probe.tokens)
    want = (len(probe.tokens["amber"].values), probe.fusion.out_dim)
    alone = {"prediction": outputs.prediction, "joint": outputs.joint}
    for part, array in {**alone, **outputs.branches}.items():
        if array is not None and array.shape != want:
            yield f"{part} has shape {array.shape}, expected {want}, for {names}"
    if any(term.shape for term in outputs.aux.values()):
        yield f"a term of aux is not a scalar for {names}"


def rows_are_independent(probes: list[_FusionProbe]) -> Iterator[str]:
    """Each row depends on itself alone."""
    probe = probes[1]
    tokens = _ragged(probe.tokens)
    rows = _rows(probe.run(tokens).outputs)
    if not is_close(reverse_rows(rows), _rows(probe.run(reverse_rows(tokens)).outputs)):
        yield "reversing the rows changes more than their order"
    replaced = _join_rows(tokens, probe.others, 1)
    if not is_close(first_row(rows), first_row(_rows(probe.run(replaced).outputs))):
        yield "replacing the other rows changes the first"
    train = lambda tokens: _rows(probe.apply(tokens, train=True))
    if not is_close(first_row(train(tokens)), first_row(train(replaced))):
        yield "replacing the other rows changes the first in training"


def every_parameter_learns(probes: list[_FusionProbe]) -> Iterator[str]:
    """Every modality has parameters, and every parameter a non-zero gradient."""
    for probe in probes[1:]:
        if set(probe.variables) != {"params"}:
            yield f"only the collection params is trained, but it has {sorted(probe.variables)}"
        exceptions = getattr(probe.fusion, "no_gradient", {})
        excused = lambda path, known=exceptions: any(re.search(r, path) for r in known)
        grads = by_path(probe.run(probe.tokens).param_grads["params"])
        yield from (
            f"{path} has no gradient with {len(probe.tokens)} modalities"
            for path in without_gradient(grads)
            if not excused(path)
        )
        for name in probe.tokens:
            if not any(name in path for path in grads) and not excused(name):
                yield f"no parameter has the name of modality {name!r} in its path"


def every_modality_counts(probes: list[_FusionProbe]) -> Iterator[str]:
    """Every modality present can change the output, with the others and alone."""
    for probe in probes:
        for name in probe.tokens:
            rest = [n for n in probe.tokens if n != name]
            for where, tokens in {
                f"with {rest}": probe.tokens,
                "alone": _without(probe.tokens, rest),
            }.items():
                changed = {**tokens, name: probe.others[name]}
                a, b = (probe.run(t).outputs.prediction for t in (tokens, changed))
                if not np.abs(np.asarray(a - b)).max() > 1e-6:
                    yield f"modality {name!r} {where} changes nothing"


def absence_is_exact(probes: list[_FusionProbe]) -> Iterator[str]:
    """Absent and masked inputs have exactly zero influence on output and gradients."""
    probe = probes[-1]
    tokens = _ragged(probe.tokens)
    clean = probe.run(tokens)
    for junk in (np.nan, 1e30):
        dirty = {n: fill_masked(t, junk) for n, t in tokens.items()}
        for part, a, b in zip(_Run._fields, clean, probe.run(dirty), strict=True):
            if not is_equal(a, b):
                yield f"{junk} in masked tokens changes {part}"
    for name, (_, mask) in tokens.items():
        if np.any(clean.value_grads[name][~mask]):
            yield f"masked tokens of {name!r} have a gradient"
        grads = probe.run(_without(probe.tokens, [name])).param_grads["params"]
        others = [n for n in probe.tokens if n != name]
        for path, grad in by_path(grads).items():
            if name in path and not any(n in path for n in others) and np.any(grad):
                yield f"{path} has a gradient although {name!r} is absent everywhere"


def nothing_present_is_finite(probes: list[_FusionProbe]) -> Iterator[str]:
    """With every modality absent, the output and all gradients are finite."""
    for probe in probes:
        nothing = _without(probe.tokens, probe.tokens)
        in_one_row = _join_rows(nothing, probe.tokens, 1)
        for where, tokens in {"any row": nothing, "the first row": in_one_row}.items():
            for part, tree in zip(_Run._fields, probe.run(tokens), strict=True):
                if not is_finite(tree):
                    yield f"{part} is not finite with none of {list(tokens)} in {where}"


def order_is_irrelevant(probes: list[_FusionProbe]) -> Iterator[str]:
    """The order in which modalities are inserted affects neither parameters nor output."""
    probe = probes[1]
    reverse = dict(reversed(probe.tokens.items()))
    if not is_equal(probe.variables, probe.init(reverse)):
        yield "reversing the order changes the parameters"
    elif not is_close(probe.run(probe.tokens).outputs, probe.apply(reverse)):
        yield "reversing the order changes the outputs"


def compiles_once(probes: list[_FusionProbe]) -> Iterator[str]:
    """A single trace, init that maps over keys, float32 in and out, and support for bfloat16."""
    two = probes[1]
    run = two.run(two.tokens)
    two.run(two.tokens, jax.tree.map(lambda p, g: p - g, two.variables, run.param_grads))
    if two.num_traces != 1:
        yield f"a step of gradient descent retraced the fusion: {two.num_traces} traces"
    if not maps(lambda key: two.fusion.init(key, two.tokens, train=False), two.variables):
        yield "init mapped over keys differs from init with a single key"
    if run.outputs.prediction.dtype != jnp.float32:
        yield f"float32 tokens give {run.outputs.prediction.dtype} predictions"
    half = {n: Tokens(t.values.astype(jnp.bfloat16), t.mask) for n, t in two.tokens.items()}
    if not is_finite(two.apply(half)):
        yield "bfloat16 tokens give outputs that are not finite"


def keeps_its_promises(probes: list[_FusionProbe]) -> Iterator[str]:
    """Everything that the module promises beyond shapes holds."""
    for probe in probes:
        for path, residual in by_path(probe.run(_ragged(probe.tokens)).promises).items():
            if "promise: " in path and not np.abs(residual).max() <= 1e-5:
                yield f"{path} is off by {np.abs(residual).max():.2g}"


def components_can_be_removed(probes: list[_FusionProbe]) -> Iterator[str]:
    """Without a component that it declares as removable it has its shape, and differs."""
    two = probes[1]
    yield from without_each(two.fusion, two.try_without, partial(_shape_complaints, two))


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
    components_can_be_removed,
)


def _as_outputs(result: Any) -> Outputs:
    result = result if isinstance(result, Outputs) else Outputs(result)
    return result._replace(tokens={})


def _rows(outputs: Outputs) -> Outputs:
    """The outputs without aux, which has no rows."""
    return outputs._replace(aux={})


def _join_rows(first: Any, second: Any, size: int) -> Any:
    """The first ``size`` rows of one tree, and the other rows of another."""
    return jax.tree.map(lambda x, y: np.concatenate([x[:size], y[size:]]), first, second)


def _ragged(tokens: Mapping[str, Tokens]) -> dict[str, Tokens]:
    """Row 1 lacks the first modality, row 2 the last token of each, row 3 all but the first."""
    masks: Any = {n: np.array(mask) for n, (_, mask) in tokens.items()}  # NumPy for JAX
    for n, mask in masks.items():
        mask[2, -1] = mask[1 if n == min(tokens) else 3] = False
    return {n: Tokens(t.values, masks[n]) for n, t in tokens.items()}


def _without(tokens: Mapping[str, Tokens], absent: Iterable[str]) -> dict[str, Tokens]:
    nowhere: Any = {n: np.zeros_like(tokens[n].mask) for n in absent}
    none = {n: Tokens(tokens[n].values, nowhere[n]) for n in absent}
    return {**tokens, **none}


def check_fusion(fusion: nn.Module) -> None:
    """Checks a fusion, a Linen module, against the ten rules of ``FUSION_RULES``.

    A fusion can declare three things about itself. The class attribute ``no_gradient``, {regular
    expression: reason}, names parameters without a gradient by design. ``mmjax.layers.promise``
    states which residuals are zero, where the mathematics guarantees more than shapes. The class
    attribute ``removable``, {component: {field: value without it}}, says what an ablation can
    remove; to check all rules of what is left, check ``mmjax.layers.remove(fusion, component)``.

    Raises:
        ContractError: the fusion breaks a rule.
        UsageError: it is a class, not an instance.

    Example:
        >>> import flax.linen as nn
        >>> from mmjax.testing import check_fusion
        >>> class Constant(nn.Module):
        ...     out_dim: int
        ...     def __call__(self, tokens, *, train):
        ...         return nn.initializers.ones(None, (1, self.out_dim))
        >>> check_fusion(Constant(out_dim=3))
        Traceback (most recent call last):
            ...
        mmjax.testing.common.ContractError: Constant breaks rule 1 (One, two or three modalities
            give a finite [batch, out_dim], in training too): prediction has shape (1, 3), expected
            (4, 3), for amber.
    """
    if isinstance(fusion, type):
        instance = f"an instance, such as {fusion.__name__}(out_dim=3)"
        raise UsageError("fusion", expected=instance, got="a class")
    sizes = range(1, len(_SHAPES) + 1)
    probes = [_FusionProbe(fusion, dict(list(_SHAPES.items())[:size])) for size in sizes]
    check(fusion, FUSION_RULES, probes, traced=compiles_once)
