"""The contract of objectives."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.testing.common import (
    Rule,
    check,
    compile_fast,
    fill_masked,
    is_close,
    is_equal,
    is_finite,
    make_tokens,
    reverse_rows,
)
from mmjax.types import Batch, Objective, Outputs, Tokens


class _ObjectiveProbe:
    """An objective with outputs of two modalities, each absent in one row."""

    def __init__(self, objective: Objective) -> None:
        rng = np.random.default_rng(0)
        draw = lambda: jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)
        # The same width for both, for objectives that compare modalities.
        tokens = make_tokens({"amber": (2, 5), "blue": (3, 5)})
        here = {"amber": np.arange(4) != 1, "blue": np.arange(4) != 2}
        tokens = {n: t._replace(mask=t.mask & here[n][:, None]) for n, t in tokens.items()}
        # NumPy's arrays: outside compiled functions, JAX would compile every operation.
        self.outputs = jax.device_get(Outputs(draw(), tokens, {n: draw() for n in tokens}))
        self.batch = Batch({n: t.values for n, t in tokens.items()}, here, np.arange(4) % 3)
        self.objective, self.num_traces = objective, 0
        self.run = compile_fast(self._trace)

    @cached_property
    def eager(self):
        """(loss, metrics), not compiled."""
        return self.objective(*jax.device_put((self.outputs, self.batch)))

    def _trace(self, outputs: Outputs, batch: Batch):
        """((loss, metrics), gradients of predictions, branches and token values)."""
        self.num_traces += 1

        def loss(prediction, branches, values):
            tokens = {n: Tokens(values[n], outputs.tokens[n].mask) for n in values}
            return self.objective(Outputs(prediction, tokens, branches, outputs.aux), batch)

        values = {n: t.values for n, t in outputs.tokens.items()}
        floats = (outputs.prediction, outputs.branches, values)
        return jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(*floats)


def objective_makes_scalars(probe: _ObjectiveProbe) -> Iterator[str]:
    """The loss and every metric are finite scalars."""
    loss, metrics = probe.eager
    for name, value in {"loss": loss, **metrics}.items():
        if jnp.shape(value) != () or not is_finite(value):
            yield f"{name} is {value}"


def objective_teaches(probe: _ObjectiveProbe) -> Iterator[str]:
    """The gradient is finite and not zero."""
    _, grads = probe.run(probe.outputs, probe.batch)
    if not is_finite(grads):
        yield "the gradient is not finite"
    if not any(np.any(grad) for grad in jax.tree.leaves(grads)):
        yield "the gradient is zero"


def objective_ignores_order(probe: _ObjectiveProbe) -> Iterator[str]:
    """The order of the rows does not matter."""
    reverse = reverse_rows((probe.outputs, probe.batch))
    if not is_close(probe.run(probe.outputs, probe.batch)[0], probe.run(*reverse)[0]):
        yield "reversing the rows changes the loss or a metric"


def objective_ignores_the_absent(probe: _ObjectiveProbe) -> Iterator[str]:
    """Tokens and branches of an absent modality have exactly zero influence."""
    outputs, batch = probe.outputs, probe.batch
    branches: Any = {
        n: np.where(batch.present[n][:, None], b, np.nan) for n, b in outputs.branches.items()
    }
    tokens = {n: fill_masked(t, np.nan) for n, t in outputs.tokens.items()}
    dirty = outputs._replace(tokens=tokens, branches=branches)
    if not is_equal(probe.run(outputs, batch), probe.run(dirty, batch)):
        yield "NaN where a modality is absent changes the loss, a metric or the gradient"


def objective_compiles_once(probe: _ObjectiveProbe) -> Iterator[str]:
    """A single trace, and the same values compiled and eager."""
    compiled, _ = probe.run(probe.outputs, probe.batch)
    if not is_close(compiled, probe.eager):
        yield "compiled and eager values differ"
    if probe.num_traces != 1:
        yield f"batches of the same shape were traced {probe.num_traces} times"


OBJECTIVE_RULES: tuple[Rule, ...] = (
    objective_makes_scalars,
    objective_teaches,
    objective_ignores_order,
    objective_ignores_the_absent,
    objective_compiles_once,
)


def check_objective(objective: Objective) -> None:
    """Checks an objective against ``OBJECTIVE_RULES``, on two modalities, each absent in one row.

    Raises:
        ContractError: the objective breaks a rule.

    Example:
        >>> from mmjax.objectives import cross_entropy
        >>> from mmjax.testing import check_objective
        >>> check_objective(cross_entropy)  # keeps all rules
    """
    check(objective, OBJECTIVE_RULES, _ObjectiveProbe(objective), traced=objective_compiles_once)
