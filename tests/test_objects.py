"""Whatever a table of the zoo holds can be given as an object."""

from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mmjax
from mmjax.augmentations import AUGMENTATIONS
from mmjax.comparison.arm import make_arm
from mmjax.errors import UnknownNameError, UsageError
from mmjax.methods import OGMGE
from mmjax.objectives import cross_entropy
from mmjax.registry import METHODS
from mmjax.runs.from_settings import make_arms
from mmjax.runs.settings import Settings
from mmjax.training.class_weights import make_class_weights
from mmjax.training.recipe import describe

OPTIONS = {"seeds": 2, "steps": 4, "batch_size": 20, "examine": "scores", "quiet": True}


class Vector(nn.Module):
    """An encoder that returns an array [batch, features]."""

    width: int = 5

    @nn.compact
    def __call__(self, x, *, train):
        return nn.tanh(nn.Dense(self.width)(x.reshape(len(x), -1)))


class Running(Vector):
    """An encoder with running statistics, which training does not keep."""

    @nn.compact
    def __call__(self, x, *, train):
        return nn.BatchNorm(use_running_average=not train)(super().__call__(x, train=train))


class RunningFusion(nn.Module):
    """A fusion with running statistics."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        joined = jnp.concatenate([tokens[n].values.mean(axis=1) for n in sorted(tokens)], axis=-1)
        return nn.Dense(self.out_dim)(nn.BatchNorm(use_running_average=not train)(joined))


def doubled(outputs, batch):
    """An objective of one's own."""
    loss, metrics = cross_entropy(outputs, batch)
    return 2 * loss, metrics


def unweighted(outputs, batch):
    """An objective of one's own that knows nothing of weights."""
    return jnp.square(outputs.prediction).mean(), {}


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_an_optimiser_of_ones_own_is_used_as_it_is(task):
    still = compare(task, optimizer=lambda steps: optax.sgd(0.0))
    moving = compare(task, optimizer=lambda steps: optax.sgd(0.1))
    params = [jax.tree.leaves(result.trained["concat"].params) for result in (still, moving)]
    assert not all(np.array_equal(*pair) for pair in zip(*params, strict=True))


def louder(key, x):
    """An augmentation of one's own."""
    return x * jax.random.uniform(key, (len(x), 1), minval=0.5, maxval=2)


@pytest.mark.slow
def test_augmentations_and_class_weights_are_recorded(task, tmp_path):
    one, other = task.modalities
    given = {
        "augment": {one: [AUGMENTATIONS["noise"](scale=0.5), louder], other: "feature_dropout"},
        "class_weights": {1: 2.5},
        "mixup": 0.2,
        "sampling": "balanced",
    }
    result = compare(task, out=tmp_path / "run", **given)
    said = {row["strategy"]: row["recipe"] for row in result.rows}
    first, second = (
        f"'{one}': (Noise(scale=0.5), louder)",
        f"'{other}': (FeatureDropout(rate=0.1),)",
    )
    assert f"augment={{{first}, {second}}}, mixup=0.2, class_weights=(1.0, 2.5)" in said["concat"]
    assert f"augment={{{first}}}, mixup" in said[f"{one}_only"]
    assert "sampling='balanced'" in said["concat"]
    assert result.run.settings.augment == (
        f"{one}=noise(scale=0.5)+louder",
        f"{other}=feature_dropout",
    )
    assert result.run.settings.class_weights == ("1=2.5",)
    assert compare(task, out=tmp_path / "run", resume=True, **given).rows == result.rows
    with pytest.raises(UsageError, match="mixup"):
        compare(task, out=tmp_path / "run", resume=True, **{**given, "mixup": 0.3})


@pytest.mark.slow
def test_an_objective_of_ones_own_may_weigh_rows(task):
    compare(task, class_weights="balanced", objective=doubled)  # by calling one that does


def test_settings_make_the_same_arms(task):
    one, _ = task.modalities
    settings = Settings(augment=(f"{one}=noise+feature_dropout",), class_weights=("balanced",))
    (arm,) = make_arms(settings, task, ["concat"])
    augment = {one: ["noise", AUGMENTATIONS["feature_dropout"]]}
    weights = make_class_weights(task, ["balanced"])
    (same,) = make_arms(Settings(), task, ["concat"], augment=augment)
    assert replace(same.recipe, class_weights=weights) == arm.recipe


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
        ({"encoders": {0: Running}}, UsageError, "has batch_stats, too. .*LayerNorm"),
        ({"encoders": {0: doubled}}, UsageError, r"doubled.*mmjax\.encoders\.pretrained"),
        ({"encoders": {0: NoTokens}}, UsageError, "with a mask"),
        ({"encoders": {0: "cnn4d"}}, UnknownNameError, "cnn2d"),
        ({"objective": 3}, UsageError, r"a function \(outputs, batch\)"),
        ({"objective": lambda outputs, batch: outputs.prediction}, UsageError, "a scalar loss"),
        ({"objective": lambda outputs, batch: (1.0, outputs.prediction)}, UsageError, "{metric: "),
        (
            {"objective": lambda outputs, batch: (1.0, outputs._asdict())},
            UsageError,
            "scalar values",
        ),
        ({"objective": "focl"}, UnknownNameError, "Did you mean 'focal'"),
        ({"method": 3}, UsageError, "a Method"),
        ({"method": []}, UsageError, "at least one"),
        ({"method": ["joint", "joint"]}, UsageError, "different names"),
        ({"optimizer": "adam"}, UsageError, "optax.adamw"),
        ({"optimizer": optax.adam}, UsageError, "number of steps for its learning rate"),
        ({"optimizer": lambda steps: 3}, UsageError, "3 from <function"),
        ({"optimizer": optax.sgd(0.1), "tune": 3}, UsageError, "mutually exclusive"),
        ({"augment": ["noise"]}, UsageError, "{modality: augmentations}"),
        ({"augment": {"nowhere": "noise"}}, UnknownNameError, "nowhere"),
        ({"augment": {"a": "flip"}}, UsageError, "images"),
        ({"augment": {"a": lambda key, x: x[:, :1]}}, UsageError, "shape and dtype"),
        ({"mixup": -0.1}, UsageError, "a positive number"),
        ({"sampling": "balance"}, UnknownNameError, "Did you mean 'balanced'"),
        ({"class_weights": {"7": 2}}, UnknownNameError, "class of class_weights"),
        ({"class_weights": "balanced", "objective": unweighted}, UsageError, "ignores them"),
        ({"lr": 0.1}, UnknownNameError, "Did you mean 'learning_rate'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(task, given, error, said):
    if isinstance(given.get("encoders"), dict):
        named = {task.modalities[0] if n == 0 else n: e for n, e in given["encoders"].items()}
        given = {"encoders": named}
    with pytest.raises(error, match=said):
        compare(task, **given)


@pytest.mark.slow
def test_a_fusion_with_running_statistics_fails_with_a_reason(task):
    result = mmjax.compare(task, ["concat", RunningFusion], **OPTIONS)
    assert "has batch_stats, too" in str(result.failed["RunningFusion"])
