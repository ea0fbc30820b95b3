"""What happens to the rows of a step: augmentation in the units of encoders, and mixup."""

from dataclasses import replace
from functools import partial
from types import MappingProxyType

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from killed import contents
from representatives import representatives
from scipy.special import log_softmax
from scipy.stats import beta
from small import make_task

import mmjax.training.fit
from mmjax.augmentations import FeatureDropout, Flip, Noise
from mmjax.encoders import Raw
from mmjax.errors import Interrupted, UnknownNameError, UsageError
from mmjax.methods import METHODS, Joint
from mmjax.methods.mechanics import loss_where
from mmjax.methods.stacking import Stacking
from mmjax.model import MultimodalModel
from mmjax.objectives import OBJECTIVES
from mmjax.objectives.row_losses import over_targets
from mmjax.training.augment import draw_partners, make_augmentations, make_vary, mix
from mmjax.training.checkpoint import Checkpoints
from mmjax.training.fit import fit
from mmjax.training.program import compile_recipe
from mmjax.training.recipe import Recipe, make_model
from mmjax.training.step import init_params, init_state, make_step
from mmjax.types import Batch, Mixed, Outputs

KEY = jax.random.key(2)
ROWS, CLASSES = 48, 3
AUGMENT = {"sequence": (FeatureDropout(0.3), Noise(0.2)), "vector": (Noise(0.2),)}


@pytest.fixture(scope="module")
def task():
    return make_task().only("vector", "sequence")


@pytest.fixture(scope="module")
def batch():
    """Rows of two modalities, each absent from some, in all four combinations."""
    rng = np.random.default_rng(0)
    present = {"a": rng.random(ROWS) < 0.6, "b": rng.random(ROWS) < 0.6}
    inputs = {"a": rng.normal(size=(ROWS, 4)), "b": rng.normal(size=(ROWS, 5, 2))}
    inputs = {name: x.astype(np.float32) for name, x in inputs.items()}
    return Batch(inputs, present, rng.integers(CLASSES, size=ROWS))


def vary(augment, scales=MappingProxyType({}), weights=None, mixup=None, padded=()):
    names = ("a", "b", "image", "elsewhere")
    model = MultimodalModel(dict.fromkeys(names, Raw()), None, scales=scales, padded=padded)
    return jax.jit(make_vary(augment, model, weights, mixup))


# Augmentation


def test_an_augmentation_sees_what_encoders_see_and_the_model_gets_the_tasks_units(batch):
    scale = (np.full(4, 100, np.float32), np.array([10, 20, 30, 40], np.float32))
    seen = []

    def look(key, x):
        jax.debug.callback(lambda x: seen.append(np.array(x)), x)
        return x + 1

    out = vary({"a": (look,)}, {"a": scale})(KEY, batch).inputs["a"]
    here = batch.present["a"]
    want = (batch.inputs["a"] - scale[0]) / scale[1]
    np.testing.assert_allclose(seen[0][here], want[here], rtol=1e-5)
    np.testing.assert_allclose(out[here], (want * scale[1] + scale[0] + scale[1])[here], rtol=1e-4)


def test_padding_stays_and_is_seen_as_zeros(batch):
    padded = batch.inputs["b"].copy()
    padded[::2, 3:] = np.nan
    rows = batch._replace(inputs={"b": padded}, present={"b": np.ones(ROWS, bool)})
    out = vary({"b": (lambda key, x: x + 1,)}, padded=("b",))(KEY, rows).inputs["b"]
    np.testing.assert_allclose(out, padded + 1, rtol=1e-6)
    mixed = vary({}, mixup=1.0, padded=("b",))(KEY, rows).inputs["b"]
    np.testing.assert_array_equal(np.isnan(mixed), np.isnan(padded))


def test_bytes_are_seen_from_zero_to_one():
    image = np.full((4, 3, 3, 1), 255, np.uint8)
    rows = Batch({"image": image}, {"image": np.ones(4, bool)}, np.zeros(4, int))
    half = lambda key, x: x / 2
    np.testing.assert_array_equal(vary({"image": (half,)})(KEY, rows).inputs["image"], 0.5)


def test_nothing_of_an_absent_row_reaches_even_an_augmentation_of_all_rows(batch):
    centre = lambda key, x: x - x.mean(axis=0, keepdims=True)
    dirty = np.where(batch.present["a"][:, None], batch.inputs["a"], np.nan)
    soiled = batch._replace(inputs={**batch.inputs, "a": dirty})
    clean, soiled = (vary({"a": (centre,)})(KEY, rows).inputs["a"] for rows in (batch, soiled))
    np.testing.assert_array_equal(clean, soiled)


