"""Encoders that were trained elsewhere give what their own libraries give, and train as asked."""

from dataclasses import replace
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from small import make_task

from mmjax.encoders import MLPEncoder, pretrained
from mmjax.errors import UsageError
from mmjax.fusion import ConcatFusion
from mmjax.methods import OGMGE, TwoStage
from mmjax.model import MultimodalModel
from mmjax.testing import check_encoder
from mmjax.training import checkpoint
from mmjax.training.functions import _optimiser
from mmjax.training.optimiser import Adam, Optax
from mmjax.training.recipe import Recipe, describe, make_model, numbers_by_seed
from mmjax.training.step import init_params, make_forward
from mmjax.types import Batch, Tokens

rng = np.random.default_rng(0)
WEIGHTS = rng.normal(size=(5, 4)).astype(np.float32)
ROWS = rng.normal(size=(6, 5)).astype(np.float32)


def project(w, x):
    return jnp.tanh(x @ w)


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(4)(x))
        return nn.Dropout(0.5, deterministic=not train)(x)


class NNXNet(nnx.Module):
    def __init__(self, rngs):
        self.dense, self.norm = nnx.Linear(5, 4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.dropout(self.norm(self.dense(x)))


def of(encoder, x=ROWS, train=True):
    """The features that an encoder makes of rows, in training unless the caller says otherwise."""
    outputs, _ = encoder.init_with_output(jax.random.key(0), x, train=train)
    return outputs


@pytest.mark.parametrize("trainable", [False, True])
def test_a_function_is_an_encoder(trainable):
    encoder = pretrained(project, WEIGHTS, trainable)
    np.testing.assert_allclose(of(encoder).values[:, 0], np.tanh(ROWS @ WEIGHTS), rtol=1e-5)
    check_encoder(encoder, ROWS)


def test_sequences_and_masks_are_kept():
    x = rng.normal(size=(3, 7, 5)).astype(np.float32)
    assert of(pretrained(project, WEIGHTS), x).values.shape == (3, 7, 4)
    mask = x[..., 0] > 0
    masked = of(pretrained(lambda w, x: Tokens(x @ w, x[..., 0] > 0), WEIGHTS), x)
    np.testing.assert_array_equal(masked.mask, mask)


@pytest.mark.parametrize("trainable", [False, 0.1, True])
def test_linen_modules_run_in_evaluation_mode(trainable):
    net = LinenNet()
    variables = net.init(jax.random.key(1), ROWS, train=False)
    moved = jax.tree.map(lambda x: x + 0.5, variables["batch_stats"])
    variables = {**variables, "batch_stats": moved}
    encoder = pretrained(net, variables, trainable)
    want = net.apply(variables, ROWS, train=False)
    np.testing.assert_allclose(of(encoder).values[:, 0], want, rtol=1e-6)
    params = encoder.init(jax.random.key(0), ROWS, train=True).get("params", {"given": {}})
    assert {name.split(".")[0] for name in params["given"]} == ({"params"} if trainable else set())
    assert len(params["given"]) == (4 if trainable else 0)  # and not the running statistics


def test_a_linen_module_takes_its_parameters_alone():
    net = nn.Dense(3)
    variables = net.init(jax.random.key(1), ROWS)
    encoder = pretrained(net, variables["params"])
    np.testing.assert_allclose(of(encoder).values[:, 0], net.apply(variables, ROWS), rtol=1e-6)


@pytest.mark.parametrize("trainable", [False, True])
def test_nnx_modules_run_in_evaluation_mode_and_are_left_as_they_are(trainable):
    net = NNXNet(nnx.Rngs(0))
    net(ROWS)  # moves the running statistics
    encoder = pretrained(net, trainable=trainable)
    assert not net.dropout.deterministic
    before = of(encoder).values
    net.eval()
    np.testing.assert_allclose(before[:, 0], net(ROWS), rtol=1e-6)
    net.dense.kernel[...] = jnp.zeros((5, 4))  # as training it further would
    np.testing.assert_array_equal(of(encoder).values, before)
    params = encoder.init(jax.random.key(0), ROWS, train=True).get("params", {"given": {}})
    assert len(params["given"]) == (4 if trainable else 0)


def test_given_arrays_may_change_later():
    own = WEIGHTS.copy()
    encoder = pretrained(project, own)
    before = of(encoder).values
    own[:] = 0
    np.testing.assert_array_equal(of(encoder).values, before)


def test_leaves_that_are_no_arrays_stay():
    tree = {"act": jnp.tanh, "w": WEIGHTS, "name": "net"}
    encoder = pretrained(lambda p, x: p["act"](x @ p["w"]), tree, trainable=True)
    np.testing.assert_allclose(of(encoder).values[:, 0], np.tanh(ROWS @ WEIGHTS), rtol=1e-5)
    assert list(encoder.init(jax.random.key(0), ROWS, train=True)["params"]["given"]) == ["w"]


def test_recipes_name_the_network_and_its_parameters():
    one, other = pretrained(project, WEIGHTS), pretrained(project, WEIGHTS + 1, 0.1)
    assert describe(one).startswith("Pretrained(network=project ")
    assert describe(one) == describe(pretrained(project, WEIGHTS.copy())) != describe(other)
    net = LinenNet()
    variables = net.init(jax.random.key(1), ROWS, train=False)
    other = {**variables, "batch_stats": jax.tree.map(lambda x: x + 1, variables["batch_stats"])}
    assert describe(pretrained(net, variables)) != describe(pretrained(net, other))


def make_recipe(trainable, **options):
    task = make_task().only("vector", "sequence")
    encoder = pretrained(project, WEIGHTS, trainable)
    model = make_model(task, "concat", {"vector": encoder, "sequence": MLPEncoder()})
    return task, Recipe(model, **options)


def test_frozen_parameters_are_no_parameters_of_the_model():
    task, recipe = make_recipe(False)
    params = init_params(recipe.model, task.train.batch(), seed=0)
    assert "encoders_vector" not in params
    assert "encoders_sequence" in params


def test_every_seed_starts_from_the_given_parameters():
    task, recipe = make_recipe(True)
    for seed in (0, 1):
        params = init_params(recipe.model, task.train.batch(), seed)
        np.testing.assert_array_equal(params["encoders_vector"]["given"]["params"], WEIGHTS)


OPTIMISERS = {
    "adam": {"tx": Adam(0.01, weight_decay=0.1)},
    "adam by seed": {"tx": Adam((0.01, 0.02), weight_decay=(0.1, 0.2)), "seeds": (0, 1)},
    "own": {"tx": Optax(optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1, 0.9)))},
    "method": {"tx": Adam(0.01), "method": OGMGE()},
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_fraction_scales_the_updates_exactly(name):
    steps = {}
    for trainable in (True, 0.1):
        task, recipe = make_recipe(trainable, **OPTIMISERS[name])
        params = init_params(recipe.model, task.train.batch(), seed=0)
        grads = jax.tree.map(lambda x: jnp.cos(7 * x + 1), params)
        *own, _ = numbers_by_seed(recipe)[0]
        tx = _optimiser(recipe, own)
        state = tx.init(params)
        for _ in range(3):
            updates, state = tx.update(grads, state, params)
        steps[trainable] = updates
    full, slow = steps[True], steps[0.1]
    whole, part = (np.asarray(x["encoders_vector"]["given"]["params"]) for x in (full, slow))
    assert np.abs(whole).min() > 0
    np.testing.assert_array_equal(part, np.float32(0.1) * whole)
    rest = lambda updates: {k: v for k, v in updates.items() if k != "encoders_vector"}
    jax.tree.map(np.testing.assert_array_equal, rest(slow), rest(full))


