"""Whatever a table of the zoo holds can be given as an object."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mmjax
from mmjax.comparison.arm import make_arm
from mmjax.errors import UnknownNameError, UsageError
from mmjax.methods import OGMGE
from mmjax.objectives import cross_entropy
from mmjax.registry import METHODS
from mmjax.training.recipe import describe

OPTIONS = {"seeds": 2, "steps": 4, "batch_size": 20, "examine": "scores", "quiet": True}


class Vector(nn.Module):
    """An encoder that returns an array [batch, features]."""

    width: int = 5

    @nn.compact
    def __call__(self, x, *, train):
        return nn.tanh(nn.Dense(self.width)(x.reshape(len(x), -1)))


def doubled(outputs, batch):
    """An objective of one's own."""
    loss, metrics = cross_entropy(outputs, batch)
    return 2 * loss, metrics


@pytest.fixture(scope="module")
def task():
    return mmjax.load_task("synthetic", options={"size": "60"})


def compare(task, **given):
    return mmjax.compare(task, ["concat"], **{**OPTIONS, **given})


def test_objects_take_the_place_of_names(task):
    one, other = task.modalities
    result = compare(
        task,
        encoders={one: Vector(7), other: Vector},
        objective=doubled,
        method=OGMGE(alpha=0.1),
        optimizer=optax.sgd(optax.cosine_decay_schedule(0.1, 4)),
    )
    assert sorted(result.trained) == sorted([f"{one}_only", f"{other}_only", "concat"])
    recipe = next(row["recipe"] for row in result.rows if row["strategy"] == "concat")
    for part in ("Vector(width=7)", "Vector(width=5)", "doubled", "OGMGE(alpha=0.1"):
        assert part in recipe
    assert "cosine_decay_schedule(alpha=0, decay_steps=4, exponent=1, init_value=0.1)" in recipe
    assert "0x" not in recipe


def test_alternatives_are_arms_side_by_side(task):
    one, other = task.modalities
    result = compare(task, method=["joint", OGMGE(alpha=0.1)], encoders={one: ["mlp", Vector]})
    assert list(result.trained) == [
        f"{one}_only",
        f"{one}_only:{one}=Vector",
        f"{other}_only",
        "concat",
        "concat:ogm_ge(alpha=0.1)",
        f"concat:{one}=Vector",
        f"concat:{one}=Vector+ogm_ge(alpha=0.1)",
    ]


def test_a_name_says_all_that_differs_from_the_default(task, tmp_path):
    one, other = task.modalities
    result = compare(task, objective=["cross_entropy", "focal"], out=tmp_path / "run")
    assert "concat:focal" in result.trained
    arm = make_arm(task, f"concat@{one}+{other}:focal+{one}=raw+ogm_ge")
    assert describe(arm.recipe.objective) == "focal"
    assert type(arm.recipe.method) is METHODS["ogm_ge"]
    assert type(arm.recipe.model.encoders[one]).__name__ == "Raw"
    again = compare(task, objective=["cross_entropy", "focal"], out=tmp_path / "run", resume=True)
    assert again.rows == result.rows
    with pytest.raises(UsageError, match="focal"):
        compare(task, objective=["cross_entropy", "mse"], out=tmp_path / "run", resume=True)


def test_an_optimiser_of_ones_own_is_used_as_it_is(task):
    still = compare(task, optimizer=lambda steps: optax.sgd(0.0))
    moving = compare(task, optimizer=lambda steps: optax.sgd(0.1))
    params = [jax.tree.leaves(result.trained["concat"].params) for result in (still, moving)]
    assert not all(np.array_equal(*pair) for pair in zip(*params, strict=True))


class NoTokens(nn.Module):
    def __call__(self, x, *, train):
        return jnp.float32(3)


def test_a_function_with_the_name_of_an_objective_is_checked_too(task):
    def focal(outputs, batch):
        return outputs.prediction

    with pytest.raises(UsageError, match="a scalar loss"):
        compare(task, objective=focal)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"encoders": {"nowhere": Vector}}, UnknownNameError, "nowhere"),
        ({"encoders": ["mlp"]}, UsageError, "{modality: encoder}"),
        ({"encoders": {0: 3}}, UsageError, "a Flax module, or a class of one"),
        ({"encoders": {0: NoTokens}}, UsageError, "with a mask"),
        ({"encoders": {0: "cnn4d"}}, UnknownNameError, "cnn2d"),
        ({"objective": 3}, UsageError, r"a function \(outputs, batch\)"),
        ({"objective": lambda outputs, batch: outputs.prediction}, UsageError, "a scalar loss"),
        ({"objective": "focl"}, UnknownNameError, "Did you mean 'focal'"),
        ({"method": 3}, UsageError, "a Method"),
        ({"method": []}, UsageError, "at least one"),
        ({"method": ["joint", "joint"]}, UsageError, "different names"),
        ({"optimizer": "adam"}, UsageError, "optax.adamw"),
        ({"optimizer": lambda steps: 3}, UsageError, "3 from <function"),
        ({"optimizer": optax.sgd(0.1), "tune": 3}, UsageError, "mutually exclusive"),
        ({"lr": 0.1}, UnknownNameError, "Did you mean 'learning_rate'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(task, given, error, said):
    if isinstance(given.get("encoders"), dict):
        named = {task.modalities[0] if n == 0 else n: e for n, e in given["encoders"].items()}
        given = {"encoders": named}
    with pytest.raises(error, match=said):
        compare(task, **given)