def test_other_modalities_and_targets_are_left_as_they_are(batch):
    out = vary({"a": (Noise(),), "elsewhere": (Noise(),)})(KEY, batch)
    np.testing.assert_array_equal(out.inputs["b"], batch.inputs["b"])
    np.testing.assert_array_equal(out.target, batch.target)
    assert out.weight is None
    assert out.mixed is None


def test_a_modality_varies_alike_beside_others_and_alone(batch):
    both = vary({"a": (Noise(),), "b": (Noise(),)})(KEY, batch).inputs["b"]
    alone = batch._replace(inputs={"b": batch.inputs["b"]}, present={"b": batch.present["b"]})
    np.testing.assert_array_equal(vary({"b": (Noise(),)})(KEY, alone).inputs["b"], both)


def test_each_augmentation_of_a_chain_draws_by_itself(batch):
    twice = vary({"a": (Noise(1.0), Noise(1.0))})(KEY, batch).inputs["a"]
    once = vary({"a": (Noise(1.0),)})(KEY, batch).inputs["a"]
    here = batch.present["a"]
    added = np.asarray(twice - once)[here].ravel()
    first = (np.asarray(once) - batch.inputs["a"])[here].ravel()
    assert abs(np.corrcoef(added, first)[0, 1]) < 0.3


@pytest.mark.parametrize(
    ("augment", "error", "said"),
    [
        ({"nowhere": "noise"}, UnknownNameError, "modality of augment.*'nowhere'"),
        ({"vector": "noize"}, UnknownNameError, "Did you mean 'noise'"),
        ({"vector": "flip"}, UsageError, r"vector=flip: expected .* images \[batch, height"),
        ({"vector": lambda key, x: x[:, :2]}, UsageError, r"shape and dtype.*\[2, 2\]"),
        ({"vector": lambda key, x: x.astype(jnp.bfloat16)}, UsageError, "got bfloat16"),
        ({"vector": lambda key, x: None}, UsageError, "got None"),
        ({"vector": lambda x: x}, UsageError, r"a function \(key, x\) -> x.*TypeError"),
        ({"vector": lambda key, x: x if x.sum() > 0 else -x}, UsageError, "Tracer"),
        ({"vector": 3}, UsageError, "vector=3"),
    ],
)
def test_what_is_no_augmentation_of_a_modality_is_refused(task, augment, error, said):
    with pytest.raises(error, match=said):
        make_augmentations(task, augment)


def test_names_classes_and_instances_are_the_same(task):
    made = make_augmentations(task, {"vector": ["noise", Noise, Noise(0.1)], "sequence": Noise})
    assert made == {"vector": (Noise(),) * 3, "sequence": (Noise(),)}


# Mixup


def test_rows_are_mixed_by_one_share_with_rows_that_have_the_same_modalities(batch):
    mixed = jax.jit(partial(mix, alpha=1.0))(KEY, batch)
    patterns = np.stack([batch.present["a"], batch.present["b"]])
    share = float(mixed.mixed.share[0])
    assert (np.asarray(mixed.mixed.share) == np.float32(share)).all()
    assert 0.5 <= share < 1
    other = np.asarray(draw_partners(jax.random.split(KEY)[1], batch.present))
    assert sorted(other) == list(range(ROWS))
    np.testing.assert_array_equal(patterns, patterns[:, other])
    np.testing.assert_array_equal(mixed.mixed.target, batch.target[other])
    for name, x in batch.inputs.items():  # all modalities with the same row
        want = share * x + (1 - share) * x[other]
        np.testing.assert_allclose(mixed.inputs[name], want, rtol=1e-4, atol=1e-5)


def test_every_partner_of_the_same_modalities_is_equally_likely():
    present = {"a": np.array([1, 1, 1, 0, 0], bool)}
    keys = jax.random.split(KEY, 3000)
    drawn = np.asarray(jax.vmap(draw_partners, (0, None))(keys, present))
    shares = [np.bincount(drawn[:, row], minlength=5) / len(drawn) for row in (0, 3)]
    np.testing.assert_allclose(shares[0], [1 / 3, 1 / 3, 1 / 3, 0, 0], atol=0.03)
    np.testing.assert_allclose(shares[1], [0, 0, 0, 1 / 2, 1 / 2], atol=0.03)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 4.0])