@pytest.mark.slow
def test_two_stages_start_from_the_given_parameters():
    from mmjax.training.fit import fit

    task, recipe = make_recipe(0.5, method=TwoStage(), steps=2, batch_size=32, seeds=(0,))
    given = fit(recipe, task).params["encoders_vector"]["given"]["params"][0]
    assert 0 < np.abs(given - WEIGHTS).max() < 0.02


def test_a_fraction_within_a_module_of_ones_own_is_refused():
    class Own(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            return nn.Dense(3)(pretrained(project, WEIGHTS, 0.1)(x, train=train).values)

    task = make_task().only("vector")
    with pytest.raises(UsageError, match="encoder of a modality, not to a part"):
        init_params(make_model(task, "concat", {"vector": Own}), task.train.batch(), seed=0)


def test_odd_names_of_parameters_are_saved_and_restored(tmp_path: Path):
    tree = {"mlp/~/linear_0": {"w": WEIGHTS}, "a b": [np.float32(1.0), np.arange(3)]}
    function = lambda p, x: x @ p["mlp/~/linear_0"]["w"] * p["a b"][0]
    params = pretrained(function, tree, True).init(jax.random.key(0), ROWS, train=False)
    checkpoint.save(tmp_path / "checkpoint", params)
    found = checkpoint.restore(tmp_path / "checkpoint", params).tree
    jax.tree.map(np.testing.assert_array_equal, found, params)
    assert len(params["params"]["given"]) == 2


def test_bytes_reach_it_in_the_units_of_the_task():
    encoder = pretrained(lambda w, x: x.reshape(len(x), -1))
    pixels, codes = np.array([[[[51]], [[255]]]], np.uint8), np.array([[[7], [255]]], np.uint8)
    model = MultimodalModel({"codes": encoder, "pixels": encoder}, ConcatFusion(out_dim=2))
    here = dict.fromkeys(model.encoders, np.ones(1, bool))
    batch = Batch({"codes": codes, "pixels": pixels}, here, np.zeros(1, int))
    params = init_params(model, batch, seed=0)
    for dtype in ("float32", "bfloat16"):
        tokens = make_forward(model, dtype=dtype)(params, batch, jax.random.key(0)).tokens
        assert tokens["codes"].values.ravel().tolist() == [7, 255]
        np.testing.assert_allclose(tokens["pixels"].values.ravel(), [0.2, 1], rtol=1e-2)


def test_nothing_is_standardised_for_it():
    task = replace(make_task(), standardise=True)
    vector, sequence = pretrained(project, WEIGHTS), pretrained(project, WEIGHTS[:4], 0.1)
    model = make_model(task, "concat", {"vector": vector, "sequence": sequence})
    assert not set(model.scales) & {"vector", "sequence"}
    assert "sequence" in make_model(task, "concat", {"vector": vector}).scales


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda: pretrained(3), "a function"),
        (lambda: pretrained(LinenNet), "a function"),
        (lambda: pretrained(LinenNet()), "parameters of the Linen module"),
        (lambda: pretrained(NNXNet(nnx.Rngs(0)), {}), "holds its own"),
        (lambda: pretrained(project, WEIGHTS, 2), "from 0 to 1"),
        (lambda: pretrained(project, WEIGHTS, float("nan")), "from 0 to 1"),
        (lambda: pretrained(project, WEIGHTS, "yes"), "from 0 to 1"),
        (lambda: pretrained(project, {"a.b": WEIGHTS, "a": {"b": WEIGHTS}}), "same name"),
        (lambda: of(pretrained(lambda w, x: x.mean(), WEIGHTS)), "features of lambda"),
        (lambda: of(pretrained(lambda w, x: {"last": x}, WEIGHTS)), "features of lambda"),
        (lambda: of(pretrained(lambda w, x: x.mean(0)[None], WEIGHTS)), "of 6 rows"),
        (lambda: of(pretrained(lambda w, x: x[:, None, None], WEIGHTS)), "one token a place"),
        (lambda: of(pretrained(lambda w, x: (x[:, None], x), WEIGHTS)), "or Tokens"),
    ],
)
def test_what_does_not_fit_is_refused(given, said):
    with pytest.raises(UsageError, match=said):
        given()
