"""The contract of training methods catches what it is there for."""

import jax
import jax.numpy as jnp
import pytest
from method_setup import scaled

from mmjax.methods import Joint
from mmjax.testing import ContractError, check_method
from mmjax.types import Method


class Broken(Method):
    """Joint training with a flaw."""

    def __init__(self, flaw, memory=()):
        self.flaw, self.memory = flaw, memory

    def init(self, forward, params, rows):
        return self.memory

    def gradient(self, forward, objective):
        joint = Joint().gradient(forward, objective)
        return lambda *args: self.flaw(forward, args, *joint(*args))


def drops_the_fusion(forward, args, grads, memory, metrics):
    return {k: v for k, v in grads.items() if k != "fusion"}, memory, metrics


def puts_the_loss_last(forward, args, grads, memory, metrics):
    return grads, memory, {"accuracy": metrics["accuracy"], "loss": metrics["loss"]}


def counts_in_floats(forward, args, grads, memory, metrics):
    return grads, memory + 0.5, metrics


def looks_at_absent_inputs(forward, args, grads, memory, metrics):
    seen = args[2].inputs["amber"].sum()
    return grads, memory, {**metrics, "seen": jnp.where(jnp.isnan(seen), 1.0, 0.0)}


def divides_by_the_rows(forward, args, grads, memory, metrics):
    rows = sum(p.sum() for p in args[2].present.values())
    return jax.tree.map(lambda g: g * 6 / rows, grads), memory, metrics


def branches_in_python(forward, args, grads, memory, metrics):
    return (grads if metrics["loss"] > 0 else scaled(grads, 2)), memory, metrics


@pytest.mark.parametrize(
    ("flaw", "memory", "rule"),
    [
        (drops_the_fusion, (), 1),
        (puts_the_loss_last, (), 2),
        (counts_in_floats, jnp.int32(0), 3),
        (looks_at_absent_inputs, (), 4),
        (divides_by_the_rows, (), 5),
        (branches_in_python, (), 7),
    ],
)
def test_broken_method_is_rejected_by_its_rule(flaw, memory, rule):
    with pytest.raises(ContractError, match=f"^Broken breaks rule {rule} "):
        check_method(Broken(flaw, memory))