def test_shares_follow_the_beta_distribution(alpha):
    rows = Batch({}, {"a": np.ones(1, bool)}, np.zeros(1, int))
    draw = jax.jit(jax.vmap(lambda key: mix(key, rows, alpha).mixed.share[0]))
    shares = np.asarray(draw(jax.random.split(KEY, 3000)))
    assert np.isfinite(shares).all()
    for q in (0.6, 0.9):  # P(max(b, 1 - b) <= q)
        want = beta.cdf(q, alpha, alpha) - beta.cdf(1 - q, alpha, alpha)
        assert abs((shares <= q).mean() - want) < 0.03


def test_numbers_as_targets_are_mixed_like_inputs(batch):
    target = np.random.default_rng(1).normal(size=(ROWS, 2)).astype(np.float32)
    mixed = mix(KEY, batch._replace(target=target), 1.0)
    other = draw_partners(jax.random.split(KEY)[1], batch.present)
    share = mix(KEY, batch, 1.0).mixed.share[0]
    np.testing.assert_allclose(
        mixed.target, share * target + (1 - share) * target[other], rtol=1e-4, atol=1e-5
    )
    assert mixed.mixed is None


LOGITS = np.random.default_rng(3).normal(size=(6, CLASSES)).astype(np.float32)
MIXED = Batch(
    {},
    {"a": np.array([1, 1, 0, 1, 1, 1], bool)},
    np.array([0, 1, 2, 0, 1, 2]),
    weight=np.array([1, 2, 3, 1, 2, 3], np.float32),
    mixed=Mixed(
        np.array([2, 2, 1, 0, 1, 0]),
        np.array([3, 3, 2, 1, 2, 1], np.float32),
        np.full(6, 0.7, np.float32),
    ),
)


def nll(target):
    return -log_softmax(LOGITS, axis=1)[np.arange(6), target]


def test_the_loss_of_mixed_rows_is_that_of_both_targets_by_their_shares():
    objective = partial(OBJECTIVES["cross_entropy"], Outputs(jnp.asarray(LOGITS)))
    loss, metrics = over_targets(objective, MIXED)
    own, other = nll(MIXED.target), nll(MIXED.mixed.target)
    rows = 0.7 * MIXED.weight * own + 0.3 * MIXED.mixed.weight * other
    np.testing.assert_allclose(loss, rows.mean(), rtol=1e-5)
    right = [LOGITS.argmax(axis=1) == target for target in (MIXED.target, MIXED.mixed.target)]
    np.testing.assert_allclose(metrics["accuracy"], 0.7 * right[0].mean() + 0.3 * right[1].mean())
    # The losses that methods compute themselves.
    got = loss_where(MIXED.present["a"], jnp.asarray(LOGITS), MIXED)
    np.testing.assert_allclose(got, rows[MIXED.present["a"]].mean(), rtol=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_of_a_row_mixed_with_itself_any_loss_is_as_before(name):
    outputs = Outputs(jnp.asarray(LOGITS), branches={"a": jnp.asarray(LOGITS)})
    itself = MIXED._replace(mixed=MIXED.mixed._replace(target=MIXED.target, weight=MIXED.weight))
    objective = partial(OBJECTIVES[name], outputs)
    want = objective(MIXED._replace(mixed=None))
    np.testing.assert_allclose(over_targets(objective, itself)[0], want[0], rtol=1e-5)


# In training


def make_recipe(task, fusion="concat", **fields):
    model = make_model(task, fusion, {"sequence": "mlp"})
    varied = {"augment": AUGMENT, "mixup": 0.5, "class_weights": (1.0, 2.0, 0.5)}
    shared = {"batch_size": 16, "steps": 15, "seeds": (0, 1), "sampling": "balanced"}
    return Recipe(model, **{**varied, **shared, **fields})


def all_of(trained):
    return contents((trained.params, trained.state, trained.history, trained.best_step))


def check_equal(got, want):
    got, want = all_of(got), all_of(want)
    assert got.keys() == want.keys()
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


@pytest.fixture
def short_calls(monkeypatch):
    """Calls of four steps: an epoch of six is interrupted in its middle."""
    monkeypatch.setattr(mmjax.training.fit, "_FIRST_CALL", 4)
    monkeypatch.setattr(mmjax.training.fit, "_CALL_SECONDS", 1e-9)


NEEDED = {"mla": "mean", "stacking": "stacking"}  # the others take any fusion


@pytest.mark.slow
@pytest.mark.parametrize("name", representatives(METHODS, ["joint"]))
def test_a_resumed_run_is_the_uninterrupted_one_bit_by_bit(task, tmp_path, name, short_calls):
    method = Stacking(folds=2) if name == "stacking" else METHODS[name]()
    recipe = make_recipe(task, NEEDED.get(name, "concat"), method=method)
    train = partial(fit, recipe, task, program=compile_recipe(recipe, task))

    def stop(steps):
        raise Interrupted(15)

    with pytest.raises(Interrupted):
        train(checkpoints=Checkpoints(tmp_path, {}), progress=stop)
    whole = train()
    check_equal(train(checkpoints=Checkpoints(tmp_path, {})), whole)
    assert all(np.isfinite(array).all() for entry in whole.history for array in entry.values())


@pytest.mark.slow
def test_each_part_of_it_changes_what_is_trained(task):
    one = {"steps": 3, "seeds": (0,), "patience": 1}
    plain = make_recipe(
        task, augment={}, mixup=None, class_weights=None, sampling="shuffled", **one
    )
    whole = make_recipe(task, **one)
    parts = [
        replace(plain, **{name: getattr(whole, name)})
        for name in ("augment", "mixup", "class_weights", "sampling")
    ]
    losses = [fit(recipe, task).history[-1]["loss"].item() for recipe in (plain, *parts)]
    assert len(set(losses)) == len(losses)


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"accumulate": 4}, {"dtype": "bfloat16"}])
def test_parts_of_a_batch_and_half_precision_see_the_same_rows(task, how):
    recipe = make_recipe(task, steps=1, seeds=(0,), dropout=0.0)
    want = fit(recipe, task).history[-1]["loss"]
    got = fit(replace(recipe, **how), task).history[-1]["loss"]
    np.testing.assert_allclose(got, want, rtol=1e-5 if "accumulate" in how else 0.05)


