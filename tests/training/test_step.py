"""The train step and the epochs: what is random follows from (seed, step) alone."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import NUM_CLASSES, make_task

from mmjax.encoders import MLPEncoder
from mmjax.fusion import FUSIONS
from mmjax.methods import Joint, TwoStage
from mmjax.model import MultimodalModel
from mmjax.objectives import cross_entropy
from mmjax.training.epochs import Lane, batch_rows, make_advance, take_rows
from mmjax.training.lanes import over_seeds
from mmjax.training.optimiser import Adam
from mmjax.training.step import init_params, init_state, make_step

BATCH, STEPS = 16, 12


@pytest.fixture(scope="module")
def train():
    return jax.device_put(make_task().only("sequence", "vector").train.batch())


@pytest.fixture(scope="module")
def model():
    encoders = {name: MLPEncoder((8, 6)) for name in ("sequence", "vector")}
    return MultimodalModel(encoders, FUSIONS["concat"](NUM_CLASSES, width=7))


@pytest.fixture(scope="module")
def advance(model):
    step = make_step(model, cross_entropy, Adam().build(STEPS))
    return jax.jit(make_advance(step, BATCH))


NOTHING = {"accuracy": np.float32(0), "loss": np.float32(0), "skipped": np.int32(0)}


def make_lane(model, train, seed):
    params = init_params(model, train, seed)
    return Lane(init_state(params, Adam().build(STEPS), seed), params)


def test_step_is_the_optimisers_update_of_the_objectives_gradient(model, train):
    tx = optax.sgd(0.1)
    state = init_state(init_params(model, train, 0), tx, 0)
    batch = take_rows(train, jnp.arange(BATCH))
    key = jax.random.fold_in(jax.random.fold_in(state.key, 2), 0)

    def loss(params):
        out = model.apply({"params": params}, *batch[:2], train=True, rngs={"dropout": key})
        log_p = jax.nn.log_softmax(out.prediction)
        return -log_p[jnp.arange(BATCH), batch.target].mean()

    value, grads = jax.jit(jax.value_and_grad(loss))(state.params)
    want = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, grads)

    new, metrics = jax.jit(make_step(model, cross_entropy, tx))(state, batch)

    chex.assert_trees_all_close(new.params, want, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
    assert new.step == 1


def test_training_continues_bit_for_bit_from_the_state_in_the_middle_of_an_epoch(
    model, train, advance
):
    start = (make_lane(model, train, 0), jnp.array(False), NOTHING)
    whole, _, total = advance(start, train, 0, 6)
    part, improved, so_far = advance(start, train, 0, 2)
    resumed, _, then = advance((part, improved, so_far), train, 2, 6)
    chex.assert_trees_all_equal(resumed.state[:3], whole.state[:3])
    assert then == total
    assert so_far["loss"] < total["loss"]


@pytest.mark.parametrize("calls", [[(0, 6), (6, 12)], [(0, 12)], [(0, 4), (4, 12)]])
def test_an_epoch_visits_each_row_once_and_another_epoch_in_another_order(train, calls):
    seen = []

    def record(state, batch):
        jax.debug.callback(lambda rows: seen.append(np.asarray(rows)), batch.target, ordered=True)
        return state._replace(step=state.step + 1), {"loss": jnp.zeros(())}

    numbered = train._replace(target=jnp.arange(len(train.target)))
    state = init_state({}, optax.identity(), 0)
    advance = make_advance(record, BATCH)
    for first, last in calls:
        advance((Lane(state, {}), False, {"loss": 0.0}), numbered, first, last)
    jax.effects_barrier()
    for step, rows in enumerate(seen):
        np.testing.assert_array_equal(rows, batch_rows(state.key, step, train.target, BATCH))
    first, second = np.concatenate(seen[:6]), np.concatenate(seen[6:])
    assert sorted(first) == sorted(second) == list(range(96))
    assert (first != second).any()


def test_a_lane_keeps_its_parameters_as_best_only_when_they_improved(model, train, advance):
    lane = make_lane(model, train, 0)
    lane, *_ = advance((lane, jnp.array(False), NOTHING), train, 0, 2)
    chex.assert_trees_all_equal(lane.best, make_lane(model, train, 0).best)
    kept, *_ = advance((lane, jnp.array(True), NOTHING), train, 2, 4)
    chex.assert_trees_all_equal(kept.best, lane.state.params)


def test_seeds_in_one_program_equal_seeds_alone(model, train, advance, monkeypatch):
    lanes = [make_lane(model, train, seed) for seed in (3, 7)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *lanes)
    nothing = {name: np.zeros(2, x.dtype) for name, x in NOTHING.items()}
    step = make_step(model, cross_entropy, Adam().build(STEPS))
    for how in ("map", "vmap"):
        monkeypatch.setenv("MMJAX_LANES", how)
        together = over_seeds(make_advance(step, BATCH))
        got, _, metrics = together((stacked, jnp.zeros(2, bool), nothing), train, 0, 6)
        for index, lane in enumerate(lanes):
            want, _, alone = advance((lane, jnp.array(False), NOTHING), train, 0, 6)
            mine = jax.tree.map(lambda x, i=index: x[i], got.state.params)
            chex.assert_trees_all_close(mine, want.state.params, atol=2e-4)
            np.testing.assert_allclose(metrics["loss"][index], alone["loss"], rtol=1e-5)


def test_adam_warms_up_and_decays_to_zero():
    tx = Adam(learning_rate=1.0, warmup=0.5, clip=1e9).build(4)
    state = tx.init(jnp.zeros(()))
    sizes = []
    for _ in range(5):
        update, state = tx.update(jnp.ones(()), state, jnp.zeros(()))
        sizes.append(-float(update))
    np.testing.assert_allclose(sizes, [0, 0.5, 1, 0.5, 0], atol=1e-4)


@pytest.mark.parametrize("steps", [1, 2])
def test_adam_works_for_the_shortest_runs(steps):
    tx = Adam().build(steps)
    update, _ = tx.update(jnp.ones(()), tx.init(jnp.zeros(())), jnp.zeros(()))
    assert np.isfinite(update)


def test_two_stage_leaves_the_encoders_exactly_alone(model, train):
    method = TwoStage()
    tx = method.transform(optax.adamw(0.1, weight_decay=0.1))  # decay moves what has no gradient
    state = init_state(init_params(model, train, 0), tx, 0)
    batch = take_rows(train, jnp.arange(BATCH))
    new, _ = jax.jit(make_step(model, cross_entropy, tx, method))(state, batch)
    for name, before in state.params.items():
        changed = jax.tree.map(lambda a, b: (a != b).any(), before, new.params[name])
        assert any(jax.tree.leaves(changed)) == (name == "fusion")


def test_joint_changes_nothing_about_the_optimiser():
    tx = optax.sgd(0.1)
    assert Joint().transform(tx) is tx