@pytest.mark.slow
class Witness(Joint):
    """Tells how far the two views of a step are from the rows, and from each other."""

    def gradient(self, forward, objective):
        def gradient(params, memory, batch, key):
            grads = jax.tree.map(jnp.zeros_like, params)
            apart = jnp.abs(batch.view["vector"] - batch.inputs["vector"]).mean()
            kept = jnp.abs(batch.view["sequence"] - batch.inputs["sequence"]).max()
            return grads, memory, {"loss": 0.0, "apart": apart, "kept": kept}

        return gradient


def test_a_method_gets_a_second_view_that_varies_by_itself(task):
    rows = task.train.take(np.arange(8)).batch()
    model = make_model(task, "concat")
    change = make_vary({"vector": (Noise(0.2),)}, model, None, None)
    tx = optax.sgd(0.1)
    step = make_step(model, OBJECTIVES["cross_entropy"], tx, Witness(), vary=change)
    state = init_state(init_params(model, rows, 0), tx, 0)
    _, metrics = jax.jit(step)(state, rows)
    assert metrics["apart"] > 0.05
    assert metrics["kept"] == 0


def test_both_views_of_a_row_are_mixed_with_the_same_row(task):
    rows = jax.device_put(task.train.take(np.arange(8)).batch())
    change = make_vary({}, make_model(task, "concat"), None, 1.0)
    mixed = jax.jit(change)(KEY, rows)
    assert jnp.nanmax(jnp.abs(mixed.inputs["vector"] - rows.inputs["vector"])) > 0.05
    chex.assert_trees_all_equal(mixed.view, mixed.inputs)


@pytest.mark.slow
def test_seeds_that_run_at_once_are_those_that_run_in_turn(task, monkeypatch):
    recipe = make_recipe(task, steps=4)
    want = fit(recipe, task)
    monkeypatch.setenv("MMJAX_LANES", "vmap")
    got = fit(recipe, task)
    for left, right in zip(*(jax.tree.leaves(t.params) for t in (got, want)), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_streamed_rows_are_those_on_the_device(task, monkeypatch):
    pytest.importorskip("grain")
    recipe = make_recipe(task)
    want = fit(recipe, task)
    monkeypatch.setenv("MMJAX_FEED", "stream")
    check_equal(fit(recipe, task), want)


@pytest.mark.slow
def test_evaluation_is_of_the_rows_as_they_are(task):
    recipe = make_recipe(task, steps=2)
    trained = fit(recipe, task)
    plain = compile_recipe(replace(recipe, augment={}, mixup=None), task)
    rows = task.test.batch()
    np.testing.assert_array_equal(
        trained.predict(trained.params, rows), plain.evaluate.predict(trained.params, rows)
    )


def test_a_share_that_makes_no_sense_is_refused(task):
    for alpha in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="mixup: expected a positive number"):
            make_recipe(task, mixup=alpha)


def test_a_flip_in_training_mirrors_images():
    task = make_task().only("image")
    certain = make_augmentations(task, {"image": Flip(1.0)})
    rows = task.train.batch()
    out = vary(certain)(KEY, rows).inputs["image"]
    np.testing.assert_allclose(out, rows.inputs["image"][:, :, ::-1] / 255, rtol=1e-6)
